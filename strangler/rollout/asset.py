# SPDX-License-Identifier: Apache-2.0
"""Fingerprinted assets: files whose name has a hash of their content in it.

Each side has files of its own under names that the other has never heard of, and whichever side
has a name has the right content. So such a file goes with the page that names it, and where that
side lacks it, the other may be asked (pain 48: new HTML, old assets).
"""

from __future__ import annotations

import re
from typing import Final

ABSENT: Final = frozenset({404, 410})
"""The statuses by which a side says that it hasn't got a file."""

_KINDS: Final = frozenset(
    b"js mjs cjs css map wasm json webmanifest woff woff2 ttf otf eot png jpg jpeg gif svg webp"
    b" avif ico mp3 mp4 webm".split()
)
_BETWEEN: Final = frozenset((b"min", b"chunk", b"bundle", b"module", b"async", b"legacy"))
# The end of a name, read from behind: `base.55e7cbb9ba48`, `index-DiwrgTda`, `/12ab34cd56ef`.
_HASH: Final = re.compile(rb"([0-9a-f]{8,128}|[0-9A-Za-z]{8,24}|[0-9A-Za-z_-]{8})[/._~-]")
_NO_WORD: Final = re.compile(rb"[0-9A-Z]")
#: Characters of a name's end that are looked at.
_LONGEST: Final = 140


def is_fingerprinted(path: bytes) -> bool:
    """Tell whether *path* (raw, without query) ends in the name of such a file."""
    stem, _, kind = path.rpartition(b".")
    if kind not in _KINDS:
        return False
    start, _, between = stem.rpartition(b".")
    if kind == b"map" and between in _KINDS:
        stem = start
        start, _, between = stem.rpartition(b".")
    if between in _BETWEEN:
        stem = start
    found = _HASH.match(stem[:-_LONGEST:-1])
    # A word of small letters is a word, not a hash.
    return found is not None and _NO_WORD.search(found[1]) is not None
