# SPDX-License-Identifier: Apache-2.0
"""Mount a Tornado application on our engine, through Tornado's own public interfaces.

`TornadoApplication` is the engine's application; for each request it makes a `TornadoConnection`,
which is the `tornado.httputil.HTTPConnection` that handlers write to and the receiver that the
engine reports to. After a WebSocket handshake `detach` gives a `DetachedStream`, the part of
`tornado.iostream.IOStream` that Tornado's WebSocket protocol uses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from strangler.errors import RequestRejected
from strangler.wire.framing import chunk, last_chunk
from strangler.wire.head import RequestHead

if TYPE_CHECKING:
    from strangler.edge.application import Known
    from strangler.edge.http1 import Connection

_log = logging.getLogger("strangler.errors")

#: Bytes that a detached stream holds for a reader that doesn't ask for them.
_HELD: Final = 64 << 10


class TornadoApplication:
    """Answer requests by an `HTTPServerConnectionDelegate`, such as a `tornado.web.Application`."""

    def __init__(self, delegate: HTTPServerConnectionDelegate) -> None:
        self._delegate = delegate

    @property
    def known(self) -> Mapping[bytes, Known]:
        """Return nobody: an Application makes each of its answers."""
        return {}

    def request(self, connection: Connection, head: RequestHead) -> TornadoConnection | None:
        """Hand the request to Tornado."""
        request = TornadoConnection(connection, head)
        return request if request.start(self._delegate) else None

    def reject(self, connection: Connection, error: RequestRejected, start: bytes) -> bytes:
        """Return a plain answer."""
        body = f"{error.status} {error.detail}\n".encode()
        return (
            b"HTTP/1.1 %d \r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (error.status, len(body), body)
        )


class _Context:
    """What `HTTPServerRequest` asks of the connection's surroundings."""

    def __init__(self, remote_ip: str, protocol: str) -> None:
        self.remote_ip = remote_ip
        self.protocol = protocol

    def __str__(self) -> str:
        return self.remote_ip


