# SPDX-License-Identifier: Apache-2.0
"""The console over HTTP: its page, its files, how large they are, and what may run in them."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop

from strangler.config import load
from strangler.control import admin
from strangler.control.console import pages
from strangler.control.console.document import Asked
from strangler.control.tokens import Token, Tokens, hashed
from strangler.rollout import canary_salt
from strangler.rollout.arm import mint
from strangler.rollout.override import Override, Overrides

TOKEN = "a-token-of-enough-letters"
HOSTILE = "</script><script>alert(1)</script>"
MOST = 200 << 10
"""Bytes of everything that a cold load needs, before compression."""


class Console:
    """A board that tells the document of a hostile site."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def document(self, asked):
        self.asked.append(asked)
        return {"answers": [{"say": HOSTILE}], "routes": []}


class Book:
    """Overrides, of which there are none."""

    def __init__(self) -> None:
        self.overrides = Overrides()


class View:
    """As much of a site as the console needs."""

    def __init__(self, snapshot) -> None:
        self.console = Console()
        self.snapshot = snapshot
        self.overrides = Book()
        self.arm_key = b"k" * 32


@pytest.fixture
def io_loop():
    """Return pytest-tornado's loop, made without the ways that Tornado has given up."""
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


@pytest.fixture
def view(tmp_path: Path):
    file = tmp_path / "routes.yaml"
    file.write_text(
        'version: 1\nupstreams: {legacy: "http://127.0.0.1:8100"}\nroutes: {/**: legacy}\n'
    )
    return View(load(file))


@pytest.fixture
def open_reads():
    return True


@pytest.fixture
def app(view, open_reads):
    tokens = Tokens([Token("test", "operator", hashed(TOKEN))])
    return admin.application(view, tokens, open_reads=open_reads)


async def fetch(http_client, url, **options):
    options.setdefault("decompress_response", False)
    return await http_client.fetch(HTTPRequest(url, **options), raise_error=False)


# -------------------------------------------------------------------- the page


@pytest.mark.gen_test
async def test_the_page_holds_the_first_document_and_no_way_out_of_it(http_client, base_url, view):
    response = await fetch(http_client, base_url + "/")
    page = response.body.decode()
    assert response.code == 200 and response.headers["Content-Type"].startswith("text/html")
    assert HOSTILE not in page and page.count("<script") == page.count("</script>") == 2
    held = re.search(r'<script type="application/json" id="state">(.*?)</script>', page)
    assert held and json.loads(held[1])["answers"] == [{"say": HOSTILE}]
    assert json.loads(held[1])["me"] is None
    assert response.headers["Cache-Control"] == "no-store"
    assert "{{" not in page.replace(held[1], "")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/routes", "/route?key=%2F**", "/migration", "/audit"])
async def test_the_other_pages_are_the_same_frame(http_client, base_url, view, path):
    response = await fetch(http_client, base_url + path)
    assert response.code == 200 and b'id="state">null<' in response.body
    assert not view.console.asked


@pytest.mark.gen_test
@pytest.mark.parametrize("open_reads", [False])
async def test_who_has_no_token_gets_the_frame_and_nothing_in_it(http_client, base_url, open_reads):
    assert b'id="state">null<' in (await fetch(http_client, base_url + "/")).body
    assert (await fetch(http_client, base_url + "/-/state")).code == 401
    shown = {"Authorization": f"Bearer {TOKEN}"}
    response = await fetch(http_client, base_url + "/-/state", headers=shown)
    assert json.loads(response.body)["me"] == {
        "who": "test",
        "role": "operator",
        "owners": [],
    }


@pytest.mark.gen_test
async def test_only_this_listeners_scripts_may_run(http_client, base_url):
    response = await fetch(http_client, base_url + "/")
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in response.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
    assert policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"


@pytest.mark.gen_test
async def test_a_page_is_only_read(http_client, base_url):
    fields = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    for path in ("/", f"{pages.files().base}/app.js"):
        response = await fetch(
            http_client, base_url + path, method="POST", body=b"{}", headers=fields
        )
        assert response.code == 405 and response.headers["Allow"] == "GET, HEAD", path


# -------------------------------------------------------------------- the files


@pytest.mark.gen_test
async def test_files_are_kept_for_ever_under_a_name_that_changes_with_them(http_client, base_url):
    url = f"{base_url}{pages.files().base}/vendor/preact.js"
    response = await fetch(http_client, url)
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    small = await fetch(http_client, url, headers={"Accept-Encoding": "br, gzip"})
    assert (
        small.headers["Content-Encoding"] == "gzip" and small.headers["Vary"] == "Accept-Encoding"
    )
    assert gzip.decompress(small.body) == response.body
    plain = await fetch(http_client, url, headers={"Accept-Encoding": "gzip;q=0"})
    assert plain.body == response.body
    old = await fetch(http_client, f"{base_url}/console/0123456789ab/app.js")
    assert (old.code, old.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "name", ["index.html", "nothing.js", "vendor/README.md", "../pages.py", "%2e%2e/pages.py"]
)
async def test_nothing_but_its_files_is_served(http_client, base_url, name):
    assert (await fetch(http_client, f"{base_url}{pages.files().base}/{name}")).code == 404


def test_all_of_it_is_small() -> None:
    files = pages.files().files
    assert sum(len(file.data) for file in files.values()) <= MOST
    assert sum(len(file.small) for file in files.values()) <= MOST // 4


