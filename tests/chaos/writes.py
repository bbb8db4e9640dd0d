# SPDX-License-Identifier: Apache-2.0
"""Readers who send forms, and readers of a route without a ladder.

The forms are comments: a service takes them, Django stands in for it. Each has a text of its own,
so that it can be counted afterwards who has written it down, and how often.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import re
import sqlite3
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from chaos.fault import Fault, fault
from chaos.load import Group, Record, percentile
from chaos.plain import shared
from chaos.scripted import Scripted, reset_hard
from chaos.site import FIRST_BYTE, Backends, edge, ordinary
from chaos.trial import Trial

from strangler.testing import Edge, close, hang, respond
from strangler.testing.origin import Connection, Step

COMMENTS = "/comentarios/1/"
KEY = "Idempotency-Key"
TOLD = ("status 502", "status 503", "status 504")
"""How an edge may fail a reader: in good order."""


class Comments(Scripted):
    """A service that writes comments down, each key's only once.

    Attributes:
        written: how often each text was; known: how many came again with a key that was known.
    """

    def __init__(self, backends: Backends) -> None:
        super().__init__(backends.content)
        self.written: Counter[str] = Counter()
        self.known = 0
        self._keys: set[bytes] = set()
        self._writing = threading.Lock()

    def write_down(self, connection: Connection) -> bool:
        """Write down what was sent, if anything was; tell whether it was news."""
        request = connection.request
        assert request is not None
        if request.method != b"POST":
            return False
        [text] = urllib.parse.parse_qs(request.body.decode())["text"]
        key = request.get(KEY)
        with self._writing:
            if key is not None and key in self._keys:
                self.known += 1
                return False
            self._keys |= {key} if key is not None else set()
            self.written[text] += 1
        return True

    def well(self) -> None:
        self.ill(self.serve)

    def serve(self, connection: Connection) -> None:
        """Answer as it should be."""
        assert connection.request is not None
        if connection.request.method == b"POST":
            self.write_down(connection)
            respond(201, reason="Created")(connection)
        else:
            respond(200, self.page(connection))(connection)

    def does_it_and_then(self, *steps: Step) -> None:
        """Write down from now on what comes, and go on with *steps*."""

        def write(connection: Connection) -> None:
            self.write_down(connection)

        self.ill(write, *steps)

    def fails_once(self) -> None:
        """Reset after each first writing; who comes again with its key is told that it is done."""

        def answer(connection: Connection) -> None:
            news = self.write_down(connection)
            (reset_hard if news else self.serve)(connection)

        self.ill(answer)


def sign_in(backends: Backends) -> tuple[str, str]:
    """Return the cookies of a reader whom Django knows, and the token of that reader's forms."""
    jar = http.cookiejar.CookieJar()
    proxies = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(proxies, urllib.request.HTTPCookieProcessor(jar))
    url = backends.legacy.url + "/conta/entrar/"
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', opener.open(url).read().decode())
    assert found is not None
    form = {"username": "leitor001", "password": "leitor-2026", "csrfmiddlewaretoken": found[1]}
    opener.open(url, urllib.parse.urlencode(form).encode())
    cookies = {one.name: one.value or "" for one in jar}
    return f"sessionid={cookies['sessionid']}; csrftoken={cookies['csrftoken']}", cookies[
        "csrftoken"
    ]


