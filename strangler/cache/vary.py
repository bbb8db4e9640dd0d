# SPDX-License-Identifier: Apache-2.0
"""The secondary key: which of several stored variants answers a request (RFC 9111 §4.1).

Values are normalised before they are compared, each in the way that its field's meaning permits:
lists lose the space around their commas, several lines are one, Accept-Encoding becomes the set
of what is acceptable and Accept-Language loses case and the order that means nothing. An absent
field matches only an absent one.

Cookie is never compared as it stands, for no two readers' cookies are alike: where the route
names cookies they are part of the primary key and Vary: Cookie is thereby met; where it names
none, only readers without any cookie share (`storable` refuses to keep the others' answers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from strangler.cache.fields import members
from strangler.cache.policy import KeyPolicy
from strangler.cache.stored import Stored
from strangler.wire.head import Fields

Selecting = tuple[tuple[bytes, bytes | None], ...]

_QVALUE: Final = re.compile(rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_ALIASES: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}


def nominated(fields: Fields, key: KeyPolicy) -> tuple[bytes, ...] | None:
    """Return the request fields that a response's Vary names, lower case, sorted, once each.

    None where a member of any line is `*`: it matches no request, not even its own.
    """
    if b"\nvary:" not in fields.lower:
        return ()
    names = {name.lower() for name in members(fields.all(b"vary"))}
    if b"*" in names:
        return None
    if key.cookies:
        names.discard(b"cookie")
    return tuple(sorted(names))


def selecting(request: Fields, names: Iterable[bytes]) -> Selecting:
    """Return the nominated fields of a request with their normalised values."""
    return tuple([(name, normalised(name, request.all(name))) for name in names])


def variant_key(values: Selecting) -> bytes:
    """Return *values* as one line each, `name=value`, or `name` where it is absent.

    The key of a variant among those of one primary key; no two selections share one.
    """
    return b"\n".join([n if value is None else b"%b=%b" % (n, value) for n, value in values])


def normalised(name: bytes, lines: list[bytes]) -> bytes | None:
    """Return the value of request field *name* in its normal form; None where it is absent."""
    if not lines:
        return None
    value = lines[0] if len(lines) == 1 else b", ".join(lines)
    if b'"' not in value:  # in neither of these two does a quoted string mean anything
        if name == b"accept-encoding":
            return _encodings(value)
        if name == b"accept-language":
            return _languages(value)
    if b"," not in value:
        return value
    return b",".join(members([value]))


@lru_cache(maxsize=512)
def _encodings(value: bytes) -> bytes:
    """Return the acceptable codings, sorted: any of them is right for whoever accepts them."""
    accepted: set[bytes] = set()
    refused: set[bytes] = set()
    for coding, weight in _weighted(value):
        coding = _ALIASES.get(coding, coding)
        (accepted if weight else refused).add(coding)
    # Only these two are accepted without being named (RFC 9110 §12.5.3).
    refused &= {b"identity"} | (refused if b"*" in accepted else {b"*"})
    return b",".join(sorted(accepted) + [coding + b";q=0" for coding in sorted(refused)])


@lru_cache(maxsize=512)
def _languages(value: bytes) -> bytes:
    ranges = sorted(_weighted(value), key=_best_first)
    return b",".join(
        [tag if weight == 1000 else b"%b;q=%d" % (tag, weight) for tag, weight in ranges]
    )


def _best_first(item: tuple[bytes, int]) -> tuple[int, bytes]:
    return -item[1], item[0]


def _weighted(value: bytes) -> set[tuple[bytes, int]]:
    """Return the members of *value*, lower case, with their weights in thousandths."""
    found = set()
    for member in members([value.lower()]):
        word, *parameters = [part.strip(b" \t") for part in member.split(b";")]
        if not word:  # parameters of nothing
            continue
        weight = 1000
        for parameter in parameters:
            name, _, number = parameter.partition(b"=")
            if name == b"q":
                weight = int(float(number) * 1000) if _QVALUE.fullmatch(number) else 0
        found.add((word, weight))
    return found


def preferred_language(value: bytes | None) -> bytes | None:
    """Return the one range that a normalised Accept-Language likes best, None where two tie."""
    if not value:
        return None
    first, _, rest = value.partition(b",")
    tag, _, weight = first.partition(b";q=")
    second = rest.partition(b",")[0].partition(b";q=")[2]
    if tag == b"*" or weight == b"0" or (rest and second == weight):
        return None
    return tag


def select(variants: Sequence[Stored], request: Fields) -> Stored | None:
    """Return the variant that *request* selects, or None.

    Of several that match, those with a Vary come first, then the most recent by Date (§4.1).
    Where none matches exactly, a reader whose one favourite language is a variant's
    Content-Language gets that variant, the rest of Vary matching.
    """
    if len(variants) == 1 and not variants[0].selecting:
        return variants[0]
    ours: dict[bytes, bytes | None] = {}
    best: Stored | None = None
    spoken: Stored | None = None
    for variant in variants:
        other = None  # the one nominated field that differs, if it is the only one
        for name, value in variant.selecting:
            if name not in ours:
                ours[name] = normalised(name, request.all(name))
            if ours[name] != value:
                if name != b"accept-language" or variant.language is None:
                    break
                other = name
        else:
            if other is None:
                best = _later(best, variant)
            elif preferred_language(ours[other]) == variant.language:
                spoken = _later(spoken, variant)
    return best if best is not None else spoken


def _later(one: Stored | None, other: Stored) -> Stored:
    if one is None:
        return other
    return max(one, other, key=_rank)


def _rank(variant: Stored) -> tuple[bool, float, float]:
    return bool(variant.selecting), variant.date, variant.received
