# SPDX-License-Identifier: Apache-2.0
"""The publication log: announce what readers may see now, and hand it to other systems.

Every row is numbered from one locked counter in the transaction of the change itself, so the
numbers have no gaps and become visible in order: whoever has read up to N has missed nothing.
A row says that something happened, not what: its document is made when it is read, from the
article as it is by then. Applying events in order, or the newest only, ends in the same state.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, Max, QuerySet
from django.urls import reverse

from edge_purge import purge

if TYPE_CHECKING:
    from .models import Article, Publication

BATCH = 500  # events read at once
HOOKED = 100  # events of one change that are posted at most; the rest waits for a re-sync


@transaction.atomic
def announce(article: "Article", *, removed: bool = False) -> list["Publication"]:
    """Log what became of the article since its last row; return the new rows.

    Nothing is logged for a draft that was never public. A new slug is a removal and a
    publication. Articles that link to this one under its title are announced as changed.
    """
    from .models import Article, Publication

    kinds = Publication.Kind
    last = Publication.objects.filter(article_id=article.pk).order_by("-seq").first()
    was_public = last is not None and last.kind != kinds.REMOVED
    is_public = article.is_public and not removed
    same_place = was_public and is_public and last.slug == article.slug

    rows = []
    if was_public and not same_place:
        rows.append((kinds.REMOVED, article.pk, last.slug, last.title))
    if is_public:
        kind = kinds.CHANGED if same_place else kinds.PUBLISHED
        rows.append((kind, article.pk, article.slug, article.title))
    if rows and not (same_place and last.title == article.title):
        linking = Article.public.filter(related=article.pk).exclude(pk=article.pk)
        rows += [(kinds.CHANGED, *of) for of in linking.values_list("pk", "slug", "title")]
    return _append(rows)


@transaction.atomic
def announce_changed(articles: "QuerySet[Article]") -> list["Publication"]:
    """Log a change of each of these public articles, as when their section is renamed."""
    from .models import Publication

    found = articles.order_by("pk").values_list("pk", "slug", "title")
    return _append([(Publication.Kind.CHANGED, *of) for of in found])


def _append(rows: list[tuple[str, int, str, str]]) -> list["Publication"]:
    """Number the rows, store them, and post them to the hooks once the change is committed."""
    from . import hooks
    from .models import Publication

    if not rows:
        return []
    first = reserve(len(rows))
    stored = Publication.objects.bulk_create(
        Publication(seq=seq, kind=kind, article_id=pk, slug=slug, title=title)
        for seq, (kind, pk, slug, title) in enumerate(rows, first)
    )
    transaction.on_commit(lambda: hooks.post(stored[:HOOKED]), robust=True)
    purge(
        tags=dict.fromkeys(f"noticia:{slug}" for _, _, slug, _ in rows),
        paths=dict.fromkeys(reverse("articles:article", args=[slug]) for _, _, slug, _ in rows),
    )
    return stored


def reserve(count: int) -> int:
    """Take `count` numbers, in the caller's transaction; return the first."""
    from .models import PublicationCursor

    cursor = PublicationCursor.objects.filter(pk=1)
    if not cursor.update(last=F("last") + count):
        PublicationCursor.objects.get_or_create(pk=1)
        cursor.update(last=F("last") + count)
    return PublicationCursor.objects.get(pk=1).last - count + 1


def events(rows: Iterable["Publication"]) -> Iterator[dict[str, Any]]:
    """Yield the event of each row, with the article's document as it is now.

    An article that is no longer public, or no longer at that address, gives a removal.
    """
    from .documents import document
    from .models import Article, Publication

    rows = list(rows)
    wanted = {row.article_id for row in rows if row.kind != Publication.Kind.REMOVED}
    articles = Article.public.documents().in_bulk(wanted)
    for row in rows:
        article = articles.get(row.article_id)
        if row.kind == Publication.Kind.REMOVED or article is None or article.slug != row.slug:
            yield {"seq": row.seq, "kind": "removed", "slug": row.slug, "article": None}
        else:
            body = document(article)
            yield {"seq": row.seq, "kind": row.kind, "slug": row.slug, "article": body}


def since(after: int, limit: int = BATCH) -> dict[str, Any]:
    """Return one page of the log: the events numbered above `after`, at most `limit`."""
    from .models import Publication

    rows = list(Publication.objects.filter(seq__gt=after)[: limit + 1])
    page = list(events(rows[:limit]))
    return {
        "events": page,
        "last": page[-1]["seq"] if page else after,
        "more": len(rows) > limit,
    }


def latest(after: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the newest event of every address that was announced above `after`, oldest first."""
    from .models import Publication

    newest = Publication.objects.filter(seq__gt=after).values("slug").annotate(seq=Max("seq"))
    seqs = sorted(row["seq"] for row in newest.order_by())
    for start in range(0, len(seqs), BATCH):
        yield from events(Publication.objects.filter(seq__in=seqs[start : start + BATCH]))
