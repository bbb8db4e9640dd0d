# SPDX-License-Identifier: Apache-2.0
"""The grammar of a route's key: `[METHOD[,METHOD]] [host]/path`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .reading import SLASH, decode, raw_offset, show

# A rank orders by specificity; the smaller is the more specific. What a shorter pattern lacks
# counts as the least: of two readings of one path, the longer pattern says more.
Rank = tuple[tuple[int, ...], ...]
_LITERAL, _PARTIAL, _CAPTURE, _REST, _END = range(5)

REST = "**"
"""The name under which the remainder of a `**` stands among a match's params."""

_METHOD = re.compile(r"[A-Z][A-Z0-9_-]*")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PIECE = re.compile(r"\{([^{}]*)\}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Malformed(ValueError):
    """A text that doesn't follow its grammar.

    `expected` and `got` say what was wrong, `offset` where in the text (in characters, from 0),
    `hint` what to write instead (may be empty).
    """

    def __init__(self, expected: str, got: str, offset: int = 0, hint: str = "") -> None:
        self.expected = expected
        self.got = got
        self.offset = offset
        self.hint = hint
        super().__init__(f"expected {expected}, got {got}")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a pattern: the literal `parts` around its captures, and their `names`.

    `busca` is (busca) and no name; `{slug}` is ('', '') and slug; `{slug}.ghtml` is
    ('', '.ghtml') and slug. Parts are decoded bytes. A capture takes one byte or more; of several,
    each but the last takes as little as it can.
    """

    parts: tuple[bytes, ...]
    names: tuple[str, ...] = ()

    @property
    def is_literal(self) -> bool:
        return not self.names

    @property
    def is_capture(self) -> bool:
        """Whether the segment is one whole `{name}`."""
        return self.parts == (b"", b"")

    @property
    def rank(self) -> tuple[int, ...]:
        """Literal, literal with captures, capture; of two of the second, what has more text."""
        if self.is_literal:
            return (_LITERAL,)
        if self.is_capture:
            return (_CAPTURE,)
        first, last = self.parts[0], self.parts[-1]
        return (_PARTIAL, -sum(map(len, self.parts)), -len(first), -len(last), len(self.names))

    def __str__(self) -> str:
        text = show(self.parts[0])
        for name, part in zip(self.names, self.parts[1:], strict=True):
            text += f"{{{name}}}{show(part)}"
        return text

    def spans(self, text: bytes) -> list[tuple[int, int]] | None:
        """Find where in the decoded segment `text` each capture is; None if it doesn't fit.

        Runs in linear time: taking the first place for each literal part finds a fit if any is.
        """
        first, *middle, last = self.parts
        end = len(text) - len(last)
        start = len(first)
        if start >= end or not text.startswith(first) or not text.endswith(last):
            return None
        found = []
        for part in middle:
            at = text.find(part, start + 1, end - 1)
            if at < 0:
                return None
            found.append((start, at))
            start = at + len(part)
        found.append((start, end))
        return found

    def fits(self, text: bytes) -> bool:
        """Tell whether the decoded segment `text` is one of this pattern's."""
        if self.is_literal:
            return text == self.parts[0]
        return self.spans(text) is not None

    def overlaps(self, other: Segment) -> bool:
        """Tell whether one segment could fit both."""
        if self.is_literal or other.is_literal:
            literal, pattern = (self, other) if self.is_literal else (other, self)
            return pattern.fits(literal.parts[0])
        # Captures have no upper bound, so that only the two ends can exclude each other.
        a, b = self.parts, other.parts
        return (a[0].startswith(b[0]) or b[0].startswith(a[0])) and (
            a[-1].endswith(b[-1]) or b[-1].endswith(a[-1])
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed path pattern; a slash at its end is an empty last literal, `rest` a final `**`."""

    segments: tuple[Segment, ...]
    rest: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the captures, left to right, with `**` last where there is one."""
        names = tuple(name for segment in self.segments for name in segment.names)
        return (*names, REST) if self.rest else names

    @property
    def literal(self) -> bytes | None:
        """The one decoded path that fits, or None if there are captures."""
        if self.names:
            return None
        return b"".join(b"/" + segment.parts[0] for segment in self.segments)

    @property
    def shape(self) -> tuple[tuple[tuple[bytes, ...], ...], bool]:
        """What is left without the captures' names; equal shapes match equal paths."""
        return tuple(segment.parts for segment in self.segments), self.rest

    @property
    def rank(self) -> Rank:
        return (*(s.rank for s in self.segments), (_REST if self.rest else _END,))

    def __str__(self) -> str:
        parts = [*map(str, self.segments), *([REST] if self.rest else [])]
        return "/" + "/".join(parts)

    def fits(self, reading: bytes) -> bool:
        """Tell whether the decoded path `reading` fits."""
        if reading == b"*":
            return self.rest and not self.segments
        root, *texts = reading.split(b"/")
        own = self.segments
        if root or (len(texts) <= len(own) if self.rest else len(texts) != len(own)):
            return False
        return all(segment.fits(text) for segment, text in zip(own, texts, strict=False))

    def params(self, raw: bytes) -> dict[str, bytes]:
        """Take what the captures hold out of the raw path that fits, in its raw bytes."""
        if raw == b"*":
            return {REST: b""}
        texts = raw.split(b"/")
        params: dict[str, bytes] = {}
        for segment, text in zip(self.segments, texts[1:], strict=False):
            if segment.is_capture:
                params[segment.names[0]] = text
            elif segment.names:
                spans = segment.spans(decode(text))
                for name, (start, end) in zip(segment.names, spans or (), strict=True):
                    params[name] = text[raw_offset(text, start) : raw_offset(text, end)]
        if self.rest:
            params[REST] = b"/".join(texts[len(self.segments) + 1 :])
        return params

    def overlaps(self, other: Pattern) -> bool:
        """Tell whether one path could fit both."""
        a, b = self.segments, other.segments
        if (len(a) < len(b) and not self.rest) or (len(b) < len(a) and not other.rest):
            return False
        if len(a) == len(b) and self.rest != other.rest:
            return False
        return all(x.overlaps(y) for x, y in zip(a, b, strict=False))


@dataclass(frozen=True, slots=True)
class Key:
    """A parsed key: which methods (empty: any) of which host (None: any) on which paths.

    `host` is in lower case; `*.example.com` is any host below example.com. `text` is the key as it
    was written.
    """

    methods: frozenset[bytes]
    host: bytes | None
    pattern: Pattern
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text


def parse_key(text: str) -> Key:
    """Parse `[METHOD[,METHOD]] [host]/path`; raise Malformed."""
    before, space, after = text.partition(" ")
    if not space:
        before, after = "", text
    methods = _methods(before) if space else frozenset()
    offset = len(text) - len(after)
    if " " in after or "\t" in after:
        at = re.search(r"[ \t]", after)
        raise Malformed(
            "[METHOD] [host]/path with one space",
            repr(text),
            offset + (at.start() if at else 0),
            "write a space within a path as %20",
        )
    host, slash, _ = after.partition("/")
    if not slash:
        raise Malformed(
            "a path that starts with /", repr(after), offset, f"write /{after}" if after else ""
        )
    if host.endswith(":") and after.startswith("//", len(host)):
        raise Malformed("[host]/path", repr(after), offset, "leave out the scheme")
    path = parse_path(after[len(host) :], offset + len(host))
    return Key(methods, _host(host, offset) if host else None, path, text)


def _methods(text: str) -> frozenset[bytes]:
    methods: set[bytes] = set()
    offset = 0
    for method in text.split(","):
        if not _METHOD.fullmatch(method):
            hint = ""
            if "/" in text:
                hint = "write a space within a path as %20"
            elif not method:
                hint = "methods are joined by a comma without a space: GET,POST /path"
            elif _METHOD.fullmatch(method.upper()):
                hint = f"methods are written in capitals: {method.upper()}"
            raise Malformed("a method such as GET or POST", repr(method), offset, hint)
        if method.encode() in methods:
            raise Malformed("each method once", repr(method), offset)
        methods.add(method.encode())
        offset += len(method) + 1
    return frozenset(methods)


def _host(text: str, offset: int) -> bytes:
    def refuse(hint: str) -> Malformed:
        return Malformed(
            "a host such as www.example.com or *.example.com", repr(text), offset, hint
        )

    if text.startswith("[") and text.endswith("]"):
        return text.lower().encode("ascii", "replace")
    if ":" in text:
        raise refuse("hosts are matched without their port")
    if text == "*":
        raise refuse("leave the host out to match any")
    below = text.startswith("*.")
    name = text[2:] if below else text
    try:
        encoded = name.lower().removesuffix(".").encode("idna")
    except UnicodeError:
        raise refuse("") from None
    if not all(_LABEL.fullmatch(label) for label in encoded.decode().split(".")):
        raise refuse(
            "a * stands only for the first labels" if "*" in name else "a path starts with /"
        )
    return b"*." + encoded if below else encoded


def parse_path(text: str, offset: int = 0) -> Pattern:
    """Parse a path pattern that starts with `/`; `offset` is added to that of errors."""
    if not text.startswith("/"):
        raise Malformed("a path that starts with /", repr(text), offset)
    if at := re.search(r"[?#]", text):
        raise Malformed(
            "a path alone", repr(at[0]), offset + at.start(), "write match: {query: {name: value}}"
        )
    segments: list[Segment] = []
    names: set[str] = set()
    texts = text[1:].split("/")
    offset += 1
    for index, segment in enumerate(texts):
        last = index == len(texts) - 1
        if segment == "**" and last:
            return Pattern(tuple(segments), rest=True)
        if not segment and not last:
            raise Malformed(
                "a segment between two slashes", "'//'", offset - 1, "only ** fits an empty segment"
            )
        segments.append(_segment(segment, offset, names))
        offset += len(segment) + 1
    return Pattern(tuple(segments))


def _segment(text: str, offset: int, names: set[str]) -> Segment:
    if "*" in text:
        hint = "** is the whole last segment" if "**" in text else "one segment is {name}"
        raise Malformed(
            "literals, {name}, or ** at the end", repr(text), offset, hint + "; a literal * is %2A"
        )
    if "<" in text and ">" in text:
        raise Malformed("{name}", repr(text), offset, "captures are written {name}, without a type")
    parts: list[bytes] = []
    own: list[str] = []
    end = 0
    for piece in _PIECE.finditer(text):
        if own and piece.start() == end:
            raise Malformed("text between two captures", repr(text), offset + piece.start())
        parts.append(_literal(text[end : piece.start()], offset + end))
        name = piece[1]
        if not _NAME.fullmatch(name):
            raise Malformed(
                "a name of letters, digits and _", repr(piece[0]), offset + piece.start()
            )
        if name in names:
            raise Malformed("each name once", repr(piece[0]), offset + piece.start())
        names.add(name)
        own.append(name)
        end = piece.end()
    parts.append(_literal(text[end:], offset + end))
    if not own and parts[0] in (b".", b".."):
        raise Malformed("a resolved path", repr(text), offset, "no path with dot segments fits it")
    return Segment(tuple(parts), tuple(own))


def _literal(text: str, offset: int) -> bytes:
    """Decode literal text of a key, so that it equals the reading of every path that fits."""
    if at := re.search(r"[{}]", text):
        raise Malformed("{name}", repr(text), offset + at.start(), "a literal brace is %7B or %7D")
    if at := _BAD_ESCAPE.search(text):
        raise Malformed("% with two hex digits", repr(text), offset + at.start(), "write %25")
    if at := re.search(r"%2[fF]|%5[cC]|%00|\\", text):
        raise Malformed(
            "text without slashes, backslashes or NUL in any form",
            repr(at[0]),
            offset + at.start(),
            "an encoded slash is data that only a {name} or ** takes",
        )
    if at := re.search(r"[\x00-\x20\x7f]", text):
        raise Malformed("printable text", repr(at[0]), offset + at.start(), "percent-encode it")
    decoded = decode(text.encode())
    assert SLASH not in decoded
    return decoded
