# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 17 and 18: what a request may ask of the cache."""

import pytest
from unit.cache.build import ORIGIN, STEERED, cc, request

from strangler.cache.directives import MAX_SECONDS
from strangler.cache.steering import Steering, steering


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ((b"max-age=0",), Steering(max_age=0)),
        ((b"min-fresh=5, max-stale=7",), Steering(min_fresh=5, max_stale=7)),
        ((b"max-stale",), Steering(max_stale=MAX_SECONDS)),
        ((b"No-Cache", b"no-store"), Steering(no_cache=True, no_store=True)),
        ((b"only-if-cached",), Steering(only_if_cached=True)),
        ((b"stale-if-error=60",), Steering(stale_if_error=60)),
        ((b"max-age=1, max-age=9",), Steering(max_age=1)),
        ((b"",), Steering()),
        ((b"foo, bar=1",), Steering()),
        ((b"max-age=x, min-fresh=, max-stale=-1",), Steering()),
    ],
)
def test_paragraph_17_directives(values: tuple[bytes, ...], asked: Steering) -> None:
    assert steering(request(*map(cc, values)), STEERED) == asked


def test_paragraph_17_pragma_counts_only_alone() -> None:
    pragma = (b"Pragma", b"No-Cache")
    assert steering(request(pragma), STEERED) == Steering(no_cache=True)
    assert steering(request(pragma, cc(b"max-age=5")), STEERED) == Steering(max_age=5)
    assert steering(request((b"Pragma", b"else")), STEERED) == Steering()


@pytest.mark.parametrize(
    "field", [cc(b"no-cache"), cc(b"only-if-cached"), (b"Pragma", b"no-cache")]
)
def test_paragraph_17_ignored_unless_the_route_lets_clients_steer(
    field: tuple[bytes, bytes],
) -> None:
    assert steering(request(field), ORIGIN) is None


def test_nothing_asked_is_no_steering() -> None:
    assert steering(request(), STEERED) is None
