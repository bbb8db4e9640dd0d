# SPDX-License-Identifier: Apache-2.0
"""The tour of the whole site in a real browser, through the edge.

Every stop is made twice: with the article pages answered by materia, and with their route toggled
back to legacy in the running site.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import time

import pytest
from selenium.webdriver import Chrome
from tour.browser import PHONE, Reader
from tour.site import ARTICLE, LocalSite
from unit.health.document import follows_the_format

TITLE = "Tiroteio deixa um morto e feridos"
SOON = 2.5  # seconds from a change that every worker follows to the last answer by the route before
CLOSED = "http://127.0.0.1:9"  # nothing listens on the discard port


@pytest.fixture(scope="module", params=["materia", "legacy"])
def answering(site: LocalSite, request: pytest.FixtureRequest) -> str:
    """Who answers the article pages for the tests with this fixture."""
    site.answer_articles_by(request.param)
    return str(request.param)


@pytest.fixture
def reader(
    chromium: Chrome, site: LocalSite, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Reader]:
    """A new reader, who must not see an error in the browser's console."""
    someone = Reader(chromium, site.url)
    failed = request.session.testsfailed
    try:
        yield someone
        assert someone.complaints() == []
    finally:
        if request.session.testsfailed > failed:
            someone.picture(tmp_path / "failed.png")
            print(f"the screen: {tmp_path / 'failed.png'}")


def test_every_part_tells_its_health_in_one_format(site: LocalSite) -> None:
    parts = {site.admin_url: "/-/healthcheck"}
    parts |= {f"http://{part}": "/healthcheck" for part in (site.legacy, site.materia)}
    for at, target in parts.items():
        told = follows_the_format(json.loads(site.fetch(target, at=at)))
        assert told["status"] == "success", told
        assert len(told["results"]) > 1


def test_read(site: LocalSite, reader: Reader, answering: str) -> None:
    site.forget()
    mark = site.mark()
    assert reader.open("/") == 200
    assert len(reader.all(".card")) > 20
    reader.sees(".session", "Entrar")

    assert reader.open(ARTICLE) == 200
    (line,) = site.answers(ARTICLE, since=mark)
    why = {"materia": "live"}.get(answering, "legacy")
    assert (line["who"], line["why"]) == (answering, why)
    asked_django = [
        one for one in site.lines[mark:] if f"GET {ARTICLE} " in one and "legacy" in one
    ]
    assert len(asked_django) == (answering == "legacy")

    mark = site.mark()  # the edge holds it for ten seconds: what the reader sees is looked at after
    assert site.cache_status(ARTICLE).startswith("strangler; hit")
    assert len(site.answers(ARTICLE, since=mark)) == 1
    assert not [one for one in site.lines[mark:] if f"GET {ARTICLE} " in one and "legacy" in one]

    reader.sees("h1", TITLE)
    reader.sees(".session", "Entrar")  # a fragment: its script ran
    reader.sees(".comments h2", "comentário")
    image = reader.find(".story figure img")
    assert reader.browser.execute_script("return arguments[0].naturalWidth", image) > 0


def test_log_in_comment_vote_log_out(site: LocalSite, reader: Reader, answering: str) -> None:
    reader.log_in("leitor007", "leitor-2026")
    name = reader.sees(".session", "Olá, ").splitlines()[0].removeprefix("Olá, ")

    reader.open(ARTICLE)
    reader.sees(".session", f"Olá, {name}")
    said = f"Que tristeza. ({answering}, {random.getrandbits(32):x})"
    reader.sees(".comments h2", "comentário")
    before = int(reader.find(".comments h2").text.split()[0])
    reader.fill(text=said)
    reader.click(".comments form button")
    reader.sees(".comment", said)
    reader.sees(".comments h2", f"{before + 1} comentário")
    assert reader.path == ARTICLE  # taken in by the script; the page stayed
    reader.open(ARTICLE)
    assert name in reader.sees(".comment", said)

    reader.open("/enquetes/")
    reader.click(".list a")
    reader.click("input[name=choice]")
    reader.click("main form button")
    reader.sees(".message", "Voto registrado")
    reader.sees(".results", "%")
    reader.open(reader.path)
    assert not reader.all("input[name=choice]")  # one vote a session

    reader.click(".session form button")
    reader.sees(".session", "Entrar")
    reader.open(ARTICLE)
    reader.sees(".session", "Entrar")
    reader.sees(".comments", "Entre para comentar")


