# SPDX-License-Identifier: Apache-2.0
"""Documents and events such as the monolith sends."""

from typing import Any

from extracted.materia.event import Event

TOKEN = "segredo-de-teste"


def article(slug: str = "chuva", **parts: Any) -> dict[str, Any]:
    """Return a document such as the monolith's, with `parts` of it replaced."""
    return {
        "id": 7,
        "slug": slug,
        "url": f"/noticia/{slug}.ghtml",
        "title": "Chuva alaga o centro",
        "subtitle": "Água chegou a um metro",
        "section": {"name": "Cidades", "slug": "cidades", "url": "/secao/cidades/"},
        "author": {"name": "Ana Sá", "slug": "ana-sa", "url": "/autor/ana-sa/", "role": ""},
        "tags": [{"name": "Chuva", "slug": "chuva", "url": "/assunto/chuva/"}],
        "image": None,
        "published_at": "2026-11-20T18:05:00-03:00",
        "published_text": "20 de novembro de 2026, 18h05",
        "updated_at": "2026-11-20T18:05:00-03:00",
        "updated_text": None,
        "body": "<p>Choveu.</p>",
        "related": [],
        "comments_open": True,
        **parts,
    }


def event(seq: int, slug: str = "chuva", kind: str = "published", **parts: Any) -> Event:
    """Return an event; a removal has no article."""
    return Event.of(
        {
            "seq": seq,
            "kind": kind,
            "slug": slug,
            "article": None if kind == "removed" else article(slug, **parts),
        }
    )
