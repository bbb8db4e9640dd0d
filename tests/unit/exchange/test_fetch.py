# SPDX-License-Identifier: Apache-2.0
"""How a fetch attempts: once, again where nothing can happen twice, and never a place too many."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from strangler.errors import AttemptFailed
from strangler.exchange.fetching.fetch import Fetch, Terms
from strangler.resilience.budget import Budget
from strangler.resilience.ejection import Standing
from strangler.resilience.policy import Retry
from strangler.upstream.places import IN, WAIT
from strangler.wire.framing import Length
from strangler.wire.request import Request

#: A fetch gets connections and endpoints here that are none.
pytestmark = pytest.mark.sources


class Connection:
    """Stands for an upstream connection: notes what is sent."""

    def __init__(self, endpoint, *, uses=1, choked=False):
        self.endpoint, self.uses, self.choked = endpoint, uses, choked
        self.sent = b""
        self.ended = None
        self.cancelled = False
        self.tunnel = False

    def begin(self, taker, data, method, limits, *, ended, upgrade=False):
        self.sent += data
        self.ended = ended

    def send(self, data):
        self.sent += data

    def end_request(self):
        self.ended = True

    def cancel(self):
        self.cancelled = True


class Endpoint:
    host_field = b"up:1"
    prefix = b"/pre"

    def __init__(self, name, pooled=()):
        self.name = name
        self.pooled = list(pooled)
        self.asked = []
        self.forgotten = []
        self.failures = 0
        self.standing = Standing(30.0)

    def take(self, *, repeatable):
        return self.pooled.pop() if self.pooled else None

    def connect(self, waiting):
        self.asked.append(waiting)

    def forget(self, waiting):
        self.forgotten.append(waiting)


class Upstream:
    """Stands for an upstream that is its own and only gate."""

    name = "up"
    succeeded = failed = 0
    last_error = ""
    heeds = None
    several = True

    def __init__(self, *endpoints, room=99, queue=99):
        self.endpoints = endpoints
        self.room, self.queue = room, queue
        self.inside = 0
        self.waiting = []
        self.budget = Budget()

    def pick(self, tried):
        return next((e for e in self.endpoints if e not in tried), self.endpoints[0])

    def elsewhere(self, tried):
        return any(e not in tried for e in self.endpoints)

    def endpoint_failed(self, endpoint, now, *, connecting=False):
        endpoint.failures += 1

    def broke_off(self, endpoint, circuit, permit):
        endpoint.failures += 1

    def ask(self, fetch):
        if self.inside < self.room:
            self.inside += 1
            return IN
        if len(self.waiting) >= self.queue:
            return "busy"
        self.waiting.append(fetch)
        return WAIT

    def give_up(self, fetch):
        if fetch in self.waiting:
            self.waiting.remove(fetch)

    def leave(self):
        self.inside -= 1


class Sink:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *given: self.told.append((name, *given))

    @property
    def names(self):
        return [each[0] for each in self.told]

    @property
    def error(self):
        return self.told[-1][1].error


def request(method=b"GET", length=None):
    return Request(method, b"/x", b"\r\nA: 1", b"\r\nHost: a", length)


def fetch(upstream, method=b"GET", length=None, cap=1000):
    sink = Sink()
    terms = Terms(
        limits=(None, None), replay=cap, retry=Retry(tries=0), circuit=None, gates=(upstream,)
    )
    return Fetch(sink, upstream, request(method, length), terms), sink


OK = SimpleNamespace(status=200)


REFUSED = AttemptFailed("connection_refused", "no", sent=False)
CLOSED = AttemptFailed("connection_terminated", "closed")


def test_a_request_goes_out_whole():
    end = Endpoint("a")
    made, _ = fetch(Upstream(end))
    made.start()
    made.connected(connection := Connection(end))
    assert connection.sent == b"GET /pre/x HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n"
    assert connection.ended is True


@pytest.mark.parametrize(
    ("length", "content"), [(5, b"hello"), (-1, b"2\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n")]
)
def test_content_follows_as_it_comes(length, content):
    end = Endpoint("a", [])
    made, sink = fetch(Upstream(end), b"POST", length)
    made.start()
    made.connected(connection := Connection(end))
    head = len(connection.sent)
    made.send_body(b"he")
    made.send_body(b"llo")
    made.end_body(b"T: 1\r\n")
    assert connection.sent[head:] == content
    assert (sink.names, connection.ended) == (["resume_sending"], True)


@pytest.mark.parametrize(
    ("length", "content"), [(5, b"hello"), (-1, b"5\r\nhello\r\n0\r\nT: 1\r\n\r\n")]
)
def test_content_that_came_before_the_connection_goes_with_the_head(length, content):
    end = Endpoint("a")
    made, sink = fetch(Upstream(end), b"POST", length)
    made.start()
    made.send_body(b"he")
    made.send_body(b"llo")
    made.end_body(b"T: 1\r\n")
    made.connected(connection := Connection(end))
    assert connection.sent.endswith(b"\r\n\r\n" + content)
    assert (sink.names, connection.ended) == ([], True)


def test_content_waits_for_a_connection_beyond_a_bound():
    made, sink = fetch(Upstream(Endpoint("a")), b"POST", 1 << 20)
    made.start()
    made.send_body(b"x" * 65536)
    assert sink.names == []
    made.send_body(b"x")
    assert sink.names == ["pause_sending"]


@pytest.mark.parametrize(("choked", "told"), [(True, "pause_sending"), (False, "resume_sending")])
def test_a_connection_that_chokes_on_the_first_bytes_holds_back_the_rest(choked, told):
    end = Endpoint("a")
    made, sink = fetch(Upstream(end), b"POST", 1 << 20)
    made.start()
    made.connected(Connection(end, choked=choked))
    assert sink.names == [told]


def test_a_refused_connection_is_tried_at_each_endpoint_once():
    one, two = Endpoint("1"), Endpoint("2")
    upstream = Upstream(one, two)
    made, sink = fetch(upstream, b"POST", 5)
    made.start()
    made.connect_failed(REFUSED)
    assert two.asked == [made]
    made.connect_failed(REFUSED)
    assert (sink.names, sink.error) == (["fetch_failed"], "connection_refused")
    assert (made.attempts, upstream.inside, upstream.failed) == (2, 0, 1)


@pytest.mark.parametrize(
    ("method", "uses", "again"),
    [(b"GET", 2, True), (b"HEAD", 2, True), (b"POST", 2, False), (b"PUT", 2, False),
     (b"GET", 1, False)],
)  # fmt: skip
def test_only_a_safe_request_on_a_stale_connection_is_repeated(method, uses, again):
    end = Endpoint("a", [])
    end.pooled.append(Connection(end, uses=uses))
    made, sink = fetch(Upstream(end), method)
    made.start()
    made.attempt_failed(CLOSED)
    assert bool(end.asked) is again
    assert ("fetch_failed" in sink.names) is not again


def test_nothing_is_repeated_once_an_answer_began_or_content_outgrew_its_cap():
    for spoil in ("answer", "content"):
        end = Endpoint("a", [])
        end.pooled.append(Connection(end, uses=2))
        made, sink = fetch(Upstream(end), b"GET", 100, cap=10)
        made.start()
        if spoil == "answer":
            made.response_started(OK, Length(5), b"")
        else:
            made.send_body(b"x" * 11)
        made.attempt_failed(CLOSED)
        assert "fetch_failed" in sink.names
        assert not end.asked
        assert end.failures == 1


def test_a_repeated_request_has_its_content_again():
    end = Endpoint("a", [])
    end.pooled.append(Connection(end, uses=2))
    made, _ = fetch(Upstream(end), b"GET", 100)
    made.start()
    made.send_body(b"half")
    made.attempt_failed(CLOSED)
    made.connected(connection := Connection(end))
    made.send_body(b"rest")
    assert connection.sent.endswith(b"\r\n\r\nhalfrest")


def test_places_are_given_back_whatever_happens():
    end = Endpoint("a")
    upstream = Upstream(end, room=1, queue=1)
    first, _ = fetch(upstream)
    second, told = fetch(upstream)
    third, refused = fetch(upstream)
    first.start()
    second.start()
    third.start()
    assert (refused.error, upstream.waiting) == ("connection_limit_reached", [second])
    first.cancel()
    first.cancel()
    assert (upstream.inside, end.forgotten) == (0, [first])
    upstream.inside += 1
    upstream.waiting.remove(second)
    second.entered()
    assert end.asked[-1] is second
    second.connected(connection := Connection(end))
    second.response_started(OK, Length(0), b"")
    assert (upstream.inside, told.names) == (0, ["response_started"])
    second.cancel()
    assert not connection.cancelled


def test_who_waits_in_vain_is_told_and_who_left_takes_no_place():
    upstream = Upstream(Endpoint("a"), room=0)
    made, sink = fetch(upstream)
    made.start()
    made.no_place()
    assert (sink.error, upstream.waiting) == ("connection_limit_reached", [])
    upstream.inside += 1
    made.entered()
    assert upstream.inside == 0


def test_cancelling_an_attempt_drops_its_connection():
    end = Endpoint("a")
    upstream = Upstream(end)
    made, sink = fetch(upstream)
    made.start()
    made.connected(connection := Connection(end))
    made.cancel()
    assert connection.cancelled
    assert (upstream.inside, sink.names) == (0, [])
