# SPDX-License-Identifier: Apache-2.0
"""A gigabyte through the edge in each direction, and what its memory does meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contenders import StranglerServer
from measure import cpu_seconds, resident_bytes
from sections import Aim, say, table
from servers.process import LOOPBACK

KEY = "stream"
TITLE = "A gigabyte streamed"
PIECE = b"\0" * (256 << 10)
WAYS = {"down": "download", "up": "upload"}


class Streaming(StranglerServer):
    """The edge with one route whose bodies may be large."""

    def prepare(self) -> None:
        (self.folder / "routes.yaml").write_text(
            f'version: 1\nupstreams:\n  legacy: {{url: "{self.origin}"}}\n'
            "routes:\n  /**: {to: legacy, body: {max: 2GB}}\n"
        )


def serve(client: socket.socket, size: int) -> None:
    """Answer GET /down with *size* bytes, take any body, until the connection ends."""
    with client:
        buffer = bytearray(256 << 10)
        data = b""
        while True:
            while (end := data.find(b"\r\n\r\n")) < 0:
                piece = client.recv(65536)
                if not piece:
                    return
                data += piece
            head, data = data[:end].lower(), data[end + 4 :]
            left = 0
            if b"content-length:" in head:
                left = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) - len(data)
                data = b""
            while left > 0:
                got = client.recv_into(buffer, min(left, len(buffer)))
                if not got:
                    return
                left -= got
            down = size if b" /down " in head.split(b"\r\n")[0] else 0
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % down)
            for _ in range(down // len(PIECE)):
                client.sendall(PIECE)


@contextmanager
def origin(size: int) -> Iterator[str]:
    with socket.create_server((LOOPBACK, 0), backlog=64) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client, size), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def move(port: int, way: str, size: int) -> int:
    """Move *size* bytes one way; return how many arrived."""
    with socket.create_connection((LOOPBACK, port), timeout=60) as link:
        if way == "down":
            link.sendall(b"GET /down HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n")
            buffer, total = bytearray(256 << 10), 0
            while got := link.recv_into(buffer):
                total += got
            return total
        link.sendall(
            b"POST /up HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % size
        )
        for _ in range(size // len(PIECE)):
            link.sendall(PIECE)
        return size if link.recv(65536).startswith(b"HTTP/1.1 200 ") else 0


def measure(quick: bool) -> dict[str, Any]:
    size = (64 << 20) if quick else (1 << 30)
    rows = {}
    with origin(size) as url, Streaming(url, "off") as edge:
        move(edge.port, "down", 0)
        for way in WAYS:
            say(way)
            before, peak, over = resident_bytes(edge.pid), [0], threading.Event()

            def watch(peak: list[int] = peak, over: threading.Event = over) -> None:
                while not over.wait(0.05):
                    peak[0] = max(peak[0], resident_bytes(edge.pid))

            watcher = threading.Thread(target=watch)
            watcher.start()
            began, used = time.monotonic(), cpu_seconds(edge.pid)
            try:
                moved = move(edge.port, way, size)
            finally:
                over.set()
                watcher.join()
            if moved < size:
                raise RuntimeError(f"{way}: {moved} of {size} bytes")
            rows[way] = {
                "bytes": size,
                "seconds": time.monotonic() - began,
                "cpu": cpu_seconds(edge.pid) - used,
                "before": before,
                "peak": max(before, peak[0]),
            }
    return {"rows": rows}


def report(data: dict[str, Any]) -> list[str]:
    return [
        "One connection; memory of all of the edge's processes, looked at 20 times a second.",
        "",
        *table(
            "way | volume | MB/s | CPU s | memory before | at the most",
            *[
                f"{WAYS[way]} | {row['bytes'] >> 20:,} MiB"
                f" | {row['bytes'] / row['seconds'] / 1e6:,.0f} | {row['cpu']:.2f}"
                f" | {row['before'] / 2**20:.0f} MiB | {row['peak'] / 2**20:.0f} MiB"
                for way, row in data["rows"].items()
            ],
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    found = []
    for way, row in data["rows"].items():
        grown = (row["peak"] - row["before"]) / 2**20
        what = f"memory during the {WAYS[way]} of {row['bytes'] >> 20:,} MiB"
        found.append(Aim(what, "flat: at most 8 MiB more", f"{grown:+.1f} MiB", grown <= 8))
    return found
