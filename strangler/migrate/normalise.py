# SPDX-License-Identifier: Apache-2.0
"""What differs between any two answers of one and the same site, and is no difference.

Each row of `NORMALISERS` replaces such a thing by a mark, so that its absence on one side still
shows. They are in order: a later one sees what an earlier one has left.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

Form = Literal["html", "json", "text"]
"""html; json: the strings in it; text: any other text."""

#: Seconds around now in which an instant counts as the time of rendering.
NEAR: Final = 600.0
#: Characters of a page that are worked on in one go, at least.
_PIECE: Final = 16 << 10
MARK: Final = "\N{HORIZONTAL ELLIPSIS}"
"""What stands where something was taken out."""


@dataclass(frozen=True, slots=True)
class Normaliser:
    """One thing that is taken out: *apply* gets the text and the time of the comparison."""

    name: str
    forms: frozenset[Form]
    doc: str
    apply: Callable[[str, float], str]


def _by(pattern: str, replacement: str, *hints: str) -> Callable[[str, float], str]:
    """Return what replaces *pattern*, whatever its case, in texts with one of *hints* in them."""
    compiled = re.compile(pattern, re.IGNORECASE)

    def apply(text: str, now: float) -> str:
        lower = text.lower()  # far quicker than a search of the pattern
        return compiled.sub(replacement, text) if any(h in lower for h in hints) else text

    return apply


_CSRF: Final = (
    r"(?:csrf[\w-]{0,40}|xsrf[\w-]{0,40}|authenticity_token|_token|__requestverificationtoken)"
)
_SECRET_NAME: Final = re.compile(_CSRF, re.IGNORECASE)
_TOKEN_NAME: Final = re.compile(rf"\bname=[\"']?({_CSRF})(?![\w-])", re.IGNORECASE)
_HIDDEN: Final = re.compile(r"<(input|meta)\b[^<>]*+>", re.IGNORECASE)
_INSTANT: Final = re.compile(
    r"(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)"
    r"|(?P<mail>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)"
    r"|(?P<epoch>(?<![\w.-])1\d{9}(?:\d{3}|\.\d{1,7})?(?![\w-]))"
)
_REFERENCE: Final = re.compile(r"&(?:#x[0-9a-f]{1,6}|#[0-9]{1,7}|quot|apos|nbsp);", re.IGNORECASE)
_TAG: Final = re.compile(
    r"<([a-zA-Z][\w:-]*)((?:\s++|/|[^\s<>\"'/=]++|=|\"[^\"]*+\"|'[^']*+'){0,500}+)>"
)
_ATTRIBUTE: Final = re.compile(
    r"([^\s\"'<>/=]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>=`]+)))?"
)


def is_token_name(name: str) -> bool:
    """Tell whether a member or field called *name* holds a CSRF token."""
    return _SECRET_NAME.fullmatch(name) is not None


def is_near(text: str, now: float) -> bool:
    """Tell whether *text* is an instant within `NEAR` seconds of *now*."""
    found = _INSTANT.fullmatch(text)
    return found is not None and _near(found, now)


def _near(found: re.Match[str], now: float) -> bool:
    text = found[0]
    try:
        if found["iso"]:
            moment = datetime.fromisoformat(text)
            # Without an offset it counts as UTC's: guessing zones would hide real dates.
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = moment.timestamp()
        elif found["mail"]:
            seconds = parsedate_to_datetime(text).timestamp()
        else:
            seconds = float(text)
            seconds = seconds / 1000 if seconds > 1e11 else seconds
    except (ValueError, OverflowError):
        return False
    return abs(seconds - now) <= NEAR


def _without_space(text: str, now: float) -> str:
    text = " ".join(text.split())
    return text.replace(" <", "<").replace("< ", "<").replace(" >", ">").replace("> ", ">")


def _without_comments(text: str, now: float) -> str:
    kept: list[str] = []
    at = 0
    while (begin := text.find("<!--", at)) >= 0 and (end := text.find("-->", begin + 4)) >= 0:
        kept.append(text[at:begin])
        at = end + 3
    return "".join(kept) + text[at:]


def _one_hidden(found: re.Match[str]) -> str:
    name = _TOKEN_NAME.search(found[0])
    return found[0] if name is None else f'<{found[1].lower()} name="{name[1]}" value="{MARK}">'


def _without_moments(text: str, now: float) -> str:
    return _INSTANT.sub(lambda found: MARK if _near(found, now) else found[0], text)


def _one_reference(found: re.Match[str]) -> str:
    said = html.unescape(found[0])
    return found[0].lower() if said in ("<", ">", "&") else said


def _one_tag(found: re.Match[str]) -> str:
    attributes = sorted(
        f'{name.lower()}="{double or single or bare}"'
        for name, double, single, bare in _ATTRIBUTE.findall(found[2])
    )
    return f"<{' '.join([found[1].lower(), *attributes])}>"


_EVERY: Final[frozenset[Form]] = frozenset(("html", "json", "text"))
_HTML: Final[frozenset[Form]] = frozenset(("html",))

NORMALISERS: Final = (
    Normaliser(
        "comment", _HTML, "Comments.", _without_comments
    ),
    Normaliser(
        "reference",
        _HTML,
        "The spelling of a character: `&#x27;`, `&#39;` and `'` are one.",
        lambda text, now: _REFERENCE.sub(_one_reference, text),
    ),
    Normaliser(
        "space",
        _HTML,
        "Runs of white space are one space, and none beside a tag.",
        _without_space,
    ),
    Normaliser(
        "csrf",
        _HTML,
        "The value of an `input` or `meta` that is named as a CSRF token (`csrf…`, `xsrf…`, "
        "`authenticity_token`, `_token`).",
        lambda text, now: _HIDDEN.sub(_one_hidden, text),
    ),
    Normaliser(
        "csrf in scripts",
        _EVERY,
        'A quoted value behind such a name: `csrfToken: "…"`.',
        _by(
            rf"([\"']?\b{_CSRF}[\"']?\s{{0,8}}[:=]\s{{0,8}})([\"'])[^\"'<>]{{0,500}}\2",
            rf"\1\2{MARK}\2",
            *("csrf", "xsrf", "token"),
        ),
    ),
    Normaliser(
        "nonce",
        _EVERY,
        "`nonce` attributes and the nonces of a Content-Security-Policy.",
        _by(r"\bnonce(=[\"']|-)[^\"'<>\s]*", rf"nonce\1{MARK}", "nonce"),
    ),
    Normaliser(
        "session",
        _EVERY,
        "A session's id in a URL or a text: `jsessionid=`, `phpsessid=`, `sessionid=`.",
        _by(r"\b(jsessionid|phpsessid|sessionid)=[\w.~-]+", rf"\1={MARK}", "sess"),
    ),
    Normaliser(
        "moment",
        _EVERY,
        "An instant within ten minutes of now: ISO 8601, an HTTP date, seconds or milliseconds "
        "since 1970. Any other date is the page's own and counts.",
        _without_moments,
    ),
    Normaliser(
        "tag",
        _HTML,
        "The order and quotes of a tag's attributes, and the case of names.",
        lambda text, now: _TAG.sub(_one_tag, text),
    ),
)  # fmt: skip


def normalised(text: str, form: Form, now: float) -> str:
    """Return *text* with all that is no difference taken out; *now* in Unix seconds.

    A page goes through in pieces, from tag to tag, so that whoever waits for the interpreter
    never waits for a whole page.
    """
    pieces = [text]
    for each in NORMALISERS:
        if form in each.forms:
            pieces = [each.apply(piece, now) for piece in pieces]
            if each.name == "space":
                pieces = list(_pieces(pieces[0]))
    return "".join(pieces)


def _pieces(page: str) -> Iterator[str]:
    at = 0
    while len(page) - at > 2 * _PIECE:
        end = page.find("><", at + _PIECE, at + 2 * _PIECE) + 1
        if not end:  # so long a text is no page
            break
        yield page[at:end]
        at = end
    yield page[at:]
