# SPDX-License-Identifier: Apache-2.0
"""A scripted TCP origin that records every byte and answers with whatever bytes it is told.

Two threads serve a connection: one reads and records, one plays the script, so a script may
wait while the other side's bytes, or its leaving, are still seen.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import queue
import select
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from strangler.testing.messages import Message, Reader, Request, _text, chunked

Step = bytes | Callable[["Connection"], None]
"""What a script is made of: bytes to send, or a call on the connection."""
When = Literal["connect", "head", "end"]

WAIT = 60.0
"""Seconds after which any wait of the kit gives up."""


class Gone(Exception):
    """A script went on after the connection had ended; it ends the script quietly."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Steps, and when they are played: on connect, when the head is whole, or at the end."""

    steps: tuple[Step, ...]
    when: When = "end"


class Connection:
    """One accepted connection: what came, and what may be done to it.

    Attributes:
        received: every byte so far, up to the origin's *keep*.
        reader: the strict reading of those bytes; `reader.broken` names a breach.
        requests: each request, from its head on.
        request: the request that the script being played answers.
        gone: set when the peer has closed or reset the connection.
        gone_at: time.monotonic() of that, or None.
        was_reset: whether it ended with a reset.
    """

    def __init__(self, origin: RawUpstream, sock: socket.socket) -> None:
        self.origin = origin
        self.sock = sock
        self.received = bytearray()
        self.requests: list[Request] = []
        self.request: Request | None = None
        self.gone = threading.Event()
        self.gone_at: float | None = None
        self.was_reset = False
        self.reading = threading.Event()
        self.reading.set()
        self.reader = Reader("request", keep=origin.keep, on_head=self._on_head)
        self._jobs: queue.SimpleQueue[tuple[Answer, Request | None] | None] = queue.SimpleQueue()
        self._ends: deque[tuple[Request, Answer]] = deque()
        self._closed = False
        self._lock = threading.Lock()
        self._io = threading.Lock()
        self.threads = [
            threading.Thread(target=self._read, daemon=True, name="origin-read"),
            threading.Thread(target=self._play, daemon=True, name="origin-play"),
        ]

    # -- for scripts

    def send(self, data: bytes) -> None:
        """Send *data* whole; raises Gone where nobody takes it."""
        try:
            with self._io if isinstance(self.sock, ssl.SSLSocket) else contextlib.nullcontext():
                self.sock.sendall(data)
        except (OSError, ValueError) as error:
            raise Gone from error

    def close(self) -> None:
        """Close both ways, politely (FIN)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(OSError, ValueError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.reading.set()

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST, what was not yet read is lost."""
        with contextlib.suppress(OSError, ValueError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._lock:
            self._closed = True
        # close() alone would wait for the reader thread's recv to return.
        with contextlib.suppress(OSError, ValueError):
            self.sock.shutdown(socket.SHUT_RD)
        self.threads[0].join(WAIT)
        with contextlib.suppress(OSError):
            self.sock.close()

    def wait_gone(self, timeout: float = WAIT) -> float:
        """Return the seconds until the peer left; fails after *timeout*."""
        start = time.monotonic()
        assert self.gone.wait(timeout), f"the proxy held its connection for over {timeout} s"
        return time.monotonic() - start

    # -- the two threads

    def _on_head(self, message: Message) -> None:
        assert isinstance(message, Request)
        answer = self.origin._choose(message)
        self.requests.append(message)
        if answer.when == "head":
            self._jobs.put((answer, message))
        else:
            self._ends.append((message, answer))
        self.origin._note(message)

    def _read(self) -> None:
        try:
            while True:
                self.reading.wait()
                data = self._receive()
                if not data:
                    break
                room = self.origin.keep - len(self.received)
                if room > 0:
                    self.received += data[:room]
                self.reader.feed(data)
                while self._ends and self._ends[0][0].complete:
                    request, answer = self._ends.popleft()
                    self._jobs.put((answer, request))
                if self.reader.broken:
                    self._jobs.put((Answer((b"HTTP/1.1 400 Broken\r\n\r\n", close())), None))
                with self.origin._changed:
                    self.origin._changed.notify_all()
        except (ConnectionResetError, ssl.SSLError):
            self.was_reset = True
        except (OSError, ValueError):
            pass
        self.reader.eof()
        self.gone_at = time.monotonic()
        self.gone.set()
        self._jobs.put(None)
        with self.origin._changed:
            self.origin._changed.notify_all()

    def _receive(self) -> bytes:
        sock = self.sock
        if not isinstance(sock, ssl.SSLSocket):
            return sock.recv(1 << 18)
        # One SSL object must not be read and written at the same time.
        if not sock.pending():
            select.select([sock], [], [])
        with self._io:
            return sock.recv(1 << 18)

    def _play(self) -> None:
        if self.origin._greeting is not None:
            self._jobs.put((self.origin._greeting, None))
        while (job := self._jobs.get()) is not None:
            answer, self.request = job
            try:
                for step in answer.steps:
                    if isinstance(step, bytes):
                        self.send(step)
                    else:
                        step(self)
            except Gone:
                break
            except Exception as error:
                self.origin.faults.append(error)
                break
            if self.request is not None and b"close" in self.request.tokens("connection"):
                self.half_close()
        self.close()


# -- steps


def close() -> Step:
    """Close the connection."""
    return Connection.close


def half_close() -> Step:
    """Send FIN, go on reading."""
    return Connection.half_close


def reset() -> Step:
    """Reset the connection (SO_LINGER 0)."""
    return Connection.reset


def wait(event: threading.Event, timeout: float = WAIT) -> Step:
    """Wait for *event*, or for the peer to leave."""

    def step(connection: Connection) -> None:
        end = time.monotonic() + timeout
        while not event.wait(0.02):
            if connection.gone.is_set() or time.monotonic() > end:
                raise Gone

    return step


def hang() -> Step:
    """Say nothing until the peer leaves."""

    def step(connection: Connection) -> None:
        connection.gone.wait()

    return step


def pause(seconds: float) -> Step:
    """Wait *seconds*, less if the peer leaves: for scripts whose subject is time itself."""

    def step(connection: Connection) -> None:
        connection.gone.wait(seconds)

    return step


def trickle(data: bytes, every: float, size: int = 1) -> Step:
    """Send *data* in pieces of *size* bytes, *every* seconds apart."""

    def step(connection: Connection) -> None:
        for start in range(0, len(data), size):
            connection.send(data[start : start + size])
            if connection.gone.wait(every):
                raise Gone

    return step


def endless(piece: bytes, limit: int = 1 << 34) -> Step:
    """Send *piece* again and again, up to *limit* bytes, until the peer leaves."""

    def step(connection: Connection) -> None:
        for _ in range(limit // len(piece)):
            connection.send(piece)

    return step


def echo() -> Step:
    """Become a tunnel that sends back what comes (after an upgrade was accepted)."""

    def step(connection: Connection) -> None:
        connection.reader.tunnel()
        sent = 0
        while not connection.gone.is_set():
            rest = connection.reader.rest
            if len(rest) > sent:
                piece = bytes(rest[sent:])
                sent += len(piece)
                connection.send(piece)
            else:
                with connection.origin._changed:
                    connection.origin._changed.wait(0.05)

    return step


def respond(
    status: int = 200,
    body: bytes | str = b"ok",
    fields: Iterable[tuple[str, str]] = (),
    *,
    reason: str = "OK",
    chunks: bool = False,
) -> Step:
    """Answer as a well-behaved server would: framed, without content to HEAD, 204 and 304."""

    def step(connection: Connection) -> None:
        content = _text(body)
        request = connection.request
        bodiless = status in (204, 304)
        head = [b"HTTP/1.1 %d %s" % (status, _text(reason))]
        head += [_text(f"{name}: {value}") for name, value in fields]
        if chunks and not bodiless:
            head.append(b"Transfer-Encoding: chunked")
            content = chunked(content) if content else chunked()
        elif not bodiless:
            head.append(b"Content-Length: %d" % len(content))
        if bodiless or (request is not None and request.method == b"HEAD"):
            content = b""
        connection.send(b"\r\n".join(head) + b"\r\n\r\n" + content)

    return step


class RawUpstream:
    """Listen, record, and answer each request with a script.

    The answer to a request is, in this order: the script given for its path (`on`), the next of
    `then`, the last that was given by `answers` or `then`. Without any it is a 200 with "ok".

    Args:
        steps: the first answer, as for `answers`.
        host: address to listen on; port: 0 chooses one.
        unix: True listens on a unix socket instead.
        tls: a server context, for https.
        keep: bytes to keep of each connection and message.
        receive_buffer: SO_RCVBUF of accepted connections, for slow origins.
        backlog: of the listening socket.

    Attributes:
        connections: every connection accepted, in order.
        faults: exceptions from scripts; `stop` raises the first.
    """

    def __init__(
        self,
        *steps: Step,
        host: str = "127.0.0.1",
        port: int = 0,
        unix: bool = False,
        tls: ssl.SSLContext | None = None,
        keep: int = 1 << 24,
        receive_buffer: int | None = None,
        backlog: int = 1024,
    ) -> None:
        self.keep = keep
        self.tls = tls
        self.connections: list[Connection] = []
        self.faults: list[BaseException] = []
        self._last = Answer(steps or (respond(),))
        self._next: deque[Answer] = deque()
        self._paths: dict[bytes, Answer] = {}
        self._greeting: Answer | None = None
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._stopping = False
        self.path: str | None = None
        if unix:
            self._folder = tempfile.TemporaryDirectory(prefix="origin-")
            self.path = os.path.join(self._folder.name, "s")
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(self.path)
            self.host, self.port = "unix", 0
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.socket(family)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer is not None:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._listener.bind((host, port))
            self.host, self.port = host, self._listener.getsockname()[1]
        self._listener.listen(backlog)
        self._thread = threading.Thread(target=self._accept, daemon=True, name="origin-accept")
        self._thread.start()

    # -- where it is

    @property
    def address(self) -> str:
        """Return host:port as a Host field would name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the URL for an upstream's `url:`."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{'https' if self.tls else 'http'}://{self.address}"

    # -- scripts

    def answers(self, *steps: Step, when: When = "end") -> Self:
        """Answer from now on with *steps*; forgets what `then` had queued."""
        self._next.clear()
        self._last = Answer(steps, when)
        return self

    def then(self, *steps: Step, when: When = "end") -> Self:
        """After the answer before, once: answer with *steps*, and so on from there."""
        if not self._next:
            self._next.append(self._last)
        self._next.append(Answer(steps, when))
        return self

    def on(self, path: str | bytes, *steps: Step, when: When = "end") -> Self:
        """Answer requests for *path* (raw, without the query) with *steps*, always."""
        self._paths[_text(path)] = Answer(steps, when)
        return self

    def greets(self, *steps: Step) -> Self:
        """Play *steps* as soon as a connection is accepted."""
        self._greeting = Answer(steps, "connect")
        return self

    def _choose(self, request: Request) -> Answer:
        with self._changed:
            answer = self._paths.get(request.path)
            if answer is None:
                if self._next:
                    self._last = self._next.popleft()
                answer = self._last
            return answer

    def _note(self, request: Request) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    # -- what was seen

    @property
    def requests(self) -> Sequence[Request]:
        """Return every request so far, in order of their heads' arrival."""
        with self._changed:
            return tuple(self._requests)

    @property
    def received(self) -> bytes:
        """Return all bytes of all connections, one after the other."""
        return b"".join(bytes(each.received) for each in self.connections)

    @property
    def violations(self) -> list[str]:
        """Return every breach seen in what the proxy sent."""
        found = [each.reader.broken for each in self.connections if each.reader.broken]
        return found + [fault for request in self.requests for fault in request.violations]

    def wait_requests(self, count: int, timeout: float = WAIT) -> Sequence[Request]:
        """Wait until *count* requests have come whole; fails after *timeout* seconds."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(each.complete for each in self._requests) >= count, timeout
            ), f"expected {count} requests, got {self._requests}"
            return tuple(self._requests)

    def wait_head(self, count: int = 1, timeout: float = WAIT) -> Request:
        """Wait until the head of the *count*-th request has come; return that request."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._requests) >= count, timeout), (
                f"expected {count} heads, got {self._requests}"
            )
            return self._requests[count - 1]

    def wait_connections(self, count: int, timeout: float = WAIT) -> Sequence[Connection]:
        """Wait until *count* connections were accepted."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.connections) >= count, timeout), (
                f"expected {count} connections, got {len(self.connections)}"
            )
            return tuple(self.connections)

    def expect_requests(self, count: int, *, path: str | bytes | None = None) -> Self:
        """Assert that exactly *count* requests came (to *path*), none of them malformed."""
        wanted = None if path is None else _text(path)
        seen = [each for each in self.requests if wanted is None or each.path == wanted]
        assert len(seen) == count, f"expected {count} requests, got {seen}"
        assert not self.violations, self.violations
        return self

    def forget(self) -> Self:
        """Forget the requests and closed connections of the past; scripts stay."""
        with self._changed:
            self._requests.clear()
            self.connections[:] = [each for each in self.connections if not each.gone.is_set()]
        return self

    # -- life

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            if self.tls is None:
                self._serve(sock)
            else:
                threading.Thread(target=self._handshake, args=(sock,), daemon=True).start()

    def _handshake(self, sock: socket.socket) -> None:
        assert self.tls is not None
        try:
            sock.settimeout(WAIT)
            wrapped = self.tls.wrap_socket(sock, server_side=True)
            wrapped.settimeout(None)
        except OSError:
            sock.close()
            return
        self._serve(wrapped)

    def _serve(self, sock: socket.socket) -> None:
        if self.path is None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, sock)
        with self._changed:
            self.connections.append(connection)
            self._changed.notify_all()
        for thread in connection.threads:
            thread.start()
        threading.Thread(target=self._reap, args=(connection,), daemon=True).start()

    @staticmethod
    def _reap(connection: Connection) -> None:
        for thread in connection.threads:
            thread.join()
        connection.sock.close()

    def refuse(self) -> None:
        """Stop listening and drop every connection: the port refuses from now on."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT)
        for connection in list(self.connections):
            connection.close()

    def stop(self) -> None:
        """Close everything; raises the first fault of a script."""
        self.refuse()
        for connection in list(self.connections):
            for thread in connection.threads:
                thread.join(WAIT)
            connection.sock.close()
        if self._folder is not None:
            self._folder.cleanup()
        if self.faults:
            raise self.faults[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Upstream(RawUpstream):
    """A friendlier origin: answers are given as status, content and fields.

    `Upstream().reply(200, "v1", cache_control="max-age=1").then_reply(503)`
    """

    def reply(
        self,
        status: int = 200,
        body: bytes | str = b"ok",
        *,
        on: str | bytes | None = None,
        fields: Iterable[tuple[str, str]] = (),
        chunks: bool = False,
        **named: str,
    ) -> Self:
        """Answer everything, or path *on*, with a well-formed response."""
        step = respond(status, body, _fields(fields, named), chunks=chunks)
        return self.answers(step) if on is None else self.on(on, step)

    def then_reply(
        self,
        status: int = 200,
        body: bytes | str = b"ok",
        *,
        fields: Iterable[tuple[str, str]] = (),
        chunks: bool = False,
        **named: str,
    ) -> Self:
        """After the answer before, answer with this one."""
        return self.then(respond(status, body, _fields(fields, named), chunks=chunks))


def _fields(fields: Iterable[tuple[str, str]], named: dict[str, str]) -> list[tuple[str, str]]:
    return [*fields, *((name.replace("_", "-"), value) for name, value in named.items())]


def unused_port() -> int:
    """Return a port on 127.0.0.1 that refuses connections now, below the ephemeral range.

    No process gets another's: what is chosen stays free until whoever chose it listens there.
    """
    first = _block()
    for _ in range(_BLOCK):
        port = first + next(_steps) % _BLOCK
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {first} and {first + _BLOCK}")


#: Ports in a process's own block, and how many blocks there are from 20000 on.
_BLOCK: Final = 600
_BLOCKS: Final = 20
_steps = itertools.count()


@functools.cache
def _block() -> int:
    """Return the first port of a block that is this process's until it ends."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in range(_BLOCKS):
        with contextlib.suppress(OSError):
            claim.bind(f"\0strangler.testing.ports.{number}")
            atexit.register(claim.close)
            return 20000 + number * _BLOCK
    claim.close()
    return 20000 + os.getpid() % _BLOCKS * _BLOCK  # more processes than blocks: share one


@contextlib.contextmanager
def black_hole(port: int = 0) -> Iterator[int]:
    """Yield a port on 127.0.0.1 whose accept queue is full: connects to it hang (Linux).

    port: which; 0 chooses one.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