def test_search(reader: Reader, answering: str) -> None:
    reader.open(ARTICLE)
    reader.fill(q="tiroteio")
    reader.click(".search button")
    reader.sees("main .subtitle", "para “tiroteio”")
    assert reader.path == "/busca"
    reader.click(f"main .card a[href='{ARTICLE}']")
    reader.sees("h1", TITLE)
    assert reader.path == ARTICLE


def test_send_a_photo(site: LocalSite, reader: Reader, answering: str, tmp_path: Path) -> None:
    file = tmp_path / "serra.png"
    file.write_bytes(photo(4000, 2800))
    assert file.stat().st_size > 31 << 20  # more than the edge takes where no route says so
    reader.log_in("leitor008", "leitor-2026")
    reader.open("/fotos/")
    reader.click("main .button")
    reader.fill(title="A serra", caption="Vista de manhã.", file=str(file))
    reader.click("main form button")
    reader.sees(".message", "Foto recebida")
    shown = reader.find("figure img")
    width = "const img = arguments[0]; return img.complete && img.naturalWidth"
    reader.until(
        lambda: reader.browser.execute_script(width, shown) == 4000, what="the whole photo"
    )
    address = str(shown.get_attribute("src")).removeprefix(reader.url)
    assert digest(site.fetch(address)) == digest(file.read_bytes())
    reader.open("/fotos/")
    reader.sees(".gallery a", "A serra")


def test_help_in_another_language(reader: Reader, answering: str) -> None:
    reader.open("/ajuda/")
    reader.sees("h1", "Ajuda")
    for language, heading in (("en", "Help"), ("es", "Ayuda")):
        reader.fill(language=language)
        reader.click("main form button")
        reader.sees("h1", heading)
        assert reader.find("html").get_attribute("lang") == language
    reader.open(ARTICLE)  # a page that doesn't vary by language
    assert reader.find("html").get_attribute("lang") == "pt-br"


def test_an_editor_changes_a_title(site: LocalSite, reader: Reader, answering: str) -> None:
    title = f"{TITLE} em Itaperi ({answering})"
    reader.open("/admin/")
    reader.fill(username="admin", password="admin-2026")
    reader.click("input[type=submit]")
    reader.sees("h1", "Mesa de trabalho")
    reader.open("/admin/articles/article/?q=tiroteio-deixa-um-morto")
    reader.click("#result_list tbody th a")
    reader.find("#id_title")
    edit = reader.path
    for wanted in (title, TITLE):
        reader.open(edit)
        reader.fill(title=wanted)
        reader.click("[name=_save]")
        reader.sees(".messagelist .success", wanted)

        def shown(title: str = wanted) -> bool:
            reader.open(ARTICLE)
            return reader.find("h1").text == title

        reader.until(shown, what=f"the title {wanted}")
        # materia is told by the publish event, also while nobody asks it.
        reader.until(
            lambda title=wanted: (
                f"<h1>{title}</h1>".encode() in site.fetch(ARTICLE, at=f"http://{site.materia}")
            ),
            what=f"the title {wanted} at materia",
        )


@pytest.mark.parametrize("target", ["/noticia/nunca-escrita.ghtml", "/nada/aqui"])
def test_nothing_here(site: LocalSite, reader: Reader, answering: str, target: str) -> None:
    mark = site.mark()
    assert reader.open(target) == 404
    reader.sees("h1", "Página não encontrada")
    reader.sees("main code", target)
    reader.sees(".session", "Entrar")
    (line,) = site.answers(target, since=mark)
    assert line["who"] == (answering if target.endswith(".ghtml") else "legacy")
    (complaint,) = reader.complaints()  # the page's own status
    assert target in complaint and "404" in complaint


def test_it_fits_a_phone(reader: Reader) -> None:
    reader.screen(PHONE)
    width = "return document.scrollingElement.scrollWidth"
    for target in ("/", "/busca?q=chuva", "/enquetes/", "/fotos/", "/conta/entrar/", "/ajuda/"):
        assert reader.open(target) == 200
        assert reader.browser.execute_script(width) <= PHONE[0], target
    reader.open(ARTICLE)
    reader.sees(".comments h2", "comentário")
    assert reader.browser.execute_script(width) <= PHONE[0]


# -------------------------------------------------------------------- the line that is edited


