# SPDX-License-Identifier: Apache-2.0
"""The service over HTTP, on both stores."""

import asyncio
import json
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.web import Application

from extracted.materia import page
from extracted.materia.health import Checkup, Unhealthy, store_checker, sync_checker
from extracted.materia.store import Store
from extracted.materia.sync import Sync
from extracted.materia.web import InFlight, make_application

from .conftest import Log
from .documents import TOKEN, article, event

pytestmark = pytest.mark.gen_test(timeout=30)

PAGE = "/noticia/chuva.ghtml"


@pytest.fixture
def app(io_loop: IOLoop, store: Store, sync: Sync) -> Application:
    checkup = Checkup({"store": store_checker(store), "sync": sync_checker(sync, 3600)}, kept=0)
    return make_application(
        store=store, sync=sync, checkup=checkup, token=TOKEN, in_flight=InFlight()
    )


class Client:
    """Asks the service; every status is an answer."""

    def __init__(self, client: AsyncHTTPClient, base: str) -> None:
        self._client, self._base = client, base

    async def __call__(
        self, method: str, path: str, body: Any = None, **fields: str
    ) -> HTTPResponse:
        return await self._client.fetch(
            self._base + path,
            method=method,
            body=body,
            headers={k.replace("_", "-"): v for k, v in fields.items()},
            raise_error=False,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            decompress_response=False,
        )

    async def post(self, item: Any, token: str = TOKEN) -> HTTPResponse:
        body = item if isinstance(item, bytes) else json.dumps(item)
        return await self("POST", "/eventos", body, Authorization=f"Bearer {token}")


@pytest.fixture
def ask(app: Application, http_client: AsyncHTTPClient, base_url: str) -> Client:
    # `app` is named so that pytest sees the two stores behind it: the plugin asks for it by name.
    return Client(http_client, base_url.replace("localhost", "127.0.0.1"))


def row(seq: int = 1, **parts: Any) -> dict[str, Any]:
    return {"seq": seq, "kind": "published", "slug": "chuva", "article": article(), **parts}


async def test_article_page(ask: Client, store: Store) -> None:
    await store.apply([event(1)])
    answer = await ask("GET", PAGE)
    assert answer.code == 200
    assert answer.body == page.render(article())
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=0, s-maxage=10"
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers


async def test_only_the_document_is_markup(ask: Client, store: Store) -> None:
    sharp = "<b>\"&'</b>"
    await store.apply([event(1, title=sharp, body="<p>a &amp; <em>b</em></p>")])
    body = (await ask("GET", PAGE)).body.decode()
    assert sharp not in body
    assert "<h1>&lt;b&gt;&quot;&amp;&#x27;&lt;/b&gt;</h1>" in body
    assert "<p>a &amp; <em>b</em></p>" in body


async def test_address_may_be_encoded(ask: Client, store: Store) -> None:
    await store.apply([event(1)])
    assert (await ask("GET", "/noticia/%63huva%2Eghtml")).code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/noticia/outra.ghtml",
        "/noticia/chuva",
        "/noticia/chuva.ghtml/",
        "/noticia/chuva.ghtmlx",
        "/noticia/Chuva.ghtml",
        "/noticia/.ghtml",
        "/noticia/ch%00uva.ghtml",
        "/noticia/chuva%0A.ghtml",
        "/noticia/%FF.ghtml",
        "/noticia/%ED%A0%80.ghtml",
        "/noticia/../noticia/chuva.ghtml",
        "/eventos/",
    ],
)
async def test_anything_else_is_not_found(ask: Client, store: Store, path: str) -> None:
    await store.apply([event(1)])
    answer = await ask("GET", path)
    assert answer.code == 404
    assert "Página não encontrada" in answer.body.decode()
    assert "Cache-Control" not in answer.headers


async def test_not_found_page_names_the_address_and_runs_nothing(ask: Client) -> None:
    body = (await ask("GET", "/<script>%3Cb%3E%FF%C3%A9")).body.decode()
    assert "<code>/&lt;script&gt;&lt;b&gt;%FFé</code>" in body


async def test_removed_article_is_not_found(ask: Client, store: Store) -> None:
    await store.apply([event(1), event(2, kind="removed")])
    assert (await ask("GET", PAGE)).code == 404


async def test_head_has_the_length_and_no_body(ask: Client, store: Store) -> None:
    await store.apply([event(1)])
    answer = await ask("HEAD", PAGE)
    assert (answer.code, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(page.render(article())))


async def test_preconditions(ask: Client, store: Store) -> None:
    await store.apply([event(1)])
    etag = (await ask("GET", PAGE)).headers["ETag"]
    assert etag[0] == etag[-1] == '"'
    for known in (etag, f"W/{etag}", "*", f'"x", {etag}', f'"a,b",{etag}'):
        answer = await ask("GET", PAGE, If_None_Match=known)
        assert (answer.code, answer.body) == (304, b""), known
        assert answer.headers["ETag"] == etag
        assert answer.headers["Cache-Control"] == "public, max-age=0, s-maxage=10"
        assert "Content-Type" not in answer.headers
    for unknown in ('"x"', etag.strip('"'), "", "W/"):
        assert (await ask("GET", PAGE, If_None_Match=unknown)).code == 200, unknown
    assert (await ask("GET", PAGE, If_Match='"x"')).code == 412
    assert (await ask("GET", PAGE, If_Match=etag)).code == 200
    assert (await ask("HEAD", PAGE, If_None_Match=etag)).code == 200
    await store.apply([event(2, kind="changed", title="Outro")])
    assert (await ask("GET", PAGE, If_None_Match=etag)).code == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", PAGE, "GET, HEAD"),
        ("OPTIONS", PAGE, "GET, HEAD"),
        ("DELETE", PAGE, "GET, HEAD"),
        ("GET", "/eventos", "POST"),
        ("POST", "/healthcheck", "GET, HEAD"),
    ],
)
async def test_other_methods_are_refused(ask: Client, method: str, path: str, allow: str) -> None:
    answer = await ask(method, path, b"" if method == "POST" else None)
    assert (answer.code, answer.headers["Allow"]) == (405, allow)


