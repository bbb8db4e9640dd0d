# SPDX-License-Identifier: Apache-2.0
"""What a connection does, call by call, on a transport that records instead of sending."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
import uvloop

from strangler.clock import Ticker
from strangler.config.snapshot import Limits
from strangler.edge.http1 import Connection
from strangler.edge.server import Server
from strangler.errors import RequestRejected

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


class Transport(asyncio.Transport):
    """Records; sends nothing until told (`room`: bytes that the reader takes)."""

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__({"peername": ("192.0.2.1", 5), "sslcontext": object() if tls else None})
        self.sent = b""
        self.queued = 0
        self.reading = True
        self.closing = False
        self.eof = False
        self.aborted = False
        self.tls = tls

    def get_extra_info(self, name, default=None):
        if name == "socket":
            return self
        return super().get_extra_info(name, default)

    def fileno(self) -> int:
        raise OSError

    def setsockopt(self, *args: object) -> None:
        self.reset = True

    def write(self, data):
        assert not self.closing
        assert not self.eof
        self.sent += bytes(data)

    def get_write_buffer_size(self):
        return self.queued

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def can_write_eof(self):
        return not self.tls

    def write_eof(self):
        self.eof = True

    def close(self):
        self.closing = True

    def abort(self):
        self.closing = self.aborted = True


class App:
    """Notes what it is told; answers when the test says so."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.connection: Connection | None = None
        self.at_once = False
        self.known = {}

    def request(self, connection, head):
        self.connection = connection
        self.told.append(head.target)
        if self.at_once:
            self.answer()
            return None
        return self

    def reject(self, connection, error, start):
        return b"%d!" % error.status

    def answer(self) -> None:
        assert self.connection is not None
        self.connection.write(b"A")
        self.connection.response_ended()

    def body_received(self, data):
        self.told.append(data)

    def body_ended(self, trailers):
        self.told.append(("end", trailers))

    def body_failed(self, error: RequestRejected):
        self.told.append(error.status)

    def client_gone(self):
        self.told.append("gone")

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")

    def raw_received(self, data):
        self.told.append(("raw", data))

    def raw_ended(self):
        self.told.append("raw end")


class Scene:
    """One connection, its application, and a clock that the test moves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, tls: bool = False, **limits: float):
        self.loop = loop
        self.app = App()
        self.ticker = Ticker(loop)

        async def make() -> Server:
            return Server(self.app, limits=Limits(**limits), ticker=self.ticker)

        self.server = loop.run_until_complete(make())
        self.transport = Transport(tls=tls)
        self.connection = self.server.protocol()
        self.connection.connection_made(self.transport)

    def feed(self, *pieces: bytes) -> Scene:
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def turn(self) -> None:
        """Let what was called soon be called."""
        self.loop.run_until_complete(asyncio.sleep(0))

    def expire(self, seconds: float) -> None:
        """Let every limit strike, once, that would within *seconds*."""
        for waits in self.server.all_waits:
            if self.connection in waits and waits.seconds < seconds:
                waits.end(self.connection)
                waits._expired(self.connection)

    @property
    def waiting(self) -> set[str]:
        """Return what may end the connection: while a request runs, the idle wait doesn't."""
        names = ("idle", "head", "body", "write", "linger", "tunnel")
        found = {n for n in names if self.connection in getattr(self.server, f"waits_{n}")}
        return found - {"idle"} if self.connection.busy else found


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def scene(loop):
    made = Scene(loop)
    yield made
    made.ticker.stop()


def test_a_request_and_its_answer_and_the_next(scene):
    assert scene.waiting == {"idle"}
    scene.feed(GET % 1)
    assert scene.waiting == set()
    scene.app.answer()
    assert scene.waiting == {"idle"}
    scene.feed(GET % 2)
    scene.app.answer()
    assert (scene.app.told, scene.transport.sent) == ([b"/1", b"/2"], b"AA")


