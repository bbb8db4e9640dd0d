# SPDX-License-Identifier: Apache-2.0
"""Beside the real monolith: the same bytes, and kept the same.

Both run as processes of their own, as on a server; nothing of the monolith is imported here.
"""

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from servers.process import LOOPBACK, Server, free_port

from .conftest import ROOT
from .documents import TOKEN

SEEDED = 220
API_TOKEN = "ficha-da-api"
PER_HOP = {"date", "server", "connection", "keep-alive"}

# Runs inside the monolith: what the invented content has not, on top of it.
ODD_ARTICLES = r"""
from datetime import datetime, timedelta, timezone
from articles.models import Article, Author, Section, Tag
from articles.publication import announce

then = datetime(2026, 1, 1, 2, 59, 59, tzinfo=timezone.utc)
section, _ = Section.objects.get_or_create(slug="d-avila", defaults={"name": "D'Ávila & <Cia>"})
author, _ = Author.objects.get_or_create(slug="z", defaults={"name": "Zé \"Tó\"", "role": "<b>&"})
tag, _ = Tag.objects.get_or_create(slug="x", defaults={"name": "R&B > 'jazz' < \"rock\""})
odd = {
    "aspas": {"title": "O \"rei\" d'água & <script>alert(1)</script>"},
    "entidade": {"title": "A &amp; B &lt;c&gt; &nbsp; &#39;"},
    "acentos": {"title": "Ação, coração, ü, ñ, ß, Ω, 漢字, 🌧️, e\u0301, \u202eABC, \u00a0fim"},
    "chaves": {"title": "{{ article.title }} {% if x %} {# nada #}", "body": "{{ 7|add:7 }} {%"},
    "crases": {"title": "`a` \\n \\ %s %(x)s {0} $x", "subtitle": "\t  dois  espaços \n linhas "},
    "longo": {"title": "A" * 200, "subtitle": "ç" * 300, "body": "<p>" + "é<br>" * 60_000},
    "vazio": {"subtitle": "", "body": "", "tags": [], "related": []},
    "espaco": {"title": " ", "subtitle": " ", "body": "\r\n\n<p>a</p>\r\tb\u2028c\x0b\x1f\n"},
    "sem-comentarios": {"comments_open": False},
    "sem-cargo": {"plain": True},
    "imagem": {"image": "/static/a.svg?x=1&y=\"2\"", "image_caption": ""},
    "legenda": {"image": "/static/a.svg", "image_caption": "D'água & <i>céu</i>"},
    "a": {}, "A-b_9": {}, "-": {}, "x" * 150: {},
    "editada": {"edited": True},
    "relacionada": {"related": ["aspas", "acentos", "longo", "a", "-", "imagem", "vazio"]},
}
plain = Author.objects.filter(role="").first() or Author.objects.create(name="Só", slug="so")
for number, (slug, parts) in enumerate(odd.items()):
    article = Article(
        slug=slug, title=parts.get("title", slug), subtitle=parts.get("subtitle", "linha"),
        section=section, author=plain if "plain" in parts else author,
        body=parts.get("body", "<p>texto</p>"), status=Article.Status.PUBLIC,
        image=parts.get("image", ""), image_caption=parts.get("image_caption", ""),
        comments_open=parts.get("comments_open", True),
        published_at=then + timedelta(days=37 * number) if "edited" in parts else None,
    )
    article.save(announce=False)
    article.tags.set([tag] if parts.get("tags", True) else [])
    announce(article)
for slug, parts in odd.items():
    if "related" in parts:
        article = Article.objects.get(slug=slug)
        article.related.set(Article.objects.filter(slug__in=parts["related"]))
        announce(article)
gone = Article.objects.create(
    slug="retirada", title="t", section=section, author=author, body="", status="public")
gone.status = Article.Status.REMOVED
gone.save()
"""


class Monolith(Server):
    name = "monolith"
    start_timeout = 60.0

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hook = hook

    def environment(self) -> dict[str, str]:
        return {
            "LEGACY_PORT": str(self.port),
            "LEGACY_HOST": LOOPBACK,
            "LEGACY_VAR": str(self.folder),
            "LEGACY_WORKERS": "1",
            "LEGACY_DB": "",
            "DATABASE_URL": "",
            "DJANGO_SETTINGS_MODULE": "portal.settings.local",
            "PUBLISH_HOOKS": self.hook,
            "PUBLISH_TOKEN": TOKEN,
            "API_TOKEN": API_TOKEN,
        }

    def command(self) -> list[str]:
        config = ROOT / "legacy_django" / "gunicorn.conf.py"
        return [sys.executable, "-m", "gunicorn", "-c", str(config)]

    def prepare(self) -> None:
        self.manage("migrate", "-v0")
        self.manage("semear", "--articles", str(SEEDED), "-v0")
        self.manage("shell", "-v0", "-c", ODD_ARTICLES)

    def manage(self, *arguments: str) -> None:
        self.run([sys.executable, str(ROOT / "legacy_django" / "manage.py"), *arguments], 120)

    def export(self, after: int = 0) -> bytes:
        return subprocess.run(
            [sys.executable, "manage.py", "export_materias", "--after", str(after)],
            cwd=ROOT / "legacy_django",
            env={"PATH": "/usr/bin:/bin", **self.environment()},
            check=True,
            capture_output=True,
        ).stdout

    def is_ready(self) -> bool:
        return ask(self.url, "/robots.txt").status == 200

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def write(self, method: str, path: str, body: object) -> None:
        """Change an article through the monolith's own API."""
        answer = ask(
            self.url,
            path,
            method,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {API_TOKEN}", "Content-Type": "application/json"},
        )
        assert answer.status in (200, 201, 204), answer.body


