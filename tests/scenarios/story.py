# SPDX-License-Identifier: Apache-2.0
"""Stories about a cache: what a reader asks, what the origin would say, who must have answered.

A story has a URL of its own, so that hundreds of them can be told at once to one edge and one
origin: those that have to wait for a lifetime to end wait side by side.

    Story("max-age", Ask(given=Given(fields=[("Cache-Control", "max-age=60")])), Ask("hit"))

The first ask goes to the origin and is answered by it; the second must be answered from store.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import http_sf

from strangler.testing import (
    Connection,
    Edge,
    RawClient,
    Request,
    Response,
    Upstream,
    build,
    close,
    configuration,
    respond,
    until,
)
from strangler.testing.origin import Step

Expected = Literal["origin", "hit", "confirmed", "stale", "refreshing", "failed", "any"]
"""Who must have answered an ask.

origin: the origin, asked once, whose answer reached the reader · hit: the cache, the origin was
not asked · confirmed: the cache, after the origin said 304 to a conditional request · stale: the
cache, although what it has is stale; the origin may have been asked · refreshing: the cache, and
the origin is asked once in the background · failed: nobody, the edge says so with a 5xx · any.
"""

#: What a story takes for a lifetime's end, in seconds.
EXPIRED: Final = 1.15

ROUTES: Final[dict[str, Any]] = {
    "/origin/**": {"to": "app", "cache": "origin"},
    "/steered/**": {"to": "app", "cache": {"client_steers": True}},
    "/cookies-stored/**": {"to": "app", "cache": {"ignore": ["set-cookie"]}},
    "/private-stored/**": {"to": "app", "cache": {"edge": "60s", "ignore": ["private"]}},
    "/no-store-stored/**": {"to": "app", "cache": {"edge": "60s", "ignore": ["no-store"]}},
    "/no-cache-used/**": {"to": "app", "cache": {"edge": "60s", "ignore": ["no-cache"]}},
    "/authorized/**": {"to": "app", "cache": {"edge": "60s", "ignore": ["authorization"]}},
    "/unvaried/**": {"to": "app", "cache": {"edge": "60s", "ignore": ["vary"]}},
    "/outlived/**": {
        "to": "app",
        "cache": {"edge": "60s", "stale_if_error": "60s", "ignore": ["must-revalidate"]},
    },
    "/none/**": {"to": "app", "cache": "none"},
    "/minute/**": {"to": "app", "cache": {"edge": "60s"}},
    "/second/**": {"to": "app", "cache": {"edge": "1s"}},
    "/ladder/**": {"to": "app", "cache": {"edge": "1s", "shared": "60s"}},
    "/below/**": {"to": "app", "cache": {"shared": "60s"}},
    "/grace/**": {"to": "app", "cache": {"edge": "1s", "grace": "60s"}},
    "/refreshed/**": {"to": "app", "cache": {"edge": "1s", "stale_while_revalidate": "60s"}},
    "/forgiving/**": {"to": "app", "cache": {"edge": "1s", "stale_if_error": "60s"}},
    "/alone/**": {"to": "app", "cache": {"edge": "60s", "collapse": False}},
    "/sorted/**": {"to": "app", "cache": {"edge": "60s", "key": {"query": {"sort": True}}}},
    "/allowed/**": {"to": "app", "cache": {"edge": "60s", "key": {"query": ["page", "q"]}}},
    "/bare/**": {"to": "app", "cache": {"edge": "60s", "key": {"query": "none"}}},
    "/dropped/**": {
        "to": "app",
        "cache": {"edge": "60s", "key": {"query": {"drop": ["tracking", "sid"]}}},
    },
    "/cookie-keyed/**": {"to": "app", "cache": {"edge": "60s", "key": {"cookies": ["theme"]}}},
    "/header-keyed/**": {"to": "app", "cache": {"edge": "60s", "key": {"headers": ["x-app"]}}},
    "/any-host/**": {"to": "app", "cache": {"edge": "60s", "key": {"host": False}}},
}
#: The limits are long enough for a busy machine; what is at stake is who answers, not how fast.
TIERS: Final[dict[str, Any]] = {
    "edge": {"store": "memory", "size": "64MB"},
    "shared": {"store": "sqlite:var/shared.db", "size": "64MB", "timeout": "1s"},
    "archive": {"store": "sqlite:var/archive.db", "timeout": "1s"},
}
#: One upstream that is neither given up nor retried, so that what it is asked can be counted.
APP: Final[dict[str, Any]] = {"timeout": "5s", "breaker": "none"}


def cached(origin: Any, *, app: Mapping[str, Any] | None = None, **sections: Any) -> str:
    """Return a routes.yaml with ROUTES to *origin*.

    app: further or other options of that upstream; sections: further or other blocks.
    """
    sections = {"tiers": TIERS, "defaults": {"retry": "none"}, **sections}
    sections["limits"] = {"drain": "1s", **sections.get("limits", {})}
    routes = sections.pop("routes", ROUTES)
    upstreams = sections.pop("upstreams", {})
    upstreams = {"app": {"url": origin, **APP, **(app or {})}, **upstreams}
    return configuration(routes, upstreams=upstreams, **sections)


# -- dates


@dataclass(frozen=True, slots=True)
class At:
    """A date *seconds* from now, in one of the three forms of RFC 9110 §5.6.7."""

    seconds: float
    form: Literal["imf", "rfc850", "asctime"] = "imf"

    def written(self, now: float) -> str:
        """Return the date as seen at *now*, seconds since 1970."""
        when = datetime.fromtimestamp(int(now + self.seconds), UTC)
        # strftime's names follow the locale.
        day = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[
            when.weekday()
        ]
        month = "JanFebMarAprMayJunJulAugSepOctNovDec"[when.month * 3 - 3 : when.month * 3]
        clock = f"{when:%H:%M:%S}"
        if self.form == "rfc850":
            return f"{day}, {when.day:02d}-{month}-{when.year % 100:02d} {clock} GMT"
        if self.form == "asctime":
            return f"{day[:3]} {month} {when.day:2d} {clock} {when.year}"
        return f"{day[:3]}, {when.day:02d} {month} {when.year} {clock} GMT"


Value = str | At
Fields = Iterable[tuple[str, Value]]


def written(fields: Fields, now: float, began: float | None = None) -> list[tuple[str, str]]:
    """Return *fields* with their dates; Last-Modified keeps to *began*: it is one instant."""
    return [
        (
            name,
            value.written(began if began is not None and name == "Last-Modified" else now)
            if isinstance(value, At)
            else value,
        )
        for name, value in fields
    ]


def control(value: str, *more: tuple[str, Value]) -> Given:
    """Return what an origin says that sends this Cache-Control, and *more* fields."""
    return Given(fields=[("Cache-Control", value), *more])


# -- what is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the origin answers where it is asked.

    body: the content; a content of this ask's own unless given · interim: heads of 1xx responses
    sent before · fails: close the connection instead of answering · does: any other script.
    """

    status: int = 200
    fields: Fields = ()
    body: str | None = None
    interim: tuple[bytes, ...] = ()
    chunks: bool = False
    fails: bool = False
    does: tuple[Step, ...] = ()
    reason: str = "Whatever"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, what the origin would say to it, and what the reader must get.

    Attributes:
        expect: who must have answered.
        given: absent: as for the ask before.
        method, query, path, fields, content, host: of the request; path is a suffix.
        status: of the answer; absent: the origin's, or that of the stored response.
        text: the content, absent: that of the answer that is expected.
        number: which ask's content a stored answer must have; absent: the latest that the origin
            answered with content.
        has, lacks: fields of the answer; a value None means any.
        sent, unsent: fields that the origin must, and must not, have been asked with; a value of
            None means any.
        forward: RFC 9211's reason for asking the origin. why: the `detail` of what isn't stored.
        stored: whether Cache-Status has to say `stored`, or must not.
        age: least Age; ttl: most `ttl` in Cache-Status.
        wait: seconds to wait afterwards.
    """

    expect: Expected = "origin"
    given: Given | None = None
    method: str = "GET"
    query: str = ""
    path: str = ""
    fields: Fields = ()
    content: str | None = None
    host: str = "www.example.com"
    status: int | None = None
    text: str | None = None
    number: int | None = None
    has: Mapping[str, Value | None] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    sent: Mapping[str, Value | None] = field(default_factory=dict)
    unsent: tuple[str, ...] = ()
    asked: str | None = None
    forward: str | None = None
    why: str | None = None
    stored: bool | None = None
    age: int | None = None
    ttl: int | None = None
    wait: float = 0.0


def origin(given: Given | None = None, **more: Any) -> Ask:
    """Return an ask that the origin must answer."""
    return Ask(expect="origin", given=given, **more)


def hit(given: Given | None = None, **more: Any) -> Ask:
    """Return an ask that must be answered from store, the origin unasked."""
    return Ask(expect="hit", given=given, **more)


def confirmed(given: Given | None = None, **more: Any) -> Ask:
    """Return an ask that must be answered from store after the origin's 304 (*given*)."""
    return Ask(expect="confirmed", given=given, **more)