def test_a_pipeline_runs_one_at_a_time(scene):
    scene.feed(b"".join(GET % n for n in range(3)))
    assert scene.app.told == [b"/0"]
    scene.app.answer()
    assert scene.app.told == [b"/0"]
    scene.turn()
    assert scene.app.told == [b"/0", b"/1"]
    scene.feed(GET % 9)
    scene.app.answer()
    scene.turn()
    scene.app.answer()
    scene.turn()
    assert scene.app.told == [b"/0", b"/1", b"/2", b"/9"]
    scene.app.answer()
    scene.turn()
    assert scene.waiting == {"idle"}


def test_answers_at_once_do_not_nest(scene):
    scene.app.at_once = True
    scene.feed(b"".join(GET % n for n in range(500)))
    for _ in range(500):
        scene.turn()
    assert scene.transport.sent == b"A" * 500


def test_a_pipeline_waits_while_its_reader_takes_nothing(scene):
    scene.feed(GET % 1, GET % 2)
    scene.connection.pause_writing()
    scene.app.answer()
    scene.turn()
    assert scene.app.told == [b"/1", "pause"]
    assert scene.waiting == {"write"}
    scene.connection.resume_writing()
    scene.turn()
    assert scene.app.told[-1] == b"/2"


def test_a_long_pipeline_is_not_read_ahead_without_bound(scene):
    scene.feed(GET % 1)
    scene.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30000 + b"\r\n\r\n")
    assert scene.transport.reading
    scene.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000 + b"\r\n\r\n")
    assert not scene.transport.reading
    scene.app.answer()
    scene.turn()
    assert scene.transport.reading


def test_a_body_that_is_complete_is_not_waited_with(scene):
    """What would let it go on again is its own end, which has passed."""
    scene.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
    scene.connection.pause_reading()
    assert scene.transport.reading
    scene.app.answer()
    scene.feed(GET % 2)
    assert scene.app.told[-1] == b"/2"


def test_an_upstream_that_has_caught_up_does_not_let_in_what_is_held(scene):
    body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    scene.feed(body + b"x" * 70_000)
    assert not scene.transport.reading
    scene.connection.resume_reading()
    assert not scene.transport.reading


def test_nothing_behind_a_close_is_executed(scene):
    scene.feed(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % 2)
    scene.app.answer()
    scene.turn()
    assert scene.app.told == [b"/1"]
    assert scene.transport.eof
    scene.feed(GET % 3)
    assert scene.app.told == [b"/1"]
    scene.expire(3)
    assert scene.transport.closing


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_content_comes_however_it_is_cut(scene, size):
    data = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GET % 2
    scene.feed(*[data[at : at + size] for at in range(0, len(data), size)])
    told = scene.app.told
    assert b"".join(each for each in told[1:-1]) == b"hello"
    assert told[-1] == ("end", b"")
    scene.app.answer()
    scene.turn()
    assert told[-1] == b"/2"


