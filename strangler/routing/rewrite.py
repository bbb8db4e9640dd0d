# SPDX-License-Identifier: Apache-2.0
"""What is made of a match: the path for the upstream, or the Location of a redirect.

Both are made of a template: `{name}` stands for a capture, `{**}` for what a final `**` took,
which has no slash at its start (`/promo/{**}`). Captures are raw bytes: `%2F` stays `%2F`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strangler.template import Template

from .pattern import Malformed, Pattern
from .reading import AmbiguousPath, decode, has_dot_segments, show, with_slashes

_NOT_VISIBLE: Final = re.compile(r"[^!-~]")
_ABSOLUTE: Final = re.compile(r"https?://[^/?#{}@\\]+(?=[/?#]|\Z)")

# What may stand in a Location without changing what comes after it. A backslash is a slash to a
# browser; a control byte would end the field.
_UNSAFE_IN_PATH: Final = re.compile(rb"[^!$%&'()*+,./0-9:;=@A-Z_a-z~-]")
_UNSAFE_IN_VALUE: Final = re.compile(rb"[^!$%'()*,./0-9:@A-Z_a-z~-]")
_UNSAFE_IN_QUERY: Final = re.compile(rb"[^!$%&'()*+,./0-9:;=?@A-Z_a-z~|{}\[\]-]")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Another path for the upstream: `strip` leading segments taken off, or a template."""

    strip: int = 0
    template: Template | None = None

    @classmethod
    def stripping(cls, prefix: str, pattern: Pattern) -> Rewrite:
        """Take `prefix` (`/busca`) off the paths of `pattern`; raise Malformed if it can't.

        The prefix is whole literal segments that the pattern begins with.
        """
        if not prefix.startswith("/") or prefix == "/":
            raise Malformed("a prefix such as /busca", repr(prefix))
        texts = prefix.removesuffix("/")[1:].split("/")
        own = [s.parts[0] for s in pattern.segments[: len(texts)] if s.is_literal]
        if own != [decode(text.encode()) for text in texts]:
            raise Malformed(f"whole literal segments that {pattern} begins with", repr(prefix))
        return cls(strip=len(texts))

    @classmethod
    def to(cls, text: str, pattern: Pattern) -> Rewrite:
        """Make the path of a template that takes its captures from `pattern`; raise Malformed."""
        if not text.startswith("/"):
            raise Malformed("a path that starts with /", repr(text))
        if at := re.search(r"[?#]", text):
            raise Malformed("a path alone", repr(at[0]), at.start(), "the query goes as received")
        if has_dot_segments(with_slashes(decode(text.encode()))):
            raise Malformed("a path without dot segments", repr(text))
        return cls(template=_template(text, pattern))

    def apply(self, path: bytes, params: Mapping[str, bytes]) -> bytes:
        """Make the raw path for the upstream of the raw path received; `*` stays.

        Raises AmbiguousPath where a dot segment would lead out of the place rewritten to.
        """
        if path == b"*":
            return path
        if self.template is not None:
            made = self.template.fill(params)
        else:
            # By segments, not bytes: the prefix may be spelt with escapes in this path.
            parts = path.split(b"/", self.strip + 1)
            made = b"/" + b"".join(parts[self.strip + 1 :])
        if b"/." in made or b"%" in made or b"\\" in made:
            _refuse_dots(path, made)
        return made


def _refuse_dots(path: bytes, made: bytes) -> None:
    if has_dot_segments(with_slashes(decode(made))):
        raise AmbiguousPath(
            path, f"path: {show(path)} is rewritten to {show(made)}, which has dot segments"
        )


@dataclass(frozen=True, slots=True)
class Location:
    """The template of a redirect's Location: a path of this site, or an http URL.

    No request can make it name another host, end the field, or reach from a path into the query.
    """

    template: Template
    local: bool

    @classmethod
    def parse(cls, text: str, pattern: Pattern) -> Location:
        """Parse a Location that takes its captures from `pattern`; raise Malformed."""
        hint = "begin with / or https://host/"
        if "\\" in text:
            raise Malformed("a URL without backslashes", repr(text), text.index("\\"))
        if text.startswith("//"):
            raise Malformed("a path of this site or a URL with its scheme", repr(text), 0, hint)
        local = text.startswith("/")
        if not local and not _ABSOLUTE.match(text):
            if text.startswith(("http://", "https://")):
                hint = "no request may choose the host, so that it can't have captures"
            raise Malformed("a path or an http URL", repr(text), 0, hint)
        return cls(_template(text, pattern), local)

    def expand(self, params: Mapping[str, bytes], query: bytes = b"") -> bytes:
        """Make the Location's value; `query` (without `?`) is added to the template's own.

        What could not stand in a URL is percent-encoded; everything else stays as received.
        """
        made: list[bytes] = []
        unsafe = _UNSAFE_IN_PATH
        for part in self.template.parts:
            if isinstance(part, bytes):
                made.append(part)
                unsafe = _UNSAFE_IN_VALUE if b"?" in part or b"#" in part else unsafe
            else:
                made.append(unsafe.sub(_encoded, params.get(part, b"")))
        location = b"".join(made)
        if self.local:
            # //host would be another site.
            location = b"/" + location.lstrip(b"/")
        if query:
            before, mark, fragment = location.partition(b"#")
            joint = b"&" if b"?" in before else b"?"
            location = before + joint + _UNSAFE_IN_QUERY.sub(_encoded, query) + mark + fragment
        return location


def _encoded(byte: re.Match[bytes]) -> bytes:
    return b"%%%02X" % byte[0][0]


def _template(text: str, pattern: Pattern) -> Template:
    visible = _NOT_VISIBLE.sub(
        lambda character: "".join(f"%{byte:02X}" for byte in character[0].encode()), text
    )
    try:
        template = Template.parse(visible)
    except ValueError as error:
        raise Malformed("a template such as /promo/{name}", repr(text), 0, str(error)) from None
    unknown = sorted(template.names - set(pattern.names))
    if unknown:
        names = ", ".join(f"{{{name}}}" for name in pattern.names)
        raise Malformed(
            f"a capture of {pattern}",
            f"{{{unknown[0]}}}",
            max(text.find(f"{{{unknown[0]}}}"), 0),
            f"it has {names}" if names else "it has none",
        )
    return template
