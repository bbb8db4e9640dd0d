# SPDX-License-Identifier: Apache-2.0
"""Random stories: pages that change while readers come at once, with any fields.

What a page says is known of its version and of the reader's own fields, so that whatever comes
can be judged: it is of one version and one variant, it is what was asked for, nobody is shown what
was before a write of his own, and nobody is left waiting. Which of several right answers comes is
not looked at. A number makes a story; the same number makes the same one.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenarios.story import At, cached

from strangler.testing import Connection, Edge, Request, Response, Upstream, build, respond

CONTROLS = [
    "max-age=1000", "max-age=1000", "max-age=0", "no-cache", "no-store", "private", "s-maxage=1000",
    "max-age=0, stale-while-revalidate=1000", "max-age=0, must-revalidate", "max-age=1000, public",
    'max-age=1000, no-cache="x-own"', "",
]  # fmt: skip
RANGES = ["0-0", "0-4", "3-", "-3", "5-9", "2-6", "4-20", "0-", "100-", "0-1,4-5"]
STORIES, AT_ONCE = 240, 8
PLACE = re.compile(rb"bytes (\d+)-(\d+)/(\d+)")


class Page:
    """A page of one URL, and the origin that answers for it."""

    def __init__(self, number: int) -> None:
        self.chance = chance = random.Random(number)
        self.validator = chance.choice(["tag", "weak", "date", "none"])
        self.varies = chance.random() < 0.6
        self.control = chance.choice(CONTROLS)
        self.ranges, self.chunks = chance.random() < 0.7, chance.random() < 0.3
        self.version = 1
        self.began = time.time()
        self._lock = threading.Lock()

    def text(self, version: int, foo: bytes) -> bytes:
        """Return what the page says in *version* to who sends this Foo."""
        return b"version %d " % version + (foo if self.varies else b"") + b" 0123456789"

    def known_by(self, version: int) -> tuple[str, str] | None:
        match self.validator:
            case "tag" | "weak":
                return "ETag", ("W/" if self.validator == "weak" else "") + f'"{version}"'
            case "date":
                return "Last-Modified", At(version * 10 - 9000).written(self.began)
        return None

    def answer(self, connection: Connection) -> None:
        """Be the origin: one that gives all its variants the same tag, as many do."""
        request = connection.request
        assert request is not None
        with self._lock:
            time.sleep(self.chance.choice([0, 0, 0.004, 0.015]))
            if request.method == b"POST":
                self.version += 1
                respond(200, "changed", [])(connection)
                return
            known = self.known_by(self.version)
            fields = [("Cache-Control", self.control), ("Date", At(0).written(time.time()))]
            fields += [known] if known else []
            fields += [("Vary", "Foo")] if self.varies else []
            asked = request.get("if-none-match") or request.get("if-modified-since")
            if known is not None and asked == known[1].encode() and not self.varies:
                respond(304, "", fields)(connection)
                return
            fields.append(("X-Version", str(self.version)))
            content = self.text(self.version, request.get("foo") or b"none")
            self._respond(connection, request, fields, content, known)

    def _respond(self, connection, request: Request, fields, content: bytes, known) -> None:
        only = re.fullmatch(rb"bytes=(\d+)-(\d*)", request.get("range") or b"")
        condition = request.get("if-range")
        held = condition is None or (known is not None and condition == known[1].encode())
        status = 200
        if only and self.ranges and held and request.method == b"GET":
            first, last = int(only[1]), min(int(only[2] or 999), len(content) - 1)
            if first <= last:
                fields = [*fields, ("Content-Range", f"bytes {first}-{last}/{len(content)}")]
                status, content = 206, content[first : last + 1]
        respond(status, content, fields, chunks=self.chunks)(connection)


def fields_of(page: Page) -> list[tuple[str, str]]:
    """Return what a reader sends."""
    chance, fields = page.chance, []
    if chance.random() < 0.4:
        fields.append(("Range", "bytes=" + chance.choice(RANGES)))
    known = page.known_by(chance.randint(1, page.version))
    if known is not None and chance.random() < 0.3:
        names = ("If-None-Match", "If-Range") if known[0] == "ETag" else ("If-Modified-Since",)
        fields.append((chance.choice(names), known[1]))
    if chance.random() < 0.6:
        fields.append(("Foo", chance.choice(["1", "2", "three"])))
    if chance.random() < 0.12:
        fields.append(("Authorization", "Bearer x"))
    return fields


def judge(page: Page, method: str, sent: dict[str, str], got: Response, least: int) -> None:
    """Fail where *got* can't be an answer to *sent*."""
    assert not got.violations
    assert got.status in (200, 206, 304, 416), got.head
    if got.status == 304:
        assert {"If-None-Match", "If-Modified-Since"} & sent.keys(), "a 304 that nobody asked for"
    if got.status == 416:
        assert "Range" in sent, "a 416 that nobody asked for"
    if got.status not in (200, 206) or method == "HEAD":
        return
    version = int(got.get("x-version") or b"0")
    assert version >= least, f"version {version}, after the reader's write made {least}"
    whole = page.text(version, sent.get("Foo", "none").encode())
    if got.status == 206:
        assert "Range" in sent, "a 206 that nobody asked for"
        place = PLACE.fullmatch(got.get("content-range") or b"")
        assert place is not None
        first, last, length = map(int, place.groups())
        assert length == len(whole)
        whole = whole[first : last + 1]
    assert got.text.encode() == whole


def tell(number: int, edge: Edge, source: Upstream) -> None:
    page, path, least = Page(number), f"/origin/random-{number}", 1
    source.on(path, page.answer)
    for _ in range(page.chance.randint(2, 6)):
        match page.chance.random():
            case x if x < 0.15:
                page.version += 1
            case x if x < 0.3:
                page.control = page.chance.choice(CONTROLS)
            case x if x < 0.45:
                with edge.client(timeout=20) as client:
                    client.request("POST", path, (), "a=1").expect(200)
                least = page.version
        asks = []
        for _ in range(page.chance.randint(1, 5)):
            method = "HEAD" if page.chance.random() < 0.1 else "GET"
            asks.append((method, fields_of(page), edge.client(timeout=20)))
        for method, fields, client in asks:
            client.send(build(method, path, fields))
        for method, fields, client in asks:
            with client:
                judge(page, method, dict(fields), client.read(method), least)


@pytest.fixture(scope="module")
def source() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.mark.parametrize("tiers", ["edge", "all"])
def test_any_story(tiers, source):
    off = {"shared": "none", "archive": "none", "edge": {"store": "memory", "size": "64MB"}}
    text = cached(source, routes={"/origin/**": {"to": "app", "cache": "origin"}},
                  **({"tiers": off} if tiers == "edge" else {}))  # fmt: skip
    first = 0 if tiers == "edge" else STORIES
    with Edge(text, access_log="off") as edge, ThreadPoolExecutor(AT_ONCE) as pool:
        telling = {n: pool.submit(tell, n, edge, source) for n in range(first, first + STORIES)}
        wrong = {n: str(each.exception()) for n, each in telling.items() if each.exception()}
    assert not wrong
