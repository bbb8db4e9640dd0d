# SPDX-License-Identifier: Apache-2.0
"""The article document: all that the article page shows, as plain JSON data.

The page's template sees nothing but this document. Whoever holds it can make the same page.
"""

from datetime import datetime
from typing import Any

from django.utils import formats, timezone

from .models import Article

RELATED = 5
EDIT_GRACE = 60  # seconds after publication in which a save does not count as an update


def document(article: Article) -> dict[str, Any]:
    """Return the document of a public article, best one of `Article.public.documents()`.

    Moments are given twice: as ISO 8601 with the newsroom's offset, for machines, and as the text
    that the page prints. `updated_text` is null where the page prints no update.
    """
    published, updated = article.published_at, article.updated_at
    edited = (updated - published).total_seconds() > EDIT_GRACE
    # Sorted here, not by the database: collations differ, and the page must not.
    tags = sorted(article.tags.all(), key=lambda tag: (tag.name, tag.pk))
    related = sorted(article.related.all(), key=lambda other: -other.pk)
    linked = [other for other in related if other.is_public and other.pk != article.pk][:RELATED]
    return {
        "id": article.pk,
        "slug": article.slug,
        "url": article.get_absolute_url(),
        "title": article.title,
        "subtitle": article.subtitle,
        "section": heading(article.section),
        "author": {**heading(article.author), "role": article.author.role},
        "tags": [heading(tag) for tag in tags],
        "image": image(article),
        "published_at": timezone.localtime(published).isoformat(),
        "published_text": moment(published),
        "updated_at": timezone.localtime(updated).isoformat(),
        "updated_text": moment(updated) if edited else None,
        "body": article.body,
        "related": [{"title": other.title, "url": other.get_absolute_url()} for other in linked],
        "comments_open": article.comments_open,
    }


def heading(of: Any) -> dict[str, str]:
    """Return name, slug and address of a section, tag or author."""
    return {"name": of.name, "slug": of.slug, "url": of.get_absolute_url()}


def image(article: Article) -> dict[str, str] | None:
    """Return the picture above the text, if there is one."""
    if not article.image:
        return None
    return {"url": article.image, "caption": article.image_caption}


def moment(value: datetime) -> str:
    """Write a moment as the newsroom does: 20 de novembro de 2026, 18h05."""
    # Django spells Portuguese months with a capital; the newsroom does not.
    return formats.date_format(timezone.localtime(value), r"j \d\e F \d\e Y, H\hi").lower()