async def test_event_is_applied_once(ask: Client, store: Store) -> None:
    answer = await ask.post(row())
    assert (answer.code, json.loads(answer.body)) == (200, {"seq": 1, "applied": True})
    assert (await ask("GET", PAGE)).code == 200
    assert json.loads((await ask.post(row())).body) == {"seq": 1, "applied": False}
    assert json.loads((await ask.post(row(2, kind="removed", article=None))).body)["applied"]
    assert not json.loads((await ask.post(row())).body)["applied"]
    assert (await ask("GET", PAGE)).code == 404


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        "Bearer é",
    ],
)
async def test_event_without_the_token_is_refused(
    ask: Client, store: Store, value: str | None
) -> None:
    fields = {} if value is None else {"Authorization": value}
    answer = await ask("POST", "/eventos", json.dumps(row()), **fields)
    assert answer.code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert await store.head() == 0


async def test_no_token_set_lets_nobody_in(ask: Client, app: Application) -> None:
    app.settings["token"] = ""
    for value in ("Bearer ", "Bearer", "Bearer x"):
        assert (await ask("POST", "/eventos", json.dumps(row()), Authorization=value)).code == 401


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([], "JSON object"),
        (row(0), "seq"),
        (row(True), "seq"),
        (row("1"), "seq"),
        (row(1.0), "seq"),
        (row(2**63), "seq"),
        (row(kind="criada"), "kind"),
        (row(slug=""), "slug"),
        (row(slug="a\0"), "slug"),
        (row(slug="\ud800"), "slug"),
        (row(slug="x" * 2000), "slug"),
        (row(slug=["a"]), "slug"),
        (row(article=None), "article"),
        (row(article="x"), "article"),
        (row(article={}), "no page"),
        (row(article=article("outra")), "its slug"),
        (row(article=article(title="\ud800")), "no page"),
        (row(article=article(tags=[7])), "no page"),
    ],
)
async def test_bad_event_is_refused_with_its_reason(
    ask: Client, store: Store, body: Any, why: str
) -> None:
    answer = await ask.post(body)
    assert answer.code == 400
    assert why in json.loads(answer.body)["error"]
    assert await store.head() == 0


async def test_health_passes_and_fails_by_name(
    ask: Client, store: Store, log: Log, sync: Sync
) -> None:
    answer = await ask("GET", "/healthcheck")
    assert answer.code == 503
    empty = json.loads(answer.body)
    assert empty["status"] == "failure"
    assert [(r["checker"], r["passed"]) for r in empty["results"]] == [
        ("store", False),
        ("sync", True),
    ]
    log.append()
    await sync.resync()
    answer = await ask("GET", "/healthcheck")
    assert answer.code == 200
    well = json.loads(answer.body)
    assert well["status"] == "success"
    assert all(set(r) >= {"checker", "output", "passed"} for r in well["results"])
    assert answer.headers["Cache-Control"] == "no-store"


async def test_late_sync_fails_and_says_why(sync: Sync) -> None:
    now = sync.started
    checkup = Checkup({"sync": sync_checker(sync, 60, lambda: now)}, kept=0)
    assert (await checkup.health()).passed
    now += 61
    sync.error = "HTTP 401"
    health = await checkup.health()
    assert not health.passed
    assert "HTTP 401" in health.results[0]["output"]
    assert (await Checkup({"sync": sync_checker(sync, 0, lambda: now)}).health()).passed


async def test_slow_part_fails_alone_and_askers_share_one_check() -> None:
    asked = 0

    async def slow() -> str:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        return ""

    async def quick() -> str:
        return "bem"

    async def bad() -> str:
        raise Unhealthy("mal")

    checkup = Checkup({"slow": slow, "quick": quick, "bad": bad}, timeout=0.05)
    first, second = await asyncio.gather(checkup.health(), checkup.health())
    assert first is second is await checkup.health()
    assert asked == 1
    assert [(r["passed"], r["output"]) for r in first.results] == [
        (False, "no answer in 0.05 s"),
        (True, "bem"),
        (False, "mal"),
    ]
    assert json.dumps(first.document())


async def test_an_asker_who_leaves_does_not_end_the_check_of_the_others() -> None:
    go = asyncio.Event()

    async def waits() -> str:
        await go.wait()
        return "bem"

    checkup = Checkup({"waits": waits})
    leaves = asyncio.create_task(checkup.health())
    stays = asyncio.create_task(checkup.health())
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait([leaves])
    go.set()
    assert (await stays).passed


async def test_lost_store_is_503_not_a_wrong_page(ask: Client, store: Store) -> None:
    await store.apply([event(1)])
    await store.close()
    for answer in (await ask("GET", PAGE), await ask.post(row(2))):
        assert answer.code == 503
        assert answer.headers["Cache-Control"] == "no-store"
    assert (await ask("GET", "/healthcheck")).code == 503
