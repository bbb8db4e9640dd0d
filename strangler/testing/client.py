# SPDX-License-Identifier: Apache-2.0
"""A client that sends bytes as they are given and reads answers as strictly as the RFC allows."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from strangler.testing.messages import (
    Closed,
    Message,
    Reader,
    Response,
    Truncated,
    Violation,
    _text,
    build,
)

Address = tuple[str, int] | str
"""(host, port), or the path of a unix socket."""


class RawClient:
    """One connection to a server under test.

    Args:
        address: where to connect.
        timeout: seconds that any read may wait.
        tls: a client context, for https; server_name: the name to ask and check for.
        receive_buffer: SO_RCVBUF in bytes, for slow readers.
        keep: bytes of each response to keep; the rest is counted and dropped.

    Attributes:
        reader: the strict reading; `reader.partial` is a response under way.
        refused_bytes: whether the other side closed while this one still sent.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout: float = 40.0,
        tls: ssl.SSLContext | None = None,
        server_name: str = "www.example.com",
        receive_buffer: int | None = None,
        keep: int = 1 << 24,
    ) -> None:
        self.timeout = timeout
        self.refused_bytes = False
        self.host = server_name
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if not isinstance(address, str) and ":" in address[0]:
            family = socket.AF_INET6
        sock = socket.socket(family)
        try:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.settimeout(timeout)
            sock.connect(address)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = tls.wrap_socket(sock, server_hostname=server_name) if tls else sock
        except BaseException:
            sock.close()
            raise
        self.reader = Reader("response", keep=keep)
        self.ended = False
        self.was_reset = False

    # -- sending

    def send(self, *pieces: bytes | str) -> Self:
        """Send *pieces* as they are; a server that no longer listens is noted, not raised."""
        try:
            for piece in pieces:
                self.sock.sendall(_text(piece))
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.refused_bytes = True
        return self

    def request(
        self,
        method: str,
        target: str | bytes,
        fields: Iterable[tuple[str | bytes, str | bytes]] = (),
        body: bytes | str | None = None,
        *,
        version: str = "HTTP/1.1",
    ) -> Response:
        """Send one request with Host and, for a *body*, Content-Length; return the response."""
        self.send(build(method, target, fields, body, host=self.host, version=version))
        return self.read(method)

    def get(self, target: str | bytes, **fields: str) -> Response:
        """GET *target*; *fields* as name with underscores for dashes."""
        return self.request("GET", target, [(k.replace("_", "-"), v) for k, v in fields.items()])

    # -- reading

    def _pump(self, deadline: float) -> bool:
        """Read once; return False at the end of the stream. Raises TimeoutError."""
        if self.ended:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            self.was_reset = True
            data = b""
        except ssl.SSLEOFError:
            data = b""
        if data:
            self.reader.feed(data)
            return True
        self.ended = True
        return False

    def read(self, method: str = "GET", *, timeout: float | None = None) -> Response:
        """Return the next final response, which answers *method*.

        Raises Violation where it cannot be read, Truncated where the connection ended inside
        it, Closed where it ended before, TimeoutError.
        """
        reader = self.reader
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        reader.expect(method)
        while not reader.messages:
            if reader.broken:
                raise Violation(reader.broken)
            if not self._pump(deadline):
                self._end()
        message = reader.messages.popleft()
        assert isinstance(message, Response)
        return message

    def _end(self) -> None:
        """Judge the end of the stream, which came with no whole message waiting."""
        reader = self.reader
        partial: Message | None = reader.partial
        # A reset is not an orderly end, not even for content that the end delimits.
        if partial is not None and (self.was_reset or partial.framing != "close"):
            raise Truncated(partial, "reset" if self.was_reset else "closed")
        reader.eof()
        if not reader.messages:
            if reader._buffer:
                raise Violation(f"the stream ended in a head: {bytes(reader._buffer[:200])!r}")
            raise Closed("reset" if self.was_reset else "closed without an answer")

    def read_head(self, method: str = "GET", *, timeout: float | None = None) -> Response:
        """Wait until a final response's head is there; return it with what came of its content."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self.reader.expect(method)
        while self.reader.partial is None and not self.reader.messages:
            if self.reader.broken:
                raise Violation(self.reader.broken)
            if not self._pump(deadline):
                self._end()
        message = self.reader.partial or self.reader.messages[0]
        assert isinstance(message, Response)
        return message

    def read_interim(self, *, timeout: float | None = None) -> Response:
        """Wait for the next 1xx response and return it."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not self.reader._informational:
            if self.reader.broken or self.reader.partial or self.reader.messages:
                raise Violation("a final response where an interim one was awaited")
            if not self._pump(deadline):
                raise Closed("closed without an interim response")
        return self.reader._informational.pop(0)

    def read_content(self, size: int, *, timeout: float | None = None) -> bytes:
        """Wait until at least *size* bytes of the response under way came; return all so far.

        Raises as `read` does, and Closed where the response is whole with fewer.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            message = self.reader.partial or (self.reader.messages and self.reader.messages[-1])
            if message and message.length >= size:
                return bytes(message.body)
            if not self._pump(deadline):
                self._end()
                length = self.reader.messages[-1].length
                if length < size:
                    raise Closed(f"the content ended with {length} of {size} bytes")

    def read_tunnel(self, size: int, *, timeout: float | None = None) -> bytes:
        """After a 101: wait for *size* bytes of the tunnel and take them."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while len(self.reader.rest) < size:
            if not self._pump(deadline):
                raise Closed(f"the tunnel ended with {bytes(self.reader.rest)!r}")
        taken = bytes(self.reader.rest[:size])
        del self.reader.rest[:size]
        return taken

    def drain(self, *, timeout: float | None = None) -> bytes:
        """Read to the end of the stream; return what was not part of a whole response."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while self._pump(deadline):
            pass
        return bytes(self.reader.rest + self.reader._buffer)

    def expect_closed(self, *, timeout: float = 40.0) -> Self:
        """Assert that the server closes now and sends nothing more."""
        try:
            surplus = self.drain(timeout=timeout)
        except TimeoutError:
            raise AssertionError(f"the connection was still open after {timeout} s") from None
        assert not surplus, f"surplus bytes before the end: {surplus[:200]!r}"
        assert not self.reader.messages, f"surplus responses: {self.reader.messages}"
        return self

    # -- life

    def half_close(self) -> Self:
        """Send FIN and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Leave with RST."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Leave."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def all_taken(clients: Iterable[RawClient], *, timeout: float = 60.0) -> None:
    """Wait until the other side has accepted *clients* and read all they have sent (Linux, IPv4).

    For orders that nobody tells of: whoever has been read is waiting now. Fails after *timeout* s.
    """
    ends = [(one.sock.getsockname()[1], one.sock.getpeername()[1]) for one in clients]
    deadline = time.monotonic() + timeout
    while not _taken(ends):
        assert time.monotonic() < deadline, f"not all was read within {timeout} s"
        time.sleep(0.01)


def _taken(ends: list[tuple[int, int]]) -> bool:
    rows: dict[tuple[int, int], tuple[bool, bool]] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_, inode = line.split()[:10]
        sent, received = (int(each, 16) for each in queues.split(":"))
        ports = int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)
        # A connection that nobody has accepted yet has no inode.
        rows[ports] = not sent, not received and inode != "0"
    nothing = True, True  # who has gone needs no waiting for
    return all(rows.get(end, nothing)[0] and rows.get(end[::-1], nothing)[1] for end in ends)
