# SPDX-License-Identifier: Apache-2.0
"""The publication event: all that the monolith tells this service."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

KINDS = ("published", "changed", "removed")
MAX_SEQ = 2**63 - 1  # what both SQLite and BSON can hold
MAX_SLUG = 1024  # characters; MongoDB can't index keys without a bound

Article = dict[str, Any]
Check = Callable[[Article], object]


class BadEvent(ValueError):
    """An event that can't be applied; the message says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the publication log: what became of one article at place `seq`.

    `article` is the whole document that the page is rendered from, None once removed.
    """

    seq: int
    kind: Literal["published", "changed", "removed"]
    slug: str
    article: Article | None

    @classmethod
    def parse(cls, data: bytes | str, check: Check | None = None) -> Self:
        """Return the event in `data` (JSON); raise BadEvent where it isn't one."""
        try:
            return cls.of(json.loads(data), check)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise BadEvent(f"not JSON: {error}") from None

    @classmethod
    def of(cls, item: Any, check: Check | None = None) -> Self:
        """Return the event in the JSON object `item`; raise BadEvent where it isn't one.

        `check` is called with the article and raises where no page could be made of it, so that
        nothing gets into the store that a reader would be shown as an error.
        """
        if not isinstance(item, dict):
            raise BadEvent("an event is a JSON object")
        seq, kind, slug, article = (item.get(k) for k in ("seq", "kind", "slug", "article"))
        if type(seq) is not int or not 0 < seq <= MAX_SEQ:
            raise BadEvent(f"seq: expected 1 to 2**63-1, got {seq!r:.80}")
        if kind not in KINDS:
            raise BadEvent(f"kind: expected one of {', '.join(KINDS)}, got {kind!r:.80}")
        if not isinstance(slug, str) or not 0 < len(slug) <= MAX_SLUG or not _storable(slug):
            raise BadEvent(f"slug: expected 1 to {MAX_SLUG} characters, got {slug!r:.80}")
        if kind == "removed":
            return cls(seq, kind, slug, None)
        if not isinstance(article, dict):
            raise BadEvent(f"article: expected an object with {kind}, got {article!r:.80}")
        if article.get("slug", slug) != slug:
            raise BadEvent(
                f"article: its slug {article['slug']!r:.80} isn't the event's {slug!r:.80}"
            )
        if check is not None:
            try:
                check(article)
            except Exception as error:
                raise BadEvent(f"article: no page can be made: {error!r:.300}") from error
        return cls(seq, kind, slug, article)


def _storable(text: str) -> bool:
    """Tell whether `text` has no NUL and no half of a surrogate pair, which JSON can smuggle in."""
    return "\0" not in text and text.encode("utf-8", "replace").decode() == text
