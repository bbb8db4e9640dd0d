# SPDX-License-Identifier: Apache-2.0
"""What the tests of several apps begin with."""

from datetime import UTC, datetime
from typing import Any

from django.utils.text import slugify

from . import publication
from .models import Article, Author, Section, Tag

MOMENT = datetime(2026, 3, 15, 14, 5, tzinfo=UTC)  # 11h05 in the newsroom


def heading(model: Any, name: str) -> Any:
    """Return a section, tag or author of that name, made where there is none."""
    return model.objects.get_or_create(slug=slugify(name), defaults={"name": name})[0]


def make_article(
    slug: str = "chuva", *, section: str = "Cidades", tags: str = "", **columns: Any
) -> Article:
    """Store a public article with sensible columns; `tags` are names with blanks between."""
    values = {
        "title": f"Título de {slug}",
        "subtitle": "Linha fina",
        "body": "<p>Texto.</p>",
        "status": Article.Status.PUBLIC,
        "published_at": MOMENT,
    }
    article = Article(
        slug=slug,
        section=heading(Section, section),
        author=heading(Author, "Ana"),
        **(values | columns),
    )
    article.save(announce=False)
    article.tags.set([heading(Tag, name) for name in tags.split()])
    publication.announce(article)
    return article
