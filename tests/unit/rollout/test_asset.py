# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.rollout.asset import is_fingerprinted


@pytest.mark.parametrize(
    "path",
    [
        b"/static/base.55e7cbb9ba48.css",  # Django's ManifestStaticFilesStorage
        b"/s/app.3f9a1c2b.js",
        b"/s/app.3f9a1c2b.min.js",
        b"/s/app.3f9a1c2b.js.map",
        b"/assets/index-DiwrgTda.js",  # Vite
        b"/assets/index-D_wr-Tda.css",
        b"/_next/static/chunks/pages/index-0b1c2d3e4f5a6b7c.js",
        b"/c/chunk-ABCD1234.min.mjs",  # esbuild
        b"/media/12ab34cd56ef78ab90.png",
        b"/x/application-" + b"a1" * 32 + b".js",  # Rails
        b"/fonts/inter~x8F2kQ90.woff2",
        b"/12ab34cd.js",
    ],
)
def test_hashed_names(path: bytes) -> None:
    assert is_fingerprinted(path)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"/static/app.js",
        b"/static/app.min.js",
        b"/x/jquery-3.7.1.min.js",
        b"/x/carousel.js",
        b"/x/bootstrap-carousel.js",
        b"/noticia/tiroteio-deixa-um-morto.ghtml",
        b"/noticia/12ab34cd56ef.ghtml",
        b"/pedido/12ab34cd56ef",
        b"/3f9a1c2b/app.js",
        b"/app.3f9a1c2b.js/",
        b"/app.3f9a1c2.js",
        b".js",
        b"3f9a1c2b.js",
    ],
)
def test_other_names(path: bytes) -> None:
    assert not is_fingerprinted(path)