class Materia(Server):
    name = "materia"

    def __init__(self, monolith: str, store: str, port: int | None = None) -> None:
        super().__init__(port)
        self.monolith = monolith
        self.store = store
        self.every = "600"  # seconds: within a test, only what asks for a re-sync gets one

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "MATERIA_PORT": str(self.port),
            "MATERIA_STORE": self.store,
            "MATERIA_LEGACY": self.monolith,
            "MATERIA_SYNC_EVERY": self.every,
            "PUBLISH_TOKEN": TOKEN,
        }

    def command(self) -> list[str]:
        return [sys.executable, "-m", "extracted.materia"]

    def is_ready(self) -> bool:
        return ask(self.url, "/healthcheck").status == 200

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes


def ask(
    url: str,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    fields: dict[str, str] | None = None,
) -> Answer:
    """Return the answer without the fields that belong to one connection or one moment."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, path, body, {"Host": "www.example.com", **(fields or {})})
        answer = connection.getresponse()
        kept = {k.lower(): v for k, v in answer.getheaders() if k.lower() not in PER_HOP}
        return Answer(answer.status, kept, answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def hooked_port() -> int:
    """The port that the monolith posts its events to; a test may run a service on it."""
    return free_port()


@pytest.fixture(scope="module")
def monolith(hooked_port: int) -> Iterator[Monolith]:
    with Monolith(f"http://{LOOPBACK}:{hooked_port}/eventos") as server:
        yield server


@pytest.fixture(scope="module")
def materia(monolith: Monolith, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Materia]:
    """A service filled from an export, by a monolith that it can't reach any more."""
    folder = tmp_path_factory.mktemp("materia")
    export = folder / "materias.jsonl"
    export.write_bytes(monolith.export())
    server = Materia("http://127.0.0.1:1", f"sqlite:{folder}/materia.sqlite3")
    server.folder = folder
    fill(server, str(export))
    with server:
        yield server


def fill(server: Materia, *arguments: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        [*server.command(), "fill", *arguments],
        env={"PATH": "/usr/bin:/bin", **server.environment()},
        input=stdin,
        check=True,
        capture_output=True,
    )
    return done.stdout.decode()


def published(monolith: Monolith) -> list[dict[str, Any]]:
    return [json.loads(line) for line in monolith.export().splitlines()]


def same(monolith: Monolith, materia: Materia, path: str, *request: Any) -> Answer:
    """Ask both the same; fail unless status, fields and bytes are the same; return the answer."""
    theirs, ours = ask(monolith.url, path, *request), ask(materia.url, path, *request)
    assert (ours.status, ours.body) == (theirs.status, theirs.body), path
    if theirs.status == 304:  # Django says 0, a length that no page has (RFC 9110, section 8.6)
        del theirs.fields["content-length"]
    if theirs.status == 412:  # Django lets caches keep it, so one reader could spoil it for all
        del theirs.fields["cache-control"]
    assert ours.fields == theirs.fields, path
    return ours


def test_every_page_is_the_same_to_the_byte(monolith: Monolith, materia: Materia) -> None:
    events = published(monolith)
    articles = [e for e in events if e["kind"] != "removed"]
    assert len(articles) >= SEEDED + 15
    for event in articles:
        answer = same(monolith, materia, f"/noticia/{event['slug']}.ghtml")
        assert answer.status == 200
        assert b"</html>" in answer.body
    assert any(not e["article"]["tags"] for e in articles)
    assert any(not e["article"]["related"] for e in articles)
    assert any(len(e["article"]["related"]) > 1 for e in articles)
    assert any(e["article"]["updated_text"] for e in articles)
    assert any(e["article"]["image"] for e in articles)
    assert any(not e["article"]["author"]["role"] for e in articles)


@pytest.mark.parametrize(
    "path",
    [
        "/noticia/retirada.ghtml",
        "/noticia/nunca-houve.ghtml",
        "/noticia/a%20b.ghtml",
        "/noticia/%C3%A9%FF%3Cb%3E%22'&.ghtml",
        "/noticia/%E2%82.ghtml",
        "/noticia/%ED%A0%80%80x.ghtml",
        "/noticia/a.ghtml?x=1",
        "/noticia/a.html",
        "/noticia/%61.ghtml",
        "/noticia/a%2Eghtml",
        "/noticia/a+b.ghtml",
        "/noticia/x.ghtml.ghtml",
        "/noticia/",
        "/noticia/" + "x" * 3000 + ".ghtml",
    ],
)
def test_whatever_is_asked_for_gets_the_same_answer(
    monolith: Monolith, materia: Materia, path: str
) -> None:
    same(monolith, materia, path)