@pytest.mark.parametrize("who", ["legacy", "materia"])
def test_a_route_moves_under_readers(site: LocalSite, reader: Reader, who: str) -> None:
    before = {"legacy": "materia", "materia": "legacy"}[who]
    site.answer_articles_by(before)
    mark = site.mark()
    with readers_of(site, ARTICLE) as statuses:
        reader.open(ARTICLE)
        saved = time()
        site.answer_articles_by(who)
        accepted = time()
        reader.open(ARTICLE)
        reader.sees("h1", TITLE)
        reader.until(lambda: time() > accepted + SOON + 0.5, what="the time that a move may take")
    assert set(statuses) == {200}, sorted(set(statuses))[:5]
    lines = [(when(one["time"]), one["who"]) for one in site.answers(ARTICLE, since=mark)]
    assert {who_ for at, who_ in lines if at < saved} == {before}
    assert {who_ for at, who_ in lines if at > accepted + SOON} == {who}
    assert len(lines) == len(statuses) + 2


def test_a_broken_file_changes_nothing(site: LocalSite, reader: Reader) -> None:
    site.answer_articles_by("materia")
    good = site.config.read_text()
    number = good[: good.index("/noticia/{slug}.ghtml:")].count("\n") + 1
    broken = good.replace(".ghtml: {to: materia", ".ghtml: {to: materai")
    with site.edited(broken, said="config.rejected") as mark:
        line = site.wait_line(r"edge .*config\.error", since=mark)
        assert f"routes.yaml:{number}:" in line
        assert "materai" in line and "materia" in line.partition("hint=")[2]

        reader.open(site.admin_url)
        told = reader.sees("pre", f"routes.yaml:{number}:")
        assert "materai" in told and "hint:" in told
        reader.sees("#proxies", "this one")
        mark = site.mark()
        assert reader.open(ARTICLE) == 200
        assert [one["who"] for one in site.answers(ARTICLE, since=mark)] == ["materia"]
    reader.until(lambda: told_well(reader, site), what="the admin page without the error")


def told_well(reader: Reader, site: LocalSite) -> bool:
    reader.open(site.admin_url)
    reader.find("#proxies")
    return not reader.all("pre")


def test_a_service_that_is_down_is_covered_by_the_monolith(site: LocalSite, reader: Reader) -> None:
    site.answer_articles_by("materia")
    away = site.config.read_text().replace("http://127.0.0.1:${env:MATERIA_PORT:-8101}", CLOSED)
    with site.edited(away) as mark:
        site.forget()
        assert reader.open(ARTICLE) == 200
        reader.sees("h1", TITLE)
        (line,) = site.answers(ARTICLE, since=mark)
        assert line["who"] == "legacy"
        assert line["why"].startswith("fallback")


def test_the_edges_own_error_page(site: LocalSite, reader: Reader) -> None:
    site.answer_articles_by("materia")
    away = site.config.read_text().replace("http://127.0.0.1:${env:LEGACY_PORT:-8100}", CLOSED)
    with site.edited(away) as mark:
        assert reader.open("/enquetes/") == 502
        reader.sees("h1", "O site não respondeu")
        reader.sees("p", "Tente de novo em um minuto.")
        assert reader.find("html").get_attribute("lang") == "pt-BR"
        line = site.wait_line(r" 502 GET .*/enquetes/", since=mark)
        assert "error=connection_refused" in line
        number = line.partition(" id=")[2]
        assert number
        reader.sees("small", f"502 Bad Gateway · {number}")  # what an operator finds it by
        assert reader.find("main a").get_attribute("href") == f"{reader.url}/"
        assert any("502" in one for one in reader.complaints())
        assert reader.open(ARTICLE) == 200  # materia needs nobody

        # Its files are legacy's: the browser says of each, in its own time, that it had none.
        failed: list[str] = []

        def all_told() -> bool:
            failed.extend(reader.complaints())
            files = ("portal.js", "portal.css", "icon.svg", "/articles/")
            return all(any(file in one for one in failed) for file in files)

        reader.until(all_told, what="the failures of the page's files")


# --------------------------------------------------------------------


@contextmanager
def readers_of(site: LocalSite, target: str, count: int = 3) -> Iterator[list[int | str]]:
    """Have readers ask without a pause, on kept connections; give what they got so far."""
    statuses: list[int | str] = []
    enough = threading.Event()

    def read() -> None:
        link = HTTPConnection("127.0.0.1", site.ports["EDGE_PORT"], timeout=10)
        while not enough.wait(0.005):
            try:
                link.request("GET", target)
                response = link.getresponse()
                whole = TITLE.encode() in response.read()
                statuses.append(response.status if whole else "another page")
            except (OSError, HTTPException) as error:
                statuses.append(repr(error))
                return
        link.close()

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def when(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def photo(width: int, height: int) -> bytes:
    """Return a PNG of this size that nothing can make smaller."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    noise = random.Random(8)
    rows = b"".join(b"\0" + noise.randbytes(3 * width) for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows, 0))
        + chunk(b"IEND", b"")
    )
