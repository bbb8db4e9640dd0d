# SPDX-License-Identifier: Apache-2.0
"""Two answers to one request: equal after normalising, or one word for the first difference.

In this order, since the earlier explains the later: the status, the header fields in `FIELDS`,
then the body by what it means. What differs is named so that the name can be written into the
route's `compare: {ignore: […]}`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strangler.migrate.normalise import MARK, Form, normalised
from strangler.migrate.policy import Compare
from strangler.migrate.trees import (
    changed,
    first_difference,
    json_difference,
    page_difference,
    page_without,
)
from strangler.wire.head import ResponseHead, members

#: Characters of each side that a difference shows.
EXCERPT: Final = 160
#: A body that unpacks to more than this many times the limit is compared packed.
_UNPACKED: Final = 8
#: Bodies without content, whatever their type says.
_BODILESS: Final = frozenset((204, 304))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as a reader would see it.

    body: the whole, or nothing where it is longer than the route compares; length and digest are
    of the whole then.
    """

    head: ResponseHead
    body: bytes
    length: int
    digest: bytes = b""

    @property
    def whole(self) -> bool:
        """Tell whether the body is all there."""
        return len(self.body) == self.length


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs first, and what stands there on either side, shortened."""

    word: str
    expected: str
    got: str


def compare(
    expected: Answer, got: Answer, policy: Compare, *, now: float, heads_only: bool = False
) -> Difference | None:
    """Return the first difference that counts, or None; *now* in Unix seconds.

    *expected* is the reader's answer. *heads_only*: the request was a HEAD.
    """
    one, other = expected.head, got.head
    if one.status != other.status:
        word = f"status:{one.status}/{other.status}"
        if not {word, "status"} & policy.ignore:
            return Difference(word, str(one.status), str(other.status))
    for name, reading in FIELDS.items():
        word = f"header:{name}"
        if word in policy.ignore:
            continue
        mine, theirs = (reading(head.all(name.encode()), now) for head in (one, other))
        if mine != theirs:
            return _difference(word, mine, theirs)
    if heads_only or one.status in _BODILESS or one.status != other.status:
        return None
    return _bodies(expected, got, policy, now)


# Header fields: how each is read, so that equal meanings are equal texts.

Reading = Callable[[list[bytes], float], str]


def _text(values: list[bytes]) -> str:
    return ", ".join(value.decode("latin-1") for value in values)


def _exactly(values: list[bytes], now: float) -> str:
    return normalised(_text(values), "text", now)


def _as_set(values: list[bytes], now: float) -> str:
    return ", ".join(sorted({m.decode("latin-1").lower() for v in values for m in members(v)}))


def _media_type(values: list[bytes], now: float) -> str:
    return _SPACE.sub("", _text(values)).lower().replace('"', "")


def _cookie_names(values: list[bytes], now: float) -> str:
    return ", ".join(sorted({v.partition(b"=")[0].strip().decode("latin-1") for v in values}))


def _scheme(values: list[bytes], now: float) -> str:
    return ", ".join(v.partition(b" ")[0].decode("latin-1").lower() for v in values)


_SPACE: Final = re.compile(r"\s+")

#: Fields that count, in the order in which they are looked at. What isn't here (Server, Date,
#: ETag, Last-Modified, lengths, encodings) differs between any two servers.
FIELDS: Final[Mapping[str, Reading]] = {
    "location": _exactly,
    "content-type": _media_type,
    "cache-control": _as_set,
    "vary": _as_set,
    "set-cookie": _cookie_names,
    "content-language": _as_set,
    "content-disposition": _exactly,
    "content-range": _exactly,
    "www-authenticate": _scheme,
    "allow": _as_set,
    "link": _exactly,
    "refresh": _exactly,
    "x-robots-tag": _as_set,
    "x-frame-options": _as_set,
    "content-security-policy": _exactly,
    "strict-transport-security": _as_set,
    "access-control-allow-origin": _exactly,
    "access-control-allow-credentials": _as_set,
}

# Bodies.


def _bodies(expected: Answer, got: Answer, policy: Compare, now: float) -> Difference | None:
    if expected.whole and got.whole:
        if expected.body == got.body:
            return None
    elif expected.length == got.length and expected.digest == got.digest:
        return None
    else:
        if "body:large" in policy.ignore:
            return None
        return Difference("body:large", f"{expected.length} bytes", f"{got.length} bytes")
    most = _UNPACKED * policy.body
    mine, theirs = _unpacked(expected, most), _unpacked(got, most)
    if mine is None or theirs is None:
        return _unread(expected, got, policy)
    if mine == theirs:
        return None
    form = form_of(expected.head)
    if form is None:
        return _unread(expected, got, policy)
    one, other = (_decoded(mine, expected.head), _decoded(theirs, got.head))
    if form == "json":
        try:
            return _jsons(json.loads(one), json.loads(other), policy, now)
        except (ValueError, RecursionError):
            form = "text"
    return _texts(one, other, form, policy, now)


def _unread(expected: Answer, got: Answer, policy: Compare) -> Difference | None:
    if "body" in policy.ignore:
        return None
    return Difference("body", f"{expected.length} bytes", f"{got.length} other bytes")


def _unpacked(answer: Answer, most: int) -> bytes | None:
    """Return the body without its Content-Encoding; None where that is not ours to take off."""
    coding = _as_set(answer.head.all(b"content-encoding"), 0.0)
    if coding in ("", "identity"):
        return answer.body
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    unpacking = zlib.decompressobj(47 if coding != "deflate" else 15)
    try:
        content = unpacking.decompress(answer.body, most)
    except zlib.error:
        return None
    return content if unpacking.eof else None


def form_of(head: ResponseHead) -> Form | None:
    """Return how a body of this Content-Type is read; None: as bytes."""
    media = _media_type(head.all(b"content-type"), 0.0).partition(";")[0]
    if media in ("text/html", "application/xhtml+xml"):
        return "html"
    if media == "application/json" or media.endswith("+json"):
        return "json"
    if media.startswith("text/") or media.endswith(("/xml", "+xml", "/javascript")):
        return "text"
    return None


def _decoded(body: bytes, head: ResponseHead) -> str:
    charset = _media_type(head.all(b"content-type"), 0.0).partition("charset=")[2]
    try:
        return body.decode(charset.partition(";")[0] or "utf-8", "backslashreplace")
    except (LookupError, ValueError):
        return body.decode("latin-1")


def _jsons(one: Any, other: Any, policy: Compare, now: float) -> Difference | None:
    ignored = {word[5:] for word in policy.ignore if word.startswith("json:")}
    found = json_difference(one, other, ignore=ignored, now=now)
    return None if found is None else _difference(f"json:{found[0]}", *found[1:])


def _texts(one: str, other: str, form: Form, policy: Compare, now: float) -> Difference | None:
    for word in sorted(policy.ignore):
        if word.startswith("text:"):
            one, other = (re.sub(word[5:], MARK, side) for side in (one, other))
    # Mostly little differs, in one place; the whole pages are looked at only if that counts.
    part, its_twin = changed(one, other)
    if normalised(part, form, now) == normalised(its_twin, form, now):
        return None
    one, other = normalised(one, form, now), normalised(other, form, now)
    if form == "html":
        ignored = {word[5:] for word in policy.ignore if word.startswith("html:")}
        if ignored and one != other:
            one, other = page_without(one, ignored), page_without(other, ignored)
    if one == other:
        return None
    path, at = page_difference(one, other)
    word = f"html:{path}" if form == "html" else "body"
    if word in policy.ignore:
        return None
    return _difference(word, one, other, at)


def _difference(word: str, expected: str, got: str, at: int | None = None) -> Difference:
    """Return a difference that shows both sides around *at*, where they differ first."""
    if at is None:
        at = first_difference(expected, got)
    begin = max(0, at - EXCERPT // 4) if max(len(expected), len(got)) > EXCERPT else 0
    return Difference(word, *(_short(side[begin:]) for side in (expected, got)))


def _short(text: str) -> str:
    cut = text if len(text) <= EXCERPT else text[: EXCERPT - 1] + MARK
    return "".join(c if c.isprintable() else " " for c in cut)
