# SPDX-License-Identifier: Apache-2.0
"""Cache directives: Cache-Control (RFC 9111 §5.2) and its targeted kin (RFC 9213).

A response's directives come from the first targeted field that is valid and not empty,
`Strangler-Cache-Control` before `CDN-Cache-Control`; such a field replaces Cache-Control and
Expires altogether (RFC 9213 §2.2). Otherwise they come from Cache-Control. What is malformed is
read to the safe side: a lifetime that can't be read, or that two lines give differently, is 0
(RFC 9111 §4.2.1), and a prohibition with an argument nobody understands still prohibits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import http_sf

from strangler.cache.fields import members, unquote
from strangler.wire.head import Fields

#: RFC 9111 §1.2.2: a larger number of seconds counts as this one.
MAX_SECONDS: Final = 2**31
#: RFC 9213 §2.2: our target list, the most specific first.
TARGETED: Final = (b"strangler-cache-control", b"cdn-cache-control")

Source = Literal["none", "cache-control", "strangler-cache-control", "cdn-cache-control"]
Argument = bytes | None

_DIRECTIVE: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:=(\"(?:[^\"\\]++|\\.)*+\"|[^\"\s]*+))?", re.DOTALL
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DIGITS: Final = re.compile(rb"[0-9]+")
_SECONDS: Final = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})
_FLAGS: Final = frozenset(
    {b"no-store", b"public", b"must-revalidate", b"proxy-revalidate", b"must-understand"}
)
_FLAGS_OR_FIELDS: Final = frozenset({b"no-cache", b"private"})
#: Fields that a stored response can't be understood, or judged, without.
_ESSENTIAL: Final = frozenset(
    {b"cache-control", b"content-encoding", b"content-length", b"content-range", b"content-type",
     b"date", b"expires", b"transfer-encoding", b"vary", *TARGETED}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """A response's directives. Seconds are 0 to 2^31, None where the directive is absent.

    no_cache and private are their unqualified forms; the fields that the qualified ones name
    are in `unstored` (lower case), for a cache that may not keep them (§5.2.2.4, §5.2.2.7).
    """

    source: Source = "none"
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    unstored: frozenset[bytes] = frozenset()

    @property
    def targeted(self) -> bool:
        """Tell whether Expires is to be ignored (RFC 9213 §2.2)."""
        return self.source in ("strangler-cache-control", "cdn-cache-control")

    @property
    def forbids_stale(self) -> bool:
        """Tell whether the origin forbids a stale answer (RFC 9111 §4.2.4)."""
        return (
            self.must_revalidate
            or self.proxy_revalidate
            or self.no_cache
            or self.s_maxage is not None
        )

    @property
    def allows_authorized(self) -> bool:
        """Tell whether answers to requests with Authorization may be shared (§3.5)."""
        return self.public or self.must_revalidate or self.s_maxage is not None


def of_response(fields: Fields) -> Directives:
    """Return the directives that govern a response with *fields*."""
    lower = fields.lower
    if b"-cache-control:" in lower:
        for name in TARGETED:
            if found := fields.all(name):
                directives = _targeted(b", ".join(found), name)
                if directives is not None:
                    return directives
    found = fields.all(b"cache-control")
    if not found:
        return NO_DIRECTIVES
    return _read(split(found), "cache-control")


def split(lines: Iterable[bytes]) -> list[tuple[bytes, Argument]]:
    """Return Cache-Control *lines* as (lower-case name, argument or None), in order.

    A quoted argument comes unquoted. A member that breaks the grammar keeps its name, as far as
    there is one, with an argument that no directive understands: `max-age =5` is a max-age.
    """
    found: list[tuple[bytes, Argument]] = []
    for member in members(lines):
        directive = _DIRECTIVE.fullmatch(member)
        if directive is not None:
            argument = directive[2]
            found.append((directive[1].lower(), None if argument is None else unquote(argument)))
        elif name := _NAME.match(member):
            found.append((name[0].lower(), b"?"))
    return found


def delta(argument: Argument) -> int | None:
    """Return delta-seconds (§1.2.2), clamped to 2^31, or None where *argument* is none."""
    if argument is None or _DIGITS.fullmatch(argument) is None:
        return None
    digits = argument.lstrip(b"0")
    return MAX_SECONDS if len(digits) > 10 else min(int(digits or b"0"), MAX_SECONDS)


def _read(found: list[tuple[bytes, Argument]], source: Source) -> Directives:
    seconds: dict[bytes, int] = {}
    flags: set[bytes] = set()
    unstored: set[bytes] = set()
    for name, argument in found:
        if name in _SECONDS:
            value = delta(argument) or 0
            if seconds.setdefault(name, value) != value:
                seconds[name] = 0  # §4.2.1: two answers are no answer
        elif name in _FLAGS:
            if argument is None or name != b"public":  # the one flag that permits
                flags.add(name)
        elif name in _FLAGS_OR_FIELDS:
            named = _field_names(argument)
            if named:
                unstored |= named
            else:
                flags.add(name)
    return _directives(source, seconds, flags, unstored)


def _targeted(value: bytes, name: bytes) -> Directives | None:
    """Return a targeted field's directives; None where it is empty or invalid (RFC 9213 §2.1)."""
    try:
        parsed = http_sf.parse(value, tltype="dictionary")
    except (http_sf.StructuredFieldError, ValueError, OverflowError):
        return None
    if not isinstance(parsed, dict) or not parsed:
        return None
    seconds: dict[bytes, int] = {}
    flags: set[bytes] = set()
    unstored: set[bytes] = set()
    for word, value_and_parameters in parsed.items():
        key = word.encode()
        # Parameters are to be ignored (RFC 9213 §2.1).
        item = (
            value_and_parameters[0]
            if isinstance(value_and_parameters, tuple)
            else value_and_parameters
        )
        if key in _SECONDS:
            if type(item) is not int:
                return None
            seconds[key] = min(max(item, 0), MAX_SECONDS)
        elif key in _FLAGS:
            if item is not True:
                return None
            flags.add(key)
        elif key in _FLAGS_OR_FIELDS:
            if item is True:
                flags.add(key)
            elif type(item) is str:
                named = _field_names(item.encode())
                if named:
                    unstored |= named
                else:
                    flags.add(key)
            else:
                return None
    source: Source = "strangler-cache-control" if name == TARGETED[0] else "cdn-cache-control"
    return _directives(source, seconds, flags, unstored)