def test_cookies_and_a_session_change_nothing(monolith: Monolith, materia: Materia) -> None:
    fields = {"Cookie": f"sessionid={'k' * 32}; csrftoken={'t' * 32}; _ga=1"}
    same(monolith, materia, "/noticia/aspas.ghtml", "GET", None, fields)


def test_head_and_conditional_requests_are_the_same(monolith: Monolith, materia: Materia) -> None:
    path = "/noticia/aspas.ghtml"
    etag = same(monolith, materia, path).fields["etag"]
    assert same(monolith, materia, path, "HEAD").body == b""
    assert same(monolith, materia, "/noticia/nunca-houve.ghtml", "HEAD").status == 404
    for method in ("GET", "HEAD"):
        for name in ("If-None-Match", "If-Match"):
            for value in (etag, f"W/{etag}", '"x"', f'"x" , {etag}', "*", "x", "", etag[1:-1]):
                same(monolith, materia, path, method, None, {name: value})
    assert ask(materia.url, path, "GET", None, {"If-None-Match": etag}).status == 304
    then = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    assert same(monolith, materia, path, "GET", None, then).status == 200
    assert same(monolith, materia, path, "GET", None, {"Range": "bytes=0-9"}).status == 200


def test_page_follows_the_monolith(monolith: Monolith, hooked_port: int, store_url: str) -> None:
    """Changed, taken down, put back while the service was away, renamed: on both stores."""
    service = Materia(monolith.url, store_url, hooked_port)
    fill(service, "-", stdin=monolith.export())
    path = "/noticia/acentos.ghtml"
    with service:
        assert same(monolith, service, path).status == 200

        before = ask(service.url, path).body
        monolith.write("PATCH", "/api/materias/acentos/", {"title": f"Mudou {time.time()}"})
        wait_for(lambda: ask(service.url, path).body != before)
        same(monolith, service, path)

        monolith.write("PATCH", "/api/materias/acentos/", {"status": "removed"})
        wait_for(lambda: ask(service.url, path).status == 404)
        same(monolith, service, path)

        service.stop()  # the event of this is lost for good, a hook is tried once
        monolith.write("PATCH", "/api/materias/acentos/", {"status": "public", "title": "Voltou"})
        service.start()
        wait_for(lambda: ask(service.url, path).status == 200)
        same(monolith, service, path)

        monolith.write("PATCH", "/api/materias/acentos/", {"slug": "acentos-novos"})
        wait_for(lambda: ask(service.url, "/noticia/acentos-novos.ghtml").status == 200)
        wait_for(lambda: ask(service.url, path).status == 404)
        same(monolith, service, "/noticia/acentos-novos.ghtml")
        same(monolith, service, "/noticia/relacionada.ghtml")
        monolith.write("PATCH", "/api/materias/acentos-novos/", {"slug": "acentos"})
        wait_for(lambda: ask(service.url, path).status == 200)


def test_filling_again_changes_nothing_and_joins_on(monolith: Monolith, tmp_path: Any) -> None:
    service = Materia(monolith.url, f"sqlite:{tmp_path}/m.sqlite3")
    whole = monolith.export()
    events = [json.loads(line) for line in whole.splitlines()]
    said = fill(service, "-", stdin=whole)
    assert f"{len(events)} events read, {len(events)} were news" in said
    assert f"newest event {events[-1]['seq']}" in said
    assert f"{len(events)} events read, 0 were news" in fill(service, "-", stdin=whole)
    last = events[-1]["seq"]
    monolith.write("PATCH", "/api/materias/a/", {"subtitle": "De novo"})
    rest = monolith.export(last)
    assert "1 events read, 1 were news" in fill(service, "-", "--after", str(last), stdin=rest)
    said = fill(service, "--anew", "-", stdin=whole)
    assert f"{len(events)} were news" in said


def test_fill_stops_at_a_bad_line_and_names_it(monolith: Monolith, tmp_path: Any) -> None:
    service = Materia(monolith.url, f"sqlite:{tmp_path}/m.sqlite3")
    lines = monolith.export().splitlines()
    with pytest.raises(subprocess.CalledProcessError) as raised:
        fill(service, "-", stdin=b"\n".join([*lines[:3], b'{"seq": 1', *lines[3:]]))
    assert raised.value.returncode == 1
    assert b"materia: -:4: not JSON" in raised.value.stderr
    assert b"Traceback" not in raised.value.stderr


def test_sigterm_ends_it_well_while_readers_ask(monolith: Monolith, materia: Materia) -> None:
    """A request under way when the signal comes is answered, and the process ends with 0."""
    path = "/noticia/longo.ghtml"
    connection = http.client.HTTPConnection(LOOPBACK, materia.port, timeout=20)
    connection.request("GET", path)
    process = materia._process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    answer = connection.getresponse()
    assert answer.read().endswith(b"</html>\n")
    connection.close()
    assert process.wait(60) == 0
    materia.start()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
