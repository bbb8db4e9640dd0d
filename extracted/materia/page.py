# SPDX-License-Identifier: Apache-2.0
"""The pages for readers, byte for byte as the monolith makes them."""

import codecs
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from tornado.template import Loader

from .event import Article

# Templates are kept close to the monolith's, so that a change there is easily carried over;
# whitespace="all" because every byte counts.
_loader = Loader(str(Path(__file__).parent / "templates"), whitespace="all")
_article = _loader.load("article.html")
_not_found = _loader.load("404.html")


def render(article: Article) -> bytes:
    """Return the page of `article`; raise KeyError or TypeError where the document lacks a part."""
    return _article.generate(article=article)


def not_found(path: bytes) -> bytes:
    """Return the page for a path, as received, that has nothing."""
    return _not_found.generate(path=unquote_to_bytes(path).decode("utf-8", "percent"))


def _percent(error: UnicodeError) -> tuple[str, int]:
    """Write bytes that aren't UTF-8 as the percent codes that they came as, as Django does."""
    assert isinstance(error, UnicodeDecodeError)
    return quote(error.object[error.start : error.end]), error.end


codecs.register_error("percent", _percent)
