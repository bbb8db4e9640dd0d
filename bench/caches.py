# SPDX-License-Identifier: Apache-2.0
"""What the cache benchmarks share: an origin that counts its renders, and three caches before it.

The lifetimes are given by each cache's own configuration, so that the origin can stay silent and
every cache has the same. nginx knows whole seconds only.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections import Counter
from typing import Self

import uncounted
from contenders import BODY_SIZE, CONTENDER_CORE, HTTPServer, Nginx, StranglerServer, pinned
from servers.process import LOOPBACK, find_binary


class _Rendering(asyncio.Protocol):
    """One connection to the origin; each request is rendered after *delay* seconds."""

    def __init__(self, origin: RenderingOrigin) -> None:
        self.origin = origin
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
            path = head.split(b" ", 2)[1]
            if path.startswith(b"/noticia/"):
                self.origin.renders[path] += 1
            answer = self.origin.render(path)
            if self.origin.delay:
                loop = asyncio.get_running_loop()
                loop.call_later(self.origin.delay, self._write, answer)
            else:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)


class RenderingOrigin:
    """An origin in a thread of this process; *renders* counts what it was asked, by path."""

    def __init__(self, *, delay: float = 0.0) -> None:
        self.delay = delay
        self.renders: Counter[bytes] = Counter()
        self.answer = page(BODY_SIZE)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def render(self, path: bytes) -> bytes:
        """Return the answer to a GET of *path*."""
        return self.answer

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def _run(self) -> None:
        async def start() -> None:
            server = await self._loop.create_server(
                lambda: _Rendering(self), LOOPBACK, 0, backlog=4096
            )
            self.port: int = server.sockets[0].getsockname()[1]
            self._ready.set()

        self._loop.run_until_complete(start())
        self._loop.run_forever()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class VaryingOrigin(RenderingOrigin):
    """Pages of 1 to 40 KB."""

    def render(self, path: bytes) -> bytes:
        return page(1024 + zlib.crc32(path) % (39 << 10))


class TaggedOrigin(RenderingOrigin):
    """Small pages that all have one tag, and say which *edition* they are of."""

    edition = 1

    def render(self, path: bytes) -> bytes:
        return page(300, b"Surrogate-Key: capa\r\nX-Edition: %d\r\n" % self.edition)


def page(size: int, fields: bytes = b"") -> bytes:
    """Return a response with a body of *size* bytes."""
    line = b"<p>Tiroteio deixa um morto e feridos.</p>\n"
    body = (line * (size // len(line) + 1))[:size]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n" % size
    return head + fields + b"\r\n" + body


def nginx(
    origin: str, lifetime: float, *, grace: float = 0.0, access_log: bool = False
) -> HTTPServer:
    """Return nginx's proxy_cache with its lock; stale while updating where *grace* is given."""
    stale = "proxy_cache_use_stale updating error timeout;" if grace else ""
    return Nginx(
        "proxy_cache_path FOLDER/cache levels=1:2 keys_zone=pages:32m max_size=1g inactive=1h"
        " use_temp_path=off;"
        f" upstream origin {{ server {origin.removeprefix('http://')}; keepalive 64; }}"
        f" server {{ listen {LOOPBACK}:PORT backlog=4096; keepalive_requests 100000000;"
        " location / { proxy_pass http://origin; proxy_http_version 1.1;"
        ' proxy_set_header Connection ""; proxy_cache pages; proxy_cache_lock on;'
        f" proxy_cache_valid 200 {max(1, round(lifetime))}s; {stale} }} }}",
        access_log=access_log,
    )


_VCL = """\
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{port}"; }}
sub vcl_backend_response {{ set beresp.ttl = {lifetime:.3f}s; set beresp.grace = {grace:.3f}s; }}
"""


class Varnish(HTTPServer):
    """varnishd with one lifetime for all pages; collapsing is its own way to wait."""

    name = "varnish"

    def __init__(self, origin: str, lifetime: float, grace: float) -> None:
        super().__init__()
        self.origin, self.lifetime, self.grace = origin, lifetime, grace

    def prepare(self) -> None:
        port = self.origin.rpartition(":")[2]
        text = _VCL.format(port=port, lifetime=self.lifetime, grace=self.grace)
        (self.folder / "site.vcl").write_text(text)

    def command(self) -> list[str]:
        self.folder.chmod(0o755)
        return [
            *pinned(CONTENDER_CORE, find_binary("varnishd"), "-F", "-n", str(self.folder / "work")),
            *("-a", f"{LOOPBACK}:{self.port}", "-f", str(self.folder / "site.vcl")),
            *("-s", "malloc,256m", "-p", "thread_pool_max=2000", "-j", "none"),
        ]


class CachingStrangler(StranglerServer):
    """The edge with one cached route; *cache* is that route's block, *tiers* the site's."""

    def __init__(
        self,
        origin: str,
        cache: str,
        *,
        access_log: str = "off",
        tiers: str = "",
        more: str = "",
        workers: int = 1,
    ) -> None:
        super().__init__(origin, access_log)
        self.workers = workers
        self.cache = cache
        self.tiers = tiers
        self.more = more

    def prepare(self) -> None:
        tiers = f"tiers: {self.tiers}\n" if self.tiers else ""
        (self.folder / "routes.yaml").write_text(
            f'version: 1\n{tiers}upstreams:\n  materia: {{url: "{self.origin}"}}\n'
            "routes:\n  /noticia/{slug}.ghtml:\n"
            f"    to: materia\n    cache: {self.cache}\n{self.more}"
        )


class UncountedStrangler(CachingStrangler):
    """The edge whose hits are neither counted nor logged; see `uncounted`."""

    def prepare(self) -> None:
        super().prepare()
        uncounted.copy(self.folder / "bare")

    def command(self) -> list[str]:
        return [find_binary("env"), f"PYTHONPATH={self.folder / 'bare'}", *super().command()]


def varnish(origin: str, lifetime: float, *, grace: float = 0.0) -> HTTPServer:
    return Varnish(origin, lifetime, grace)


def strangler(origin: str, lifetime: float, *, grace: float = 0.0) -> HTTPServer:
    words = f"edge: {lifetime * 1000:.0f}ms" + (f", grace: {grace:.0f}s" if grace else "")
    return CachingStrangler(origin, f"{{{words}}}")