def stale(given: Given | None = None, **more: Any) -> Ask:
    """Return an ask that must be answered from store although that is stale."""
    return Ask(expect="stale", given=given, **more)


def refreshing(given: Given | None = None, **more: Any) -> Ask:
    """Return an ask answered from stale store while the origin is asked once (*given*)."""
    return Ask(expect="refreshing", given=given, **more)


def failed(given: Given | None = None, **more: Any) -> Ask:
    """Return an ask that must be answered by an error of the edge's or the origin's own."""
    return Ask(expect="failed", given=given, **more)


class Story:
    """A sequence of asks for one URL.

    Args:
        id: names it in test reports and, with the route, makes its URL.
        asks: one after the other, each on a connection of its own.
        rfc: where the rule stands. route: which of ROUTES it is told to.
    """

    def __init__(self, id: str, *asks: Ask, rfc: str = "9111", route: str = "/origin") -> None:
        self.id = id
        self.asks = asks
        self.rfc = rfc
        self.route = route

    def __repr__(self) -> str:
        return self.id


class Broken(AssertionError):
    """A story did not go as it must."""


@dataclass
class _Telling:
    """A story being told: what the origin saw, and what it has said."""

    story: Story
    base: str
    began: float = field(default_factory=time.time)
    number: int = 0
    seen: list[tuple[int, Request]] = field(default_factory=list)
    said: dict[int, tuple[int, str]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def given(self, number: int) -> Given:
        for ask in reversed(self.story.asks[: number + 1]):
            if ask.given is not None:
                return ask.given
        return Given()

    def body(self, number: int) -> str:
        given = self.given(number)
        return f"{self.story.id} {number}" if given.body is None else given.body

    def answer(self, connection: Connection) -> None:
        """Be the origin."""
        request = connection.request
        assert request is not None
        with self.changed:
            number = self.number
            self.seen.append((number, request))
            self.changed.notify_all()
        ask, given = self.story.asks[number], self.given(number)
        for head in given.interim:
            connection.send(head)
        if given.fails:
            close()(connection)
            return
        if given.does:
            for step in given.does:
                connection.send(step) if isinstance(step, bytes) else step(connection)
            return
        fields = [
            (name, value.replace(_base(self.story), self.base))
            for name, value in written(given.fields, time.time(), self.began)
        ]
        conditional = "if-none-match" in request or "if-modified-since" in request
        if ask.expect == "confirmed" and conditional:
            respond(304, b"", fields, reason="Not Modified")(connection)
            return
        status, body = given.status, self.body(number)
        self.said[number] = (status, "" if status in (204, 304) else body)
        respond(status, body, fields, reason=given.reason, chunks=given.chunks)(connection)

    def asked(self, number: int) -> list[Request]:
        with self.changed:
            return [request for at, request in self.seen if at == number]

    def await_asked(self, number: int) -> list[Request]:
        with self.changed:
            self.changed.wait_for(lambda: any(at == number for at, _ in self.seen), 60)
        return self.asked(number)


def _base(story: Story, under: str = "") -> str:
    """Return the path that *story* is told at."""
    slug = urllib.parse.quote(story.id.replace("/", "-"), safe="-._~")
    return f"{story.route}{under}/{slug}"


def tell(
    story: Story,
    edge: Edge,
    source: Upstream,
    *,
    under: str = "",
    settle: float = 0.0,
    reasons: bool = True,
) -> None:
    """Tell *story* to *edge*, with *source* behind it; raises Broken where it fails.

    under: part of the URL, for a story that is told more than once · settle: seconds to wait
    after each ask, for tiers that are written to when the reader has its answer already ·
    reasons: judge the reasons in Cache-Status too, which a tier alone may not know.
    """
    base = _base(story, under)
    telling = _Telling(story, base)
    for path in {base + ask.path for ask in story.asks}:
        source.on(path, telling.answer)
    for number, ask in enumerate(story.asks):
        telling.number = number
        response: Response | None = None
        try:
            response = _ask(edge, telling, ask)
            _judge(telling, number, ask, response, reasons=reasons)
        except (AssertionError, TimeoutError, OSError) as fault:
            raise Broken(_report(telling, number, response, fault)) from None
        time.sleep(max(ask.wait, settle))
    # What came late, such as a refresh that nobody has ordered, belongs to the last ask.
    last = len(story.asks) - 1
    if story.asks[last].expect == "hit" and telling.asked(last):
        raise Broken(_report(telling, last, None, AssertionError("asked after the answer")))


def _ask(edge: Edge, telling: _Telling, ask: Ask) -> Response:
    target = telling.base + ask.path + (f"?{ask.query}" if ask.query else "")
    with edge.client() as client:
        client.send(
            build(
                ask.method,
                target,
                written(ask.fields, telling.began),
                ask.content,
                host=ask.host,
            )
        )
        return client.read(ask.method)


def _judge(telling: _Telling, number: int, ask: Ask, response: Response, *, reasons: bool) -> None:
    assert not response.violations, response.violations
    expect = ask.expect
    asked = telling.await_asked(number) if expect == "refreshing" else telling.asked(number)
    status = cache_status(response)
    kept = [at for at in telling.said if at < number]
    source = number if expect == "origin" else ask.number
    if source is None and kept:
        source = max(kept)
    if expect == "origin":
        assert len(asked) == 1, f"the origin was asked {len(asked)} times instead of once"
        assert status is None or "hit" not in status, f"called a hit: {status}"
    elif expect == "hit":
        assert not asked, f"the origin was asked: {asked}"
        assert status is not None and "hit" in status, f"not called a hit: {status}"
        assert "fwd" not in status, f"a hit that was forwarded: {status}"
    elif expect == "confirmed":
        assert len(asked) == 1, f"the origin was asked {len(asked)} times instead of once"
        conditional = "if-none-match" in asked[0] or "if-modified-since" in asked[0]
        assert conditional, f"not asked conditionally: {asked[0].head!r}"
        assert status is not None and status.get("fwd-status") == 304, f"expected 304: {status}"
    elif expect == "stale":
        assert status is not None, "no Cache-Status"
    elif expect == "refreshing":
        assert len(asked) == 1, f"the origin was asked {len(asked)} times instead of once"
        assert status is not None and "hit" in status, f"not called a hit: {status}"
    elif expect == "failed":
        assert response.status >= 500, f"expected an error, got {response.status}"
    if expect in ("hit", "confirmed", "stale", "refreshing"):
        assert "age" in response, f"no Age: {response.head!r}"
        assert (response.get("age") or b"").isdigit(), f"Age: {response.get('age')!r}"
    if expect not in ("any", "failed"):
        assert source is not None, "the story tells of no stored answer"
        code, text = telling.said.get(source, (200, telling.body(source)))
        wanted = code if ask.status is None else ask.status
        assert response.status == wanted, f"expected status {wanted}, got {response.status}"
        if ask.text is not None:
            text = ask.text
        if ask.method != "HEAD" and response.status not in (204, 304):
            assert response.text == text, f"expected content {text!r}, got {response.text!r}"
    elif ask.status is not None:
        assert response.status == ask.status, f"expected {ask.status}, got {response.status}"
    _fields(telling, ask, response, asked, status)
    if reasons:
        _reasons(ask, status)


def _fields(
    telling: _Telling,
    ask: Ask,
    response: Response,
    asked: list[Request],
    status: dict[str, Any] | None,
) -> None:
    def check(what: str, message: Any, wanted: Mapping[str, Value | None]) -> None:
        for name, value in wanted.items():
            got = [each.decode("utf-8", "replace") for each in message.all(name)]
            assert got, f"{what}: no {name}"
            if value is not None:
                ((_, text),) = written([(name, value)], telling.began, telling.began)
                assert got == [text], f"{what}: expected {name}: {text}, got {got}"

    check("the answer", response, ask.has)
    for name in ask.lacks:
        assert name not in response, f"the answer has {name}: {response.all(name)}"
    if ask.sent:
        assert asked, "the origin was not asked"
        check("the request", asked[0], ask.sent)
    for name in ask.unsent:
        assert asked and name not in asked[0], f"the origin was asked with {name}: {asked}"
    if ask.asked is not None:
        assert asked, "the origin was not asked"
        got = asked[0].target.decode()
        assert got == telling.base + ask.path + ask.asked, f"the origin was asked for {got}"
    if ask.age is not None:
        age = int(response.get("age") or b"-1")
        assert ask.age <= age <= ask.age + 5, f"expected an Age near {ask.age}, got {age}"


def _reasons(ask: Ask, status: dict[str, Any] | None) -> None:
    for name, wanted in (("fwd", ask.forward), ("detail", ask.why)):
        if wanted is not None:
            assert status is not None and str(status.get(name)) == wanted, (
                f"expected {name}={wanted}, got {status}"
            )
    if ask.stored is not None:
        assert status is not None and ("stored" in status) == ask.stored, f"stored: {status}"
    if ask.ttl is not None:
        assert status is not None and status.get("ttl", 1 << 40) <= ask.ttl, f"ttl: {status}"


def cache_status(response: Response, name: str = "strangler") -> dict[str, Any] | None:
    """Return the parameters of our member of Cache-Status, None where it has none.

    The field must be a list of RFC 9211's form, ours its last member and once in it.
    """
    lines = response.all("cache-status")
    if not lines:
        return None
    found = http_sf.parse(b", ".join(lines), tltype="list")
    names = [str(member) for member, _ in found]
    assert names.count(name) == 1 and names[-1] == name, f"Cache-Status: {lines}"
    parameters = dict(found[-1][1])
    known = {"hit", "fwd", "fwd-status", "ttl", "stored", "collapsed", "key", "detail"}
    assert parameters.keys() <= known, f"Cache-Status: {lines}"
    assert not ("hit" in parameters and "fwd" in parameters), f"both hit and fwd: {lines}"
    return parameters


def _report(telling: _Telling, number: int, response: Response | None, fault: Any) -> str:
    story, ask = telling.story, telling.story.asks[number]
    lines = [
        f"{story.id}, ask {number} ({ask.expect}): {type(fault).__name__}: {fault}",
        f"  rule:     RFC {story.rfc}",
        f"  route:    {story.route}/**: {ROUTES.get(story.route + '/**')}",
    ]
    for at, request in telling.seen:
        lines.append(f"  origin:   ask {at}: {bytes(request.head)!r}")
    for at, each in enumerate(story.asks[: number + 1]):
        given = telling.given(at)
        lines.append(f"  ask {at}:    {each.method} {list(each.fields)} -> {list(given.fields)}")
    if response is not None:
        lines.append(f"  reader:   {response.head!r} {response.text[:200]!r}")
    return "\n".join(lines)


Outcomes = dict[str, BaseException | None]


def tell_all(
    stories: Iterable[Story],
    edge: Edge,
    source: Upstream,
    *,
    at_once: int = 64,
    **how: Any,
) -> dict[int, BaseException | None]:
    """Tell *stories* side by side; return what came of each, by its identity.

    One that went wrong is told once more, to another URL, when all others have been told: most
    have lifetimes of a second, which a busy machine can let pass. A fault of the edge's goes wrong
    both times.
    """

    def one(story: Story, **also: Any) -> tuple[int, BaseException | None]:
        try:
            tell(story, edge, source, **(how | also))
        except BaseException as fault:
            return id(story), fault
        return id(story), None

    unique = {id(story): story for story in stories}
    urls = [(story.route, story.id) for story in unique.values()]
    twice = {url for url in urls if urls.count(url) > 1}
    assert not twice, f"stories of one URL: {twice}"
    # Those that wait go first, so that the others are told meanwhile.
    order = sorted(unique.values(), key=lambda story: -sum(ask.wait for ask in story.asks))
    with ThreadPoolExecutor(at_once, thread_name_prefix="story") as pool:
        outcomes = dict(pool.map(one, order))
    for story in order:
        if outcomes[id(story)] is not None:
            outcomes |= [one(story, under=f"{how.get('under', '')}/again")]
    return outcomes


Teller = Callable[[Story], None]


def ask(edge: Edge, target: str, fields: Fields = (), **more: Any) -> Response:
    """GET *target* on a connection of its own."""
    with edge.client() as client:
        return client.request("GET", target, written(fields, time.time()), **more)


def together(count: int, task: Callable[[int], Any]) -> list[Any]:
    """Call *task* with 0 to *count* - 1 at once; return the results in order."""
    with ThreadPoolExecutor(count, thread_name_prefix="reader") as pool:
        return list(pool.map(task, range(count)))


def detail(response: Response) -> str:
    """Return the `detail` of our Cache-Status: the tier of a hit, or why nothing is stored."""
    return str((cache_status(response) or {}).get("detail", ""))


def warm(edge: Edge, path: str) -> None:
    """Wait until every worker of *edge* reaches the shared tier; *path* is what it caches."""
    end = time.monotonic() + 60
    number = found = 0
    while found < 4:
        assert time.monotonic() < end, "no worker ever finds in the shared tier what another kept"
        number += 1
        edge.get(f"{path}warm-{number}")
        time.sleep(0.02 * number)  # it is written when its reader has been answered
        for _ in range(8):
            found += detail(edge.get(f"{path}warm-{number}")) == "shared"


def opened(edge: Edge, path: str, tier: str = "") -> None:
    """Wait until *edge* has opened its tiers: what is kept under *path* is found, in *tier*."""

    def is_kept() -> bool:
        time.sleep(0.05)
        found = "hit" in (cache_status(edge.get(f"{path}opened")) or {})
        return found and (not tier or tier in _tiers_with(edge, f"{path}opened"))

    until(is_kept, what="a tier that keeps something")


def kept_below(edge: Edge, path: str, tier: str = "shared") -> None:
    """Wait until *tier* has a copy of *path*: it is written when its reader has been answered."""
    until(lambda: tier in _tiers_with(edge, path), what=f"a copy of {path} in {tier}")


def said_by_all(edge: Edge, path: str) -> Any:
    """Return what all workers have to say to *path*; one that is too busy for it is asked again."""
    told: dict[str, Any] = {}

    def all_say() -> bool:
        status, document = edge.admin_json(path)
        assert status == 200, document
        told.clear()
        told.update(document)
        return not document["silent"]

    until(all_say, what=f"a word of each worker to {path}")
    return told


def _tiers_with(edge: Edge, path: str) -> set[str]:
    """Return the tiers that have a copy of *path*."""
    _, told = edge.admin_json(f"/-/cache?url=http://www.example.com{path}")
    return {name for name, copies in told["tiers"].items() if copies}


def token(edge: Edge) -> str:
    """Return the admin token that the edge made itself."""
    return (edge.folder / "var" / "admin.token").read_text().strip()


def purge(edge: Edge, *, token_: str | None = None, **what: Any) -> Response:
    """POST *what* to the purge endpoint; return its answer."""
    bearer = token(edge) if token_ is None else token_
    with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}") as client:
        fields = [("Content-Type", "application/json")]
        if bearer:
            fields.append(("Authorization", f"Bearer {bearer}"))
        return client.request("POST", "/-/purge", fields, json.dumps(what))