class Writing:
    """An edge before Django and a service that takes comments; some of its pages have no ladder."""

    def __init__(self, backends: Backends, made: Edge, scripted: Comments) -> None:
        self.backends, self.edge, self.scripted = backends, made, scripted
        self._cookies, self._token = sign_in(backends)

    def mend(self) -> None:
        self.backends.mend()
        self.scripted.well()

    def groups(self, fault: Fault) -> Sequence[Group]:
        """Return the steady load, and who else the fault wants."""
        ours = {
            "form": lambda: self._form("form"),
            "keyed": lambda: self._form("keyed", **{KEY: "{id}"}),
            "alone": lambda: self.backends.group("alone", 40),
        }
        return [*ordinary(self.backends), *(ours[name]() for name in fault.readers)]

    def _form(self, name: str, **fields: str) -> Group:
        fields |= {
            "X-Reader": name,
            "X-Requested-With": "XMLHttpRequest",
            "Cookie": self._cookies,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = f"csrfmiddlewaretoken={self._token}&text={{id}}"
        return Group(name, 15, [(COMMENTS, "")], fields, method="POST", body=body, status=201)

    def written(self) -> Counter[str]:
        """Return how often each comment was written down, by the service and by Django."""
        with contextlib.closing(sqlite3.connect(self.backends.env["LEGACY_DB"])) as database:
            texts = database.execute("SELECT text FROM comments_comment").fetchall()
        return self.scripted.written + Counter(text for (text,) in texts)


@contextlib.contextmanager
def writing() -> Iterator[Writing]:
    """Yield the stage."""
    backends = shared().backends()

    def of(reader: str, **more: object) -> dict[str, object]:
        return {"match": {"header": {"X-Reader": reader}}, "to": "scripted", **more}

    repeat = {"when": ["connect", "timeout", "incomplete", 503], "idempotency_key": KEY}
    comments = [of("form", fallback=["legacy"]), of("keyed", fallback=["legacy"], retry=repeat)]
    with Comments(backends) as scripted:
        text = backends.routes(
            scripted={"scripted": scripted.url},
            more=[of("alone", fallback=[], retry="none")],
            besides={f"POST {COMMENTS}": [*comments, {"to": "legacy"}]},
        )
        with edge(text) as made:
            yield Writing(backends, made, scripted)


@fault("forms are sent while their service fails in six ways", writing, "form", "keyed")
def forms(trial: Trial) -> None:
    """What was written down may be told as failed, but it is never written twice, nor lost."""
    scripted: Comments = trial.site.scripted
    refusing: list[tuple[float, float]] = []

    def refuse() -> None:
        scripted.refuse()
        # What was under way when it closed its connections was sent.
        refusing.append((time.monotonic() + 0.2, time.monotonic() + 2.0))

    ways: list[Callable[[], None]] = [
        refuse,
        scripted.fails_once,
        lambda: scripted.does_it_and_then(hang()),
        lambda: scripted.does_it_and_then(reset_hard),
        lambda: scripted.does_it_and_then(b"HTTP/1.1 201 Crea", close()),
        lambda: scripted.does_it_and_then(respond(503, b"busy", reason="Busy")),
    ]
    with trial.trouble():
        for way in ways:
            way()
            trial.go_on(2.0)
            scripted.well()
            served_again(trial, "form")
    trial.none_failed("cached", "uncached", "legacy", what="failed requests of those who read")
    trial.load.stop()
    sent = trial.load.between(trial.started, time.monotonic(), "form", "keyed")
    written = trial.site.written()
    judge_forms(trial, sent, written)
    trial.figure("came again with its key, and was known", scripted.known, ">= 3",
                 scripted.known >= 3)  # fmt: skip
    hurt = [one for one in sent if one.problem and any(a < one.due < b for a, b in refusing)]
    trial.figure("failed while it refused, and Django could take them", len(hurt), "0", not hurt)


def judge_forms(trial: Trial, sent: Sequence[Record], written: Counter[str]) -> None:
    """Note what became of the forms that were *sent*."""
    ours = {one.id: written[one.id] for one in sent}
    by_django = sum(1 for one in sent if one.fallback and not one.problem)
    trial.figure("forms sent", len(sent), ">= 300", len(sent) >= 300)
    trial.figure("taken by Django in its stead", by_django, ">= 50", by_django >= 50)
    twice = [one for one, times in ours.items() if times > 1]
    trial.figure("written down twice", f"{len(twice)} {twice[:3] or ''}".strip(), "0", not twice)
    lost = [one.id for one in sent if not one.problem and not ours[one.id]]
    trial.figure("told as done, and not done", len(lost), "0", not lost)
    for name in ("form", "keyed"):
        failed = [one for one in sent if one.group == name and one.problem]
        odd = [one for one in failed if one.problem not in TOLD]
        shown = f"{len(odd)} of {len(failed)}" + (f": {odd[0].problem}" if odd else "")
        trial.figure(f"{name}: failed by other than 502, 503, 504", shown, "0", not odd)


def served_again(trial: Trial, group: str) -> None:
    """Wait until the service itself answers *group* again."""
    mended = time.monotonic()

    def served() -> bool:
        since = trial.load.between(mended, time.monotonic(), group)
        return any(not one.problem and not one.fallback for one in since)

    trial.load.until(served, 10.0 * trial.slack, f"{group} is served again")


@fault("without a ladder: refusals at once, time limits to the point", writing, "alone")
def without_a_ladder(trial: Trial) -> None:
    scripted: Comments = trial.site.scripted
    with trial.trouble():
        scripted.refuse()
        trial.noticed("breaker.open name=scripted", 4.0)
        trial.go_on(2.0)
        scripted.well()
        served_again(trial, "alone")
        silent = time.monotonic()
        lines = len(trial.edge.lines)
        scripted.ill(hang())
        trial.edge.wait_log("breaker.open name=scripted", after=lines, timeout=20.0)
        trial.go_on(FIRST_BYTE)
        scripted.well()
        served_again(trial, "alone")
    trial.none_failed("cached", "uncached", "legacy", what="others' failed requests")
    seen = trial.load.between(trial.began, time.monotonic(), "alone")
    for status, why in ((502, "it refuses"), (503, "the breaker is open")):
        records = [one for one in seen if one.status == status]
        trial.figure(f"{status}s: {why}", len(records), ">= 20", len(records) >= 20)
        trial.p99_within(records, 100.0, f"p99 of the {status}s")
    late = [one for one in seen if one.status == 504 and one.due > silent]
    trial.figure("504s: it says nothing", len(late), ">= 20", len(late) >= 20)
    least = min((one.took for one in late), default=0.0)
    limit = f"{FIRST_BYTE * 1e3:.0f} ms"
    trial.figure("the first 504 after", f"{least * 1e3:.0f} ms", f">= {limit}, the time limit",
                 least >= FIRST_BYTE)  # fmt: skip
    over = percentile(late, 0.99) - FIRST_BYTE * 1e3
    trial.figure("p99 of the 504s, beyond the limit", f"{over:+.0f} ms", "<= 150 ms",
                 over <= 150.0 * trial.slack)  # fmt: skip