def test_other_peoples_code_is_theirs_and_its_licence_is_beside_it() -> None:
    folder = Path(pages.__file__).parent / "static" / "vendor"
    rows = re.findall(r"(?m)^\| `(\S+)` \| (\S+) [\d.]+ \| \S+ \| `(\w+)` \|$", _text(folder))
    listed = {name: digest for name, _, digest in rows}
    found = {file.name for file in folder.iterdir()} - {"README.md"}
    assert listed.keys() == found
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    packages = {package for _, package, _ in rows}
    assert {f"{package}.LICENSE" for package in packages} <= found


def _text(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_no_page_makes_markup_of_text_or_asks_another_host() -> None:
    for name, file in pages.files().files.items():
        text = file.data.decode()
        if name.startswith("vendor/"):
            continue
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
            assert word not in text, f"{name}: {word}"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name


# -------------------------------------------------------------------- what the pages ask for


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", Asked()),
        ("?routes=12", Asked(routes=12)),
        ("?routes=all&migration=1", Asked(migration=True)),
        ("?route=%2Fa+b", Asked(routes=0, route="/a b")),
        ("?routes=200&find=team+canary", Asked(routes=200, find="team canary")),
    ],
)
async def test_the_state_is_asked_for_in_parts(http_client, base_url, view, query, asked):
    assert (await fetch(http_client, f"{base_url}/-/state{query}")).code == 200
    assert view.console.asked == [asked]


@pytest.mark.gen_test
@pytest.mark.parametrize("count", ["-1", "x", "1e3", "%D9%A3", "99999999"])
async def test_a_count_that_is_none_is_refused(http_client, base_url, count):
    assert (await fetch(http_client, f"{base_url}/-/state?routes={count}")).code == 400


@pytest.mark.gen_test
async def test_a_request_is_explained_under_the_overrides(http_client, base_url):
    response = await fetch(http_client, f"{base_url}/-/explain?url=/a%3Fq%3D1&header=X-A:%20b")
    told = json.loads(response.body)
    assert told["route"]["key"] == "/**" and told["decision"]["target"] == "legacy"
    assert any("GET /a?q=1 HTTP/1.1" in line for line in told["lines"])


def chosen(kind, subject, value):
    return Override(
        id=f"{kind}1", kind=kind, subject=subject, value=value, author="ana", reason="p95 of 9 s",
        created=0.0, expires=9e9, file="",
    )  # fmt: skip


@pytest.fixture
def canary(view, tmp_path):
    file = tmp_path / "routes.yaml"
    file.write_text(
        'version: 1\nupstreams: {legacy: "http://127.0.0.1:8100", busca: "http://127.0.0.1:8103"}\n'
        "routes: {/**: legacy, /busca/**: {to: busca, stage: shadow 5%}}\n"
    )
    view.snapshot = load(file)
    return view


async def explained(http_client, base_url, **query):
    response = await fetch(http_client, f"{base_url}/-/explain?{urlencode(query)}")
    assert response.code == 200, response.body
    return json.loads(response.body)


@pytest.mark.gen_test
async def test_who_is_copied_is_explained(http_client, base_url, canary):
    told = await explained(http_client, base_url, url="/busca/a")
    assert told["copies"] == {"to": "busca", "share": "5%"}
    assert "  copies     5% of such requests, unseen, to busca" in told["lines"]
    assert "copies" not in await explained(http_client, base_url, url="/busca/a", method="POST")
    assert "copies" not in await explained(http_client, base_url, url="/x")
    canary.overrides.overrides = Overrides().with_(chosen("shadows", "site", "stop"))
    told = await explained(http_client, base_url, url="/busca/a")
    assert "copies" not in told
    assert "  override   shadows of site is stop" in told["lines"]


@pytest.mark.gen_test
async def test_what_operators_have_chosen_is_explained(http_client, base_url, canary):
    canary.overrides.overrides = Overrides().with_(
        chosen("stage", "route:/busca/**", "live"),
        chosen("breaker", "upstream:busca", "forced_open"),
        chosen("drain", "endpoint:busca http://127.0.0.1:8103", True),
        chosen("stage", "route:/**", "legacy"),
    )
    told = await explained(http_client, base_url, url="/busca/a")
    assert (told["decision"]["stage"], told["decision"]["target"]) == ("live", "service")
    assert {one["kind"] for one in told["overrides"]} == {"stage", "breaker", "drain"}
    assert len(told["overrides"]) == 3  # not what is said of another route
    assert "  override   breaker of upstream:busca is forced_open" in told["lines"]
    assert "             ana: p95 of 9 s" in told["lines"]


@pytest.mark.gen_test
async def test_a_closed_route_is_explained_as_closed(http_client, base_url, canary):
    canary.overrides.overrides = Overrides().with_(chosen("maintenance", "site", True))
    told = await explained(http_client, base_url, url="/busca/a")
    assert told["answer"] == {"status": 503, "why": "maintenance"}
    assert "sends" not in told and "decision" not in told


@pytest.mark.gen_test
async def test_a_testers_arm_is_explained(http_client, base_url, canary):
    canary.overrides.overrides = Overrides().with_(chosen("stage", "route:/busca/**", "canary 0%"))
    signed = mint(canary.arm_key, canary_salt("/busca/**"), "service", time.time() + 60)
    for cookie, target in ((signed, "service"), (signed[:-1] + "_", "legacy")):
        told = await explained(
            http_client, base_url, url="/busca/a", header=f"Cookie: strangler_arm={cookie}"
        )
        assert told["decision"]["target"] == target


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "query",
    ["url=", "url=ftp://x/", "url=/a&header=nothing", "url=/a&from=me", "url=/%01", "url=[://"],
)
async def test_what_is_no_request_is_said_to_be_none(http_client, base_url, query):
    response = await fetch(http_client, f"{base_url}/-/explain?{query}")
    assert response.code == 400 and json.loads(response.body)["ok"] is False
