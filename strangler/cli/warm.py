# SPDX-License-Identifier: Apache-2.0
"""`strangler cache warm`: ask for pages as readers will, so that the first of them needn't wait.

The URLs are asked of the edge itself, a few at a time and no more a second than told: what it has
is not fetched, what it lacks is fetched once. The whole of a page is read and dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from strangler.cli.output import answer, complain, count

if TYPE_CHECKING:
    from tornado.simple_httpclient import SimpleAsyncHTTPClient

MOST: Final = 200_000
"""URLs that are taken from sitemaps or a list."""
_MOST_BYTES: Final = 64 << 20
_MOST_SITEMAPS: Final = 1000
_TIMEOUT: Final = 30.0
_LOC: Final = re.compile(r"<(?:\w+:)?loc>\s*(?:<!\[CDATA\[)?\s*([^<\]\s]+)")
_CACHE_STATUS: Final = re.compile(r"\b(hit|fwd=[a-z-]+)")
_BAR: Final = 30
_PLAIN_EVERY: Final = 5.0


def add_commands(commands: Any) -> None:
    """Add warm."""
    one = commands.add_parser(
        "warm",
        help="ask the edge for pages, so that they are there when readers come",
        description="Ask the edge for each URL of a list, a sitemap or a sitemap index, so that "
        "its tiers have them. Exit 1: some could not be had.",
    )
    one.add_argument(
        "source", metavar="FILE|URL", help="a file with a URL a line, or a sitemap, or one page"
    )
    one.add_argument(
        "--edge",
        default="",
        metavar="URL",
        help="where to connect to, if not where the URLs lead: http://127.0.0.1:8000",
    )
    one.add_argument("--concurrency", type=_number, default=4, metavar="N", help="default: 4")
    one.add_argument(
        "--rate", type=_number, default=50, metavar="N", help="at most so many a second; default 50"
    )
    one.add_argument("--json", action="store_true", help="answer as one JSON object")
    one.set_defaults(run=run_warm)


def run_warm(given: argparse.Namespace) -> int:
    """Warm up; return 1 where some URL failed, 2 where there was nothing to ask."""
    warmer = Warmer(given.edge, concurrency=given.concurrency, rate=given.rate)
    try:
        return asyncio.run(_run(warmer, given))
    except _Refused as refused:
        if given.json:
            answer({}, [{"message": str(refused)}])
        else:
            complain(str(refused))
        return 2


class _Refused(Exception):
    """There is nothing to ask for."""


async def _run(warmer: Warmer, given: argparse.Namespace) -> int:
    try:
        urls = await warmer.listed(given.source)
        if not urls:
            raise _Refused(f"{given.source}: no URL in it")
        await warmer.warm(urls)
    finally:
        warmer.close()
    told = {
        "urls": len(urls),
        "seconds": round(warmer.seconds, 3),
        "statuses": dict(warmer.statuses),
        "cache": dict(warmer.found),
        "failed": warmer.failures[:20],
    }
    if given.json:
        answer(told, [{"message": each} for each in warmer.failures[:20]])
    else:
        found = ", ".join(f"{word} {number}" for word, number in warmer.found.most_common())
        print(f"warm: {count(len(urls), 'URL')} in {warmer.seconds:.1f} s · {found or 'no cache'}")
        for each in warmer.failures[:20]:
            complain(each)
        if len(warmer.failures) > 20:
            complain(f"… and {len(warmer.failures) - 20} more")
    return 1 if warmer.failures else 0


class Warmer:
    """Asks for many URLs, politely."""

    def __init__(self, edge: str = "", *, concurrency: int = 4, rate: float = 50.0) -> None:
        """Connect to *edge* whatever the URLs say, with the Host that they say.

        concurrency: requests at a time · rate: requests a second, at the most.
        """
        self._edge = edge.rstrip("/")
        self._concurrency = concurrency
        self._pause = 1.0 / rate
        self._next = 0.0
        self._client: SimpleAsyncHTTPClient | None = None
        self._done = 0
        self.seconds = 0.0
        self.statuses: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.failures: list[str] = []

    async def listed(self, source: str) -> list[str]:
        """Return the URLs that *source* stands for: a file, a sitemap's URL, or a page's."""
        if "://" not in source:
            try:
                text = Path(source).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise _Refused(f"{source}: {error}") from None
            return await self._taken(text, source, [])
        status, kind, text = await self._read(source)
        if status != 200:
            raise _Refused(f"{source}: status {status}")
        if "xml" not in kind and not text.lstrip().startswith("<?xml"):
            return [source]
        return await self._taken(text, source, [source])

    async def _taken(self, text: str, source: str, seen: list[str]) -> list[str]:
        """Return the URLs in a list or a sitemap; follow a sitemap index."""
        if "<" not in text[:1000]:
            lines = (line.strip() for line in text.splitlines())
            urls = [line for line in lines if line and not line.startswith("#")]
            wrong = [url for url in urls if urlsplit(url).scheme not in ("http", "https")]
            if wrong:
                raise _Refused(f"{source}: expected a URL a line, got {wrong[0][:100]}")
            return list(dict.fromkeys(urls))[:MOST]
        found = list(dict.fromkeys(_locations(text)))
        if "<sitemapindex" not in text[:2000]:
            return found[:MOST]
        pages: dict[str, None] = {}
        for url in found:
            if url in seen or len(seen) >= _MOST_SITEMAPS or len(pages) >= MOST:
                continue
            seen.append(url)
            status, _, below = await self._read(url)
            if status == 200:
                pages |= dict.fromkeys(await self._taken(below, url, seen))
            else:
                self.failures.append(f"{url}: status {status}")
        return list(pages)[:MOST]

    async def warm(self, urls: list[str]) -> None:
        """Ask for all *urls*, telling on standard error how far it is."""
        began = time.monotonic()
        left = iter(urls)
        progress = asyncio.create_task(self._tell(len(urls), began))

        async def work() -> None:
            for url in left:
                await self._turn()
                try:
                    status, found = await self._ask(url)
                except (OSError, TimeoutError, ValueError) as error:
                    self.failures.append(f"{url}: {str(error) or type(error).__name__}")
                else:
                    self.statuses[str(status)] += 1
                    if found:
                        self.found[found] += 1
                    if status >= 400:
                        self.failures.append(f"{url}: status {status}")
                self._done += 1

        try:
            await asyncio.gather(*(work() for _ in range(self._concurrency)))
        finally:
            self.seconds = time.monotonic() - began
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")

    async def _turn(self) -> None:
        """Wait until it is this request's turn."""
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + self._pause
        if at > now:
            await asyncio.sleep(at - now)

    async def _tell(self, total: int, began: float) -> None:
        terminal = sys.stderr.isatty()
        while True:
            await asyncio.sleep(0.2 if terminal else _PLAIN_EVERY)
            speed = self._done / (time.monotonic() - began)
            bad = f", {len(self.failures)} failed" if self.failures else ""
            said = f"{self._done}/{total}, {speed:.0f} a second{bad}"
            if terminal:
                full = _BAR * self._done // total
                sys.stderr.write(f"\r\x1b[K[{'█' * full}{'·' * (_BAR - full)}] {said}")
                sys.stderr.flush()
            else:
                print(f"warm: {said}", file=sys.stderr)

    # Asking.

    async def _read(self, url: str) -> tuple[int, str, str]:
        """Return status, media type and text of a sitemap."""
        status, fields, body = await self._fetch(url, most=_MOST_BYTES)
        return status, fields.get("content-type", ""), body.decode("utf-8", "replace")

    async def _ask(self, url: str) -> tuple[int, str]:
        """Return status and what Cache-Status says, in a word; the page is read to its end."""
        status, fields, _ = await self._fetch(url, most=0)
        found = _CACHE_STATUS.search(fields.get("cache-status", ""))
        return status, found[1] if found else ""

    async def _fetch(self, url: str, *, most: int) -> tuple[int, dict[str, str], bytes]:
        # Not at the top: most commands do without Tornado, and start faster.
        from tornado.httpclient import HTTPError, HTTPRequest
        from tornado.simple_httpclient import (
            HTTPStreamClosedError,
            HTTPTimeoutError,
            SimpleAsyncHTTPClient,
        )

        if self._client is None:
            self._client = SimpleAsyncHTTPClient(
                force_instance=True, max_clients=self._concurrency, max_body_size=1 << 40
            )
        fields = {"User-Agent": "strangler-warm"}
        where = url
        if self._edge:
            parts = urlsplit(url)
            fields["Host"] = parts.netloc
            where = url.replace(f"{parts.scheme}://{parts.netloc}", self._edge, 1)
        body = bytearray()

        def take(piece: bytes) -> None:
            if len(body) < most:
                body.extend(piece)

        request = HTTPRequest(
            where,
            headers=fields,
            follow_redirects=False,
            request_timeout=_TIMEOUT,
            connect_timeout=_TIMEOUT,
            decompress_response=bool(most),
            streaming_callback=take,
        )
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (HTTPError, HTTPStreamClosedError, HTTPTimeoutError) as error:
            raise ValueError(str(error)) from None
        if response.code == 599 or (response.error and not isinstance(response.error, HTTPError)):
            raise ValueError(str(response.error))
        named = {name.lower(): value for name, value in response.headers.get_all()}
        return response.code, named, bytes(body)

    def close(self) -> None:
        """Drop the connections."""
        if self._client is not None:
            self._client.close()


def _locations(text: str) -> Iterator[str]:
    """Yield the URLs of a sitemap."""
    for found in _LOC.finditer(text):
        url = unescape(found[1])
        if urlsplit(url).scheme in ("http", "https"):
            yield url


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"expected 1-10000, got {text!r}")
    return int(text)
