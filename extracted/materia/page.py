# SPDX-License-Identifier: Apache-2.0
"""The article page, byte for byte as the monolith makes it from the same document."""

from pathlib import Path

from tornado.template import Loader

from .event import Article

# Templates are kept close to the monolith's, so that a change there is easily carried over;
# whitespace="all" because every byte counts.
_loader = Loader(str(Path(__file__).parent / "templates"), whitespace="all")
_article = _loader.load("article.html")


def render(article: Article) -> bytes:
    """Return the page of `article`; raise KeyError or TypeError where the document lacks a part."""
    return _article.generate(article=article)


NOT_FOUND = b""  # placeholder until the 404 port