def _directives(
    source: Source, seconds: dict[bytes, int], flags: set[bytes], unstored: set[bytes]
) -> Directives:
    return Directives(
        source=source,
        max_age=seconds.get(b"max-age"),
        s_maxage=seconds.get(b"s-maxage"),
        stale_while_revalidate=seconds.get(b"stale-while-revalidate"),
        stale_if_error=seconds.get(b"stale-if-error"),
        no_store=b"no-store" in flags,
        no_cache=b"no-cache" in flags,
        private=b"private" in flags,
        public=b"public" in flags,
        must_revalidate=b"must-revalidate" in flags,
        proxy_revalidate=b"proxy-revalidate" in flags,
        must_understand=b"must-understand" in flags,
        unstored=frozenset(unstored),
    )


def _field_names(argument: Argument) -> frozenset[bytes]:
    """Return the names in a qualified directive; none at all where it is to be unqualified.

    That is where one of them is no name, or names what the rest makes no sense without: the safe
    reading, which §5.2.2.4 and §5.2.2.7 know of.
    """
    if argument is None:
        return frozenset()
    names = [part.strip(b" \t").lower() for part in argument.split(b",")]
    found = frozenset([name for name in names if name])
    if found & _ESSENTIAL or not all(map(_NAME.fullmatch, found)):
        return frozenset()
    return found


#: What a response without any says.
NO_DIRECTIVES: Final = Directives()
