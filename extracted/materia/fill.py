# SPDX-License-Identifier: Apache-2.0
"""Fill the store from an export: one event a line, the latest of each article."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

from tornado.httpclient import AsyncHTTPClient

from .event import BadEvent, Event
from .page import render
from .store import Store

BATCH = 500  # events a transaction
MAX_EXPORT = 1024**3  # bytes taken from a URL
TIMEOUT = 600.0  # seconds for an export from a URL to arrive


class FillFailed(Exception):
    """The export can't be read to its end; the message names the line."""


async def fill(store: Store, source: str, token: str = "", *, after: int = 0) -> str:
    """Apply the export at `source` (a file, `-` for standard input, or an http URL).

    `after` says where the export begins, 0 for a whole one. The store's mark moves only where
    the export joins on to it; from there the running service's re-sync goes on. Return one line
    of report; raise FillFailed at the first line that is no event. Lines before it are kept, so
    the same command can be run again.
    """
    lines = read = kept = newest = 0
    batch: list[Event] = []
    joins = after <= await store.mark()
    async for line in _lines(source, token):
        lines += 1
        if not line.strip():
            continue
        try:
            batch.append(Event.parse(line, render))
        except BadEvent as error:
            await store.apply(batch)
            raise FillFailed(f"{source}:{lines}: {error}") from error
        read += 1
        newest = max(newest, batch[-1].seq)
        if len(batch) == BATCH:
            kept += await store.apply(batch)
            batch.clear()
    kept += await store.apply(batch)
    if joins:
        await store.advance(newest)
    return f"{read} events read, {kept} were news"


async def _lines(source: str, token: str) -> AsyncIterator[bytes]:
    if source.startswith(("http://", "https://")):
        body = await _fetch(source, token)
        for line in body.split(b"\n"):
            yield line
    elif source == "-":
        for line in _read(sys.stdin.buffer):
            yield line
    else:
        try:
            with await asyncio.to_thread(Path(source).open, "rb") as file:
                for line in _read(file):
                    yield line
        except OSError as error:
            raise FillFailed(f"{source}: {error.strerror}") from error


def _read(file: IO[bytes]) -> Iterator[bytes]:
    yield from file


async def _fetch(url: str, token: str) -> bytes:
    client = AsyncHTTPClient(
        force_instance=True, defaults={"request_timeout": TIMEOUT}, max_buffer_size=MAX_EXPORT
    )
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return (await client.fetch(url, headers=headers)).body
    except Exception as error:  # Tornado's client raises whatever its sockets do
        raise FillFailed(f"{url}: {error}") from error
    finally:
        client.close()