class TornadoConnection(HTTPConnection):
    """One request's two ways: Tornado's HTTPConnection, and the engine's receiver."""

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        self._connection = connection
        self._head = head
        self._delegate: HTTPMessageDelegate | None = None
        self._close_callback: Callable[[], None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._closed = False
        self._ended = False
        self._detached: DetachedStream | None = None
        self._chunked = False
        self._status = 0
        self._left: int | None = None
        self._max_body: int | None = 100 << 20
        self._taken = 0
        self._feeding: asyncio.Task[None] | None = None
        self._input: list[bytes] = []
        self._input_ended = False
        self.context = _Context(connection.peer, "https" if connection.secure else "http")

    # The request, towards Tornado.

    def start(self, application: HTTPServerConnectionDelegate) -> bool:
        """Begin the request on *application*; False: its declared length is over the limit."""
        head = self._head
        headers = HTTPHeaders()
        for name, value in head.fields.pairs():
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        line = RequestStartLine(
            head.method.decode("latin-1"),
            head.rest.decode("latin-1"),
            "HTTP/1.0" if head.version == 10 else "HTTP/1.1",
        )
        self._delegate = application.start_request(self._connection, self)
        waiting = self._delegate.headers_received(line, headers)
        # An asynchronous `prepare` may still raise the limit: then the bytes are counted.
        most = self._max_body if waiting is None and not self._ended else None
        if most is not None and (head.fields.length or 0) > most:
            self.body_failed(RequestRejected(413, "request body: too large"))
            return False
        if head.fields.expect and self._connection.reading_body:
            self._connection.write_interim(b"HTTP/1.1 100 Continue\r\n\r\n")
        if waiting is not None:
            self._feed(waiting)
        if not self._connection.reading_body:
            self.body_ended(b"")
        return True

    def body_received(self, data: bytes) -> None:
        """Pass payload to the delegate, one piece at a time, in its own time."""
        self._taken += len(data)
        if self._max_body is not None and self._taken > self._max_body:
            self.body_failed(RequestRejected(413, "request body: too large"))
            return
        if self._feeding is not None:
            self._input.append(data)
            self._connection.pause_reading()
        elif self._delegate is not None:
            waiting = self._delegate.data_received(data)
            if waiting is not None:
                self._feed(waiting)

    def body_ended(self, trailers: bytes) -> None:
        """Tell the delegate that the request is complete."""
        self._input_ended = True
        if self._feeding is None:
            self._finish_request()

    def body_failed(self, error: RequestRejected) -> None:
        """Answer *error*, where nothing has been answered yet."""
        delegate, self._delegate = self._delegate, None
        if delegate is not None:
            delegate.on_connection_close()
        if self._status == 0:
            self._closed = True
            self._connection.reject(error, b"")
        else:
            self._connection.abort()

    def client_gone(self) -> None:
        """Tell the delegate, the handler and whoever waits to write."""
        self._closed = True
        if self._feeding is not None:
            self._feeding.cancel()
        self._wake()
        callback, self._close_callback = self._close_callback, None
        delegate, self._delegate = self._delegate, None
        if self._detached is not None:
            self._detached.closed_by_peer()
        elif delegate is not None and not self._ended:
            delegate.on_connection_close()
        if callback is not None:
            callback()

    def pause_writing(self) -> None:
        """Make whoever writes wait."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let them go on."""
        self._wake()

    def raw_received(self, data: bytes) -> None:
        """Pass bytes to the detached stream."""
        if self._detached is not None:
            self._detached.received(data)

    def raw_ended(self) -> None:
        """Close a detached stream whose peer sends no more."""
        self._connection.close()

    def _feed(self, waiting: Awaitable[None]) -> None:
        self._feeding = asyncio.ensure_future(self._feed_on(waiting))

    async def _feed_on(self, waiting: Awaitable[None] | None) -> None:
        try:
            while True:
                if waiting is not None:
                    await waiting
                if not self._input or self._delegate is None:
                    break
                waiting = self._delegate.data_received(self._input.pop(0))
        except Exception:
            _log.exception("request.failed")
            self._connection.abort()
            return
        self._feeding = None
        self._connection.resume_reading()
        if self._input_ended:
            self._finish_request()

    def _finish_request(self) -> None:
        delegate, self._delegate = self._delegate, None
        if delegate is not None:
            delegate.finish()

    def _wake(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # The response: tornado.httputil.HTTPConnection.

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Send the head, and *chunk* with it."""
        assert isinstance(start_line, ResponseStartLine)
        status = self._status = start_line.code
        connection = self._connection
        lines = [b"HTTP/1.1 %d %b" % (status, start_line.reason.encode("latin-1"))]
        for name, value in headers.get_all():
            line = f"{name}: {value}".encode("latin-1")
            if b"\n" in line or b"\r" in line:
                raise ValueError(f"illegal characters in header {name!r}")
            lines.append(line)
        empty = self._head.method == b"HEAD" or status in (204, 304) or status < 200
        if "Content-Length" in headers:
            self._left = 0 if empty else int(headers["Content-Length"])
        elif empty:
            self._left = 0
        elif "Transfer-Encoding" not in headers:
            if self._head.version == 11:
                self._chunked = True
                lines.append(b"Transfer-Encoding: chunked")
            else:
                connection.keep_alive = False
        if "close" in headers.get("Connection", "").lower():
            connection.keep_alive = False
        elif not connection.keep_alive:
            lines.append(b"Connection: close")
        elif self._head.version == 10:
            lines.append(b"Connection: keep-alive")
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        return self._send(head + self._framed(chunk or b""))

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Send *chunk* of the body."""
        return self._send(self._framed(chunk))

    def finish(self) -> None:
        """End the answer."""
        if self._closed:
            return
        self._ended = True
        if self._left:
            self._connection.abort()
            raise ValueError(f"tried to finish with {self._left} bytes still to be written")
        if self._chunked:
            self._connection.write(last_chunk())
        if self._status == 101:
            return
        delegate, self._delegate = self._delegate, None
        self._closed = True
        self._connection.response_ended()
        del delegate

    def _framed(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._left is not None:
            if len(data) > self._left:
                raise ValueError("tried to write more data than Content-Length")
            self._left -= len(data)
            return data
        return chunk(data) if self._chunked else data

    def _send(self, data: bytes) -> asyncio.Future[None]:
        if self._closed:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.set_exception(StreamClosedError())
            future.exception()
            return future
        if data:
            self._connection.write(data)
        return self.written()

    def written(self) -> asyncio.Future[None]:
        """Return a future that is done when the reader has caught up, or has gone."""
        if self._drained is not None:
            waiting = asyncio.ensure_future(self._until_drained(self._drained))
            # Handlers may write without waiting: then nobody else looks at the failure.
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            return waiting
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def _until_drained(self, drained: asyncio.Future[None]) -> None:
        await asyncio.shield(drained)
        if self._closed and (self._detached is not None or not self._ended):
            raise StreamClosedError()

    # What handlers reach for beyond the interface, as on tornado.http1connection.

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call *callback* when the client leaves before the answer is complete."""
        self._close_callback = callback

    def set_max_body_size(self, size: int) -> None:
        """Accept at most *size* bytes of this request's body."""
        self._max_body = size

    def set_body_timeout(self, timeout: float) -> None:
        """Keep the engine's own limit, which strikes between two reads and not on the whole."""

    def detach(self) -> DetachedStream:
        """Take the connection over as a stream (after a 101)."""
        connection = self._connection
        self._detached = DetachedStream(connection, self)
        self._close_callback = None
        ahead = connection.start_tunnel()
        if ahead:
            self._detached.received(ahead)
        return self._detached


class DetachedStream:
    """The part of Tornado's IOStream that its WebSocket protocol uses."""

    def __init__(self, connection: Connection, request: TornadoConnection) -> None:
        self._connection = connection
        self._request = request
        self._paused = False
        self._buffer = bytearray()
        self._wanted: tuple[int, bool, asyncio.Future[bytes]] | None = None
        self._close_callback: Callable[[], None] | None = None
        self._closed = False
        self.error: BaseException | None = None
        self.socket = connection.transport.get_extra_info("socket")

    def read_bytes(self, num_bytes: int, partial: bool = False) -> asyncio.Future[bytes]:
        """Return a future of exactly *num_bytes* (or, if *partial*, at least one)."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._wanted = (num_bytes, partial, future)
        self._serve()
        return future

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Send *data*; the future is done when the reader has caught up."""
        if self._closed:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.set_exception(StreamClosedError())
            future.exception()
            return future
        self._connection.write(bytes(data))
        return self._request.written()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call *callback* once the stream is closed."""
        self._close_callback = callback

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: asyncio's transports always send without delay."""

    def close(self, exc_info: Any = False) -> None:
        """Close after what is written has been sent."""
        if not self._closed:
            self._connection.close()

    def closed(self) -> bool:
        """Tell whether the stream is closed."""
        return self._closed

    def reading(self) -> bool:
        """Tell whether somebody waits to read."""
        return self._wanted is not None

    def received(self, data: bytes) -> None:
        """Take bytes from the engine."""
        self._buffer += data
        self._serve()
        if self._wanted is None and len(self._buffer) > _HELD and not self._paused:
            self._paused = True
            self._connection.pause_reading()

    def closed_by_peer(self) -> None:
        """Learn that the connection has ended."""
        self._closed = True
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted[2].done():
            wanted[2].set_exception(StreamClosedError())
        callback, self._close_callback = self._close_callback, None
        if callback is not None:
            callback()

    def _serve(self) -> None:
        if self._wanted is None:
            return
        size, partial, future = self._wanted
        if self._paused:
            self._paused = False
            self._connection.resume_reading()
        if self._closed and len(self._buffer) < size:
            self._wanted = None
            future.set_exception(StreamClosedError())
            return
        if len(self._buffer) >= size or (partial and self._buffer):
            self._wanted = None
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            if not future.done():
                future.set_result(data)