def test_an_answer_before_the_content_ends_the_connection_softly(scene):
    scene.feed(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nhello")
    assert scene.connection.reading_body
    scene.app.answer()
    assert scene.transport.eof
    assert scene.waiting == {"linger"}
    scene.feed(b"x" * 495, GET % 2)
    assert scene.app.told == [b"/p", b"hello"]


def test_malformed_content_is_told_once(scene):
    scene.feed(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert scene.app.told == [b"/p", 400]
    assert scene.waiting == set()


def test_content_that_stops_is_told_and_standing_still_is_not_its_fault(scene):
    scene.feed(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n")
    assert scene.waiting == {"body"}
    scene.connection.pause_reading()
    assert scene.waiting == set()
    scene.connection.resume_reading()
    scene.expire(31)
    assert scene.app.told == [b"/p", 408]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", b"417"),
        (b"\x16\x03\x01", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\n", b"400"),
        (b"GET /" + b"x" * 20000, b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 300 + b"\r\n", b"431"),
    ],
    ids=range(8),
)
def test_what_is_refused_ends_the_connection(scene, data, status):
    scene.feed(data)
    assert scene.transport.sent == status + b"!"
    assert scene.transport.eof
    assert scene.app.told == []
    assert scene.waiting == {"linger"}


def test_a_bug_in_the_application_is_one_readers_500(scene, caplog):
    scene.app.request = lambda connection, head: 1 / 0
    scene.feed(GET % 1)
    assert scene.transport.sent == b"500!"
    assert "ZeroDivisionError" in caplog.text


def test_the_limits_of_a_head(scene):
    scene.feed(b"GET / HTTP/1.1\r\n")
    assert scene.waiting == {"head"}
    scene.feed(b"Host: a\r\n")
    scene.expire(11)
    assert scene.transport.sent == b"408!"


def test_an_idle_connection_is_closed_without_a_word(scene):
    scene.expire(76)
    assert scene.transport.closing
    assert scene.transport.sent == b""


@pytest.mark.parametrize("pieces", [(b"\r\n",), (b"\r", b"\n")])
def test_an_empty_line_before_a_request_is_read_over(scene, pieces):
    for number in (1, 2, 2):  # the last is known, byte for byte
        scene.feed(*pieces)
        assert scene.waiting == {"idle"}
        scene.feed(GET % number)
        assert scene.app.told[-1] == b"/%d" % number
        scene.app.answer()
        scene.turn()
    assert b"400!" not in scene.transport.sent


@pytest.mark.parametrize(
    "pieces",
    [
        (b"\r\n\r\n",),
        (b"\r\n", b"\r\n"),
        (b"\r\n\r", b"\n"),
        (b"\r", b"\n\r", b"\n"),
        (b"\r\n", b"\r\n" + GET % 1),
        (b"\r\n\r\n" + GET % 1,),
    ],
)
def test_one_empty_line_is_enough_however_they_come(scene, pieces):
    scene.feed(*pieces)
    assert scene.transport.sent == b"400!"
    assert scene.app.told == []


def test_an_empty_line_behind_a_request_leaves_an_idle_connection(scene):
    scene.feed(GET % 1 + b"\r\n")
    scene.app.answer()
    scene.turn()
    assert scene.waiting == {"idle"}


def test_new_limits_move_waits_under_way(scene):
    scene.server.set_limits(Limits(idle_timeout=5.0))
    assert scene.waiting == {"idle"}
    scene.expire(4)
    assert not scene.transport.closing
    scene.expire(6)
    assert scene.transport.closing


def test_new_limits_do_not_leave_old_ones_behind(scene):
    before = scene.server.waits_idle
    scene.server.set_limits(Limits(idle_timeout=5.0))
    scene.feed(GET % 1)
    assert len(before) == 0
    scene.app.answer()
    assert scene.waiting == {"idle"}


def test_an_idle_wait_that_ends_while_a_request_runs_begins_anew(scene):
    scene.feed(GET % 1)
    scene.expire(1000)
    assert not scene.transport.closing
    scene.app.answer()
    assert scene.waiting == {"idle"}
    scene.expire(1000)
    assert scene.transport.closing


def test_a_head_in_pieces_leaves_an_idle_connection(scene):
    scene.feed((GET % 1)[:8], (GET % 1)[8:])
    scene.app.answer()
    assert scene.waiting == {"idle"}


def test_a_reader_that_takes_nothing_is_reset_even_while_closing(scene):
    scene.feed(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    scene.transport.queued = 1
    scene.app.answer()
    assert scene.transport.closing
    assert scene.waiting == {"write"}
    scene.expire(61)
    assert scene.transport.aborted
    assert scene.server.slow_readers == 1


def test_a_reader_that_takes_a_little_has_its_time_anew(scene):
    scene.feed(GET % 1)
    scene.connection.write(b"x" * 100)
    scene.transport.queued = 100
    scene.connection.pause_writing()
    scene.transport.queued = 99
    scene.expire(61)
    assert not scene.transport.aborted
    assert scene.waiting == {"write"}
    scene.expire(61)
    assert scene.transport.aborted


def test_a_half_closed_reader_gets_its_answer(scene):
    scene.feed(GET % 1)
    assert scene.connection.eof_received() is True
    scene.app.answer()
    assert scene.transport.closing
    assert not scene.transport.aborted


def test_a_half_closed_reader_that_hears_nothing_counts_as_gone(scene):
    scene.feed(GET % 1 + GET % 2)
    scene.connection.eof_received()
    scene.app.answer()
    scene.turn()
    assert scene.app.told == [b"/1", b"/2"]
    scene.connection._still_there(scene.connection.written)
    assert not scene.transport.aborted
    scene.loop.run_until_complete(asyncio.sleep(0.6))
    assert scene.transport.aborted


def test_a_late_loop_does_not_take_its_own_silence_for_a_half_closed_readers():
    """The answer has come while the loop was busy; its clocks are looked at before it is read."""
    loop = uvloop.new_event_loop()
    scene = Scene(loop)
    scene.feed(GET % 1)

    async def story() -> None:
        with contextlib.ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair())
            work, order = map(stack.enter_context, socket.socketpair())

            def busy() -> None:
                loop.remove_reader(work)
                theirs.send(b"x")
                time.sleep(0.7)

            loop.add_reader(work, busy)
            loop.add_reader(ours, lambda: (loop.remove_reader(ours), scene.app.answer()))
            assert scene.connection.eof_received() is True
            order.send(b"x")
            await asyncio.sleep(0.1)

    loop.run_until_complete(story())
    assert scene.transport.sent == b"A"
    assert not scene.transport.aborted
    scene.ticker.stop()
    loop.close()


def test_a_half_closed_reader_whose_answers_come_is_there(scene):
    scene.feed(GET % 1)
    scene.connection.eof_received()
    before = scene.connection.written
    scene.connection.write(b"part")
    scene.connection._still_there(before)
    assert not scene.transport.aborted


@pytest.mark.parametrize("data", [b"", b"GET / HT", GET % 1])
def test_tls_has_no_half(loop, data):
    scene = Scene(loop, tls=True)
    scene.feed(data) if data else None
    assert not scene.connection.eof_received()
    scene.ticker.stop()


def test_an_idle_or_sending_reader_that_closes_is_let_go(scene):
    assert not scene.connection.eof_received()
    scene.feed(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n")
    assert not scene.connection.eof_received()


def test_a_lost_connection_tells_and_leaves_nothing(scene):
    scene.feed(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n")
    scene.connection.connection_lost(None)
    assert scene.app.told == [b"/p", "gone"]
    assert scene.waiting == set()
    assert scene.server.open == set()
    scene.connection.abort()
    assert not scene.transport.aborted


def tunnelled(scene: Scene, ahead: bytes = b"") -> bytes:
    scene.feed(b"GET /t HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + ahead)
    early: bytes = scene.connection.start_tunnel()
    return early


def test_a_tunnel_takes_bytes_as_they_come(scene):
    assert tunnelled(scene, b"early") == b"early"
    scene.feed(b"GET", b" / HTTP/9\n\n")
    assert scene.app.told[1:] == [("raw", b"GET"), ("raw", b" / HTTP/9\n\n")]
    scene.expire(3601)
    assert scene.transport.closing


def test_a_tunnel_ends_when_both_its_ways_have(scene):
    tunnelled(scene)
    assert scene.connection.eof_received() is True
    assert scene.app.told[-1] == "raw end"
    scene.connection.write(b"late")
    scene.connection.end_writing()
    assert scene.transport.closing


def test_a_tunnel_ends_the_other_way_round_too(scene):
    tunnelled(scene)
    scene.connection.end_writing()
    assert scene.transport.eof
    assert not scene.transport.closing
    scene.feed(b"late")
    assert scene.connection.eof_received() is False


def test_in_a_drain_who_runs_is_told_to_close_and_who_idles_is_closed(loop):
    scene = Scene(loop)
    scene.feed(GET % 1)
    idle = scene.server.protocol()
    idle.connection_made(other := Transport())
    scene.server.start_drain()
    scene.server.start_drain()
    assert scene.connection.keep_alive is False
    scene.server._close_idle()
    assert other.eof and not other.closing
    idle.data_received(GET % 2)  # it was on its way
    loop.run_until_complete(asyncio.sleep(1.2))
    assert other.closing and not other.sent and scene.app.told == [b"/1"]
    assert not scene.transport.eof and not scene.transport.closing
    scene.app.answer()
    assert scene.transport.closing
    scene.ticker.stop()


def test_an_empty_line_behind_a_promised_answer_leaves_no_connection_open(loop):
    scene = Scene(loop)
    scene.feed(GET % 1)
    scene.connection.write(b"A")
    scene.server.start_drain()
    loop.run_until_complete(asyncio.sleep(1.1))
    scene.feed(b"\r\n")
    scene.connection.response_ended()
    loop.run_until_complete(asyncio.sleep(1.1))
    assert scene.transport.eof
    scene.ticker.stop()


def taking_the_last(loop: asyncio.AbstractEventLoop) -> Scene:
    """Return a connection whose reader has yet to take the last of a promising answer."""
    scene = Scene(loop)
    scene.feed(GET % 1)
    scene.connection.write(b"A")
    scene.connection.pause_writing()
    return scene


@pytest.mark.parametrize("ended", [False, True])
def test_a_slow_reader_who_was_promised_a_kept_connection_has_a_moment_and_no_more(loop, ended):
    scene = taking_the_last(loop)
    if ended:
        scene.connection.response_ended()
    scene.server.start_drain()
    loop.run_until_complete(asyncio.sleep(1.1))  # the moment of who idled when it began
    if not ended:
        scene.connection.response_ended()
    scene.connection.resume_writing()
    scene.turn()
    assert scene.waiting == {"idle"} and not scene.transport.eof
    loop.run_until_complete(asyncio.sleep(1.1))
    assert scene.transport.eof
    scene.ticker.stop()


def test_what_was_promised_before_a_drain_is_one_answer_more(loop):
    scene = taking_the_last(loop)
    scene.connection.response_ended()
    scene.server.start_drain()
    scene.connection.resume_writing()
    scene.turn()
    scene.feed(GET % 2)
    assert not scene.connection.keep_alive
    scene.app.answer()
    assert scene.app.told == [b"/1", "pause", b"/2"]
    assert scene.transport.closing
    scene.ticker.stop()


def test_an_interim_response_promises_nothing(loop):
    scene = Scene(loop)
    scene.feed(GET % 1)
    scene.connection.write_interim(b"100")
    scene.server.start_drain()
    scene.app.answer()
    assert scene.transport.sent == b"100A"
    assert scene.transport.closing
    scene.ticker.stop()


def test_drained_when_the_last_has_gone(loop):
    scene = Scene(loop)
    loop.call_soon(scene.connection.connection_lost, None)
    assert loop.run_until_complete(scene.server.drained(5)) is True
    other = scene.server.protocol()
    other.connection_made(Transport())
    assert loop.run_until_complete(scene.server.drained(0.01)) is False
    scene.server.abort_all()
    scene.ticker.stop()


def test_connections_over_the_limit_are_503_at_once(loop):
    scene = Scene(loop, connections=1)
    late = scene.server.protocol()
    late.connection_made(transport := Transport())
    assert transport.sent == b"503!"
    assert transport.eof
    scene.ticker.stop()


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::1"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::1"),
        ("", "unix"),
        (None, "unix"),
    ],
)
def test_who_the_peer_is(scene, peer, name):
    transport = Transport()
    transport._extra["peername"] = peer
    connection = scene.server.protocol()
    connection.connection_made(transport)
    assert connection.peer == name
