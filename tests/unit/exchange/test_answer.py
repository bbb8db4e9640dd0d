# SPDX-License-Identifier: Apache-2.0
"""Error pages: in the reader's language and words, with the id, and fit for programs too."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from strangler.exchange.answer import error_body, wishes

HTML = b"text/html,application/xhtml+xml,*/*;q=0.8"
PT = b"pt-BR,pt;q=0.9,en;q=0.8"


class Page(HTMLParser):
    """What a reader sees of a page: text by tag, and links."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.links: list[str] = []
        self.language = ""
        self._tag = ""
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        given = dict(attrs)
        self.language = given.get("lang") or self.language
        if tag == "a":
            self.links.append(given["href"] or "")

    def handle_data(self, data: str) -> None:
        self.texts[self._tag] = self.texts.get(self._tag, "") + data.strip()


@pytest.mark.parametrize(
    ("start", "asked"),
    [
        (
            b"GET / HTTP/1.1\r\nACCEPT:text/html\r\naccept-language: pt \r\nCookie: a",
            (b"text/html", b"pt"),
        ),
        (b"GET / HTTP/1.1\r\nAccept: a\r\nAccept: b\r\n\r\n", (b"a", b"")),
        (b"GET / HTTP/1.1\r\nAccept: text/ht", (b"", b"")),  # it goes on, or does not
        (b"POST / HTTP/1.1\r\nX: y\r\n\r\nz\r\nAccept: text/html\r\n", (b"", b"")),  # content
        (b"GET / HTTP/1.1\nAccept: text/html\n\n", (b"", b"")),
        (b"\x16\x03\x01", (b"", b"")),
        (b"", (b"", b"")),
    ],
)
def test_what_a_head_asks_for_that_is_none(start, asked):
    assert wishes(start) == asked


def page(status: int, language: bytes = b"", id_: str = "0a1b") -> Page:
    body, content_type = error_body(status, id_, accept=HTML, language=language)
    assert content_type == b"text/html; charset=utf-8"
    return Page(body)


@pytest.mark.parametrize(
    ("language", "heading", "lang"),
    [
        (PT, "O site não respondeu", "pt-BR"),
        (b"pt", "O site não respondeu", "pt-BR"),
        (b"de, pt;q=0.5, en;q=0.4", "O site não respondeu", "pt-BR"),
        (b"en-GB,en;q=0.9,pt;q=0.8", "The site did not answer", "en"),
        (b"pt;q=0, en", "The site did not answer", "en"),
        (b"pt;q=0", "The site did not answer", "en"),
        (b"pt;q=<script>, en", "O site não respondeu", "pt-BR"),
        (b"ptolemaic", "The site did not answer", "en"),
        (b"<script>", "The site did not answer", "en"),
        (b"", "The site did not answer", "en"),
    ],
)
def test_the_heading_speaks_the_readers_language(language: bytes, heading: str, lang: str) -> None:
    seen = page(502, language)
    assert seen.texts["h1"] == seen.texts["title"] == heading
    assert seen.language == lang


def test_the_protocols_words_stand_in_the_small_line_with_the_id() -> None:
    seen = page(502, PT, id_="6fca0000001f")
    assert seen.texts["small"] == "502 Bad Gateway · 6fca0000001f"
    assert "Bad Gateway" not in seen.texts["h1"] + seen.texts["p"]


@pytest.mark.parametrize("status", [404, 410, 500, 502, 503, 504, 508])
@pytest.mark.parametrize(("language", "text"), [(PT, "Ir para a página inicial"),
                                                (b"en", "To the front page")])  # fmt: skip
def test_there_is_a_way_on_where_another_page_may_answer(
    status: int, language: bytes, text: str
) -> None:
    seen = page(status, language)
    assert seen.links == ["/"]
    assert seen.texts["a"] == text


@pytest.mark.parametrize("status", [400, 405, 408, 413, 431])
def test_there_is_none_where_the_reader_goes_back_and_mends(status: int) -> None:
    assert page(status).links == []


@pytest.mark.parametrize("status", [418, 511, 599])
def test_a_status_without_words_of_its_own_has_a_page_too(status: int) -> None:
    seen = page(status, PT)
    assert seen.texts["h1"] == "Não deu certo"
    assert seen.texts["small"].startswith(f"{status}")


def test_an_id_that_a_trusted_peer_gave_is_text_and_no_markup() -> None:
    hostile = '"><script>alert(1)</script>'
    body, _ = error_body(502, hostile, accept=HTML, language=b"")
    assert b"<script" not in body


@pytest.mark.parametrize("id_", ["0a1b", 'a"b', "a\\b", "a\tb\x7f"])
def test_json_is_json_whatever_stands_in_it(id_: str) -> None:
    detail = 'fields: expected "x", got \\ and \n'
    body, content_type = error_body(
        400, id_, accept=b"application/json", language=b"", detail=detail
    )
    assert content_type == b"application/json"
    assert json.loads(body) == {"error": detail, "status": 400, "id": id_}


def test_text_for_everybody_else() -> None:
    body, content_type = error_body(504, "0a1b", accept=b"*/*", language=PT)
    assert content_type == b"text/plain; charset=utf-8"
    assert body.decode().splitlines()[0] == "504 Gateway Timeout"
    assert body.decode().splitlines()[-1] == "0a1b"
