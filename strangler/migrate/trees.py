# SPDX-License-Identifier: Apache-2.0
"""Where in a page or a document two texts differ first, as a path without what varies by page.

An element's path holds the last few open elements with their ids, digits as N:
`main/article#materia/h1`, and `…/a[href]` for an attribute. A JSON path is that of jq with the
indices left out: `.items[].autor.nome`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any, Final, NamedTuple

from strangler.migrate.normalise import is_near, is_token_name, normalised

#: Elements of a path that are shown; more would tell pages apart and not their parts.
_DEPTH: Final = 4
_VOID: Final = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
     "wbr")
)  # fmt: skip
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][\w:-]*)((?:[^<>\"']++|\"[^\"]*+\"|'[^']*+')*+)>")
_ID: Final = re.compile(r"\bid=[\"']?([\w.:-]+)", re.IGNORECASE)
_NAMES: Final = re.compile(r"([^\s\"'<>/=]+)(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>=`]+))?")
_DIGITS: Final = re.compile(r"\d+")
#: Characters of a member's name that are shown.
_NAME: Final = 60


class _Place(NamedTuple):
    """A tag: where it begins and ends, whether it closes, the path inside it."""

    start: int
    end: int
    closes: bool
    path: tuple[str, ...]


def _tags(page: str) -> Iterator[_Place]:
    """Yield every tag of *page* with the elements open after it; void ones count as open in it."""
    stack: list[tuple[str, str]] = []
    for found in _TAG.finditer(page):
        name = found[2].lower()
        if found[1]:
            for depth in range(len(stack) - 1, -1, -1):
                if stack[depth][0] == name:
                    del stack[depth:]
                    break
            yield _Place(found.start(), found.end(), True, _shown(stack))
            continue
        label = _ID.search(found[3])
        shown = name if label is None else f"{name}#{_DIGITS.sub('N', label[1][:_NAME])}"
        stack.append((name, shown))
        yield _Place(found.start(), found.end(), False, _shown(stack))
        if name in _VOID or found[3].endswith("/"):
            stack.pop()


def _shown(stack: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple([shown for _, shown in stack if shown not in ("html", "body")][-_DEPTH:])


def first_difference(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # slices compare far faster than characters
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def changed(one: str, other: str) -> tuple[str, str]:
    """Return two texts without what is alike at both ends, from a tag's begin to a tag's end."""
    begin = first_difference(one, other)
    low, high = 0, min(len(one), len(other)) - begin
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    begin = max(one.rfind("<", 0, begin), 0)
    after = one.find(">", len(one) - low)
    rest = 0 if after < 0 else len(one) - after - 1
    return one[begin : len(one) - rest], other[begin : len(other) - rest]


def page_difference(one: str, other: str) -> tuple[str, int]:
    """Return the path of the first difference of two pages, and its offset in both."""
    at = first_difference(one, other)
    inside: tuple[str, ...] = ()
    for tag in _tags(one):
        if tag.start > at:
            break
        if tag.end > at and not tag.closes and one[: tag.start + 2] == other[: tag.start + 2]:
            return _with_attribute(one, tag, at), at
        if tag.end > at:
            break
        inside = tag.path
        if one[tag.start : tag.end].lower().startswith(_BRIEF):
            inside = inside[:-1]
    return "/".join(inside) or "page", at


#: A void element is open only in its own tag.
_BRIEF: Final = tuple(f"<{name}" for name in sorted(_VOID))


def _with_attribute(page: str, tag: _Place, at: int) -> str:
    path = "/".join(tag.path) or "page"
    name = ""
    for found in _NAMES.finditer(page, tag.start + 1, tag.end):
        if found.start() > at:
            break
        name = found[1].lower()
    first = _TAG.match(page, tag.start)
    if first is None or not name or name == first[2].lower():
        return path
    return f"{path}[{name}]"


def page_without(page: str, paths: Set[str]) -> str:
    """Return *page* without the elements and attributes at *paths*, as `page_difference` says."""
    kept: list[str] = []
    at = 0
    closing: tuple[str, ...] | None = None
    for tag in _tags(page):
        if closing is not None:
            if tag.closes and len(tag.path) <= len(closing) and tag.path != closing:
                closing = None
                at = tag.end
            continue
        if tag.closes:
            continue
        path = "/".join(tag.path)
        if path in paths:
            kept.append(page[at : tag.start])
            at = tag.end
            if not page[tag.start : tag.end].lower().startswith(_BRIEF):
                closing = tag.path
        else:
            names = {known[len(path) + 1 : -1] for known in paths if known.startswith(f"{path}[")}
            if names:
                kept += [page[at : tag.start], _without_attributes(page, tag, names)]
                at = tag.end
    if closing is None:
        kept.append(page[at:])
    return "".join(kept)


def _without_attributes(page: str, tag: _Place, names: Set[str]) -> str:
    return _NAMES.sub(
        lambda found: "" if found[1].lower() in names else found[0], page[tag.start : tag.end]
    )


def json_difference(
    one: Any, other: Any, *, ignore: Set[str], now: float, path: str = ""
) -> tuple[str, str, str] | None:
    """Return where two JSON values differ first, and what stands there; None: nowhere.

    *ignore*: paths below which nothing counts. The order of members doesn't count.
    """
    if (path or ".") in ignore:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            where = f"{path}.{_DIGITS.sub('N', name[:_NAME])}"
            if where in ignore:
                continue
            if name not in other or name not in one:
                return where, _said(one.get(name, _ABSENT)), _said(other.get(name, _ABSENT))
            if is_token_name(name):
                continue
            found = json_difference(one[name], other[name], ignore=ignore, now=now, path=where)
            if found is not None:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list):
        where = f"{path}[]"
        for mine, theirs in zip(one, other, strict=False):
            found = json_difference(mine, theirs, ignore=ignore, now=now, path=where)
            if found is not None:
                return found
        if len(one) != len(other) and where not in ignore:
            return where, f"{len(one)} items", f"{len(other)} items"
        return None
    if _same(one, other, now):
        return None
    return path or ".", _said(one), _said(other)


_ABSENT: Final = object()


def _same(one: Any, other: Any, now: float) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return one == other or normalised(one, "json", now) == normalised(other, "json", now)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or (is_near(str(one), now) and is_near(str(other), now))
    return False


def _said(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return repr(value) if isinstance(value, str) else str(value)
