# SPDX-License-Identifier: Apache-2.0
"""What is measured: CPU a request, latency without load, memory an idle connection, memory held.

CPU is utime + stime of every process of the contender, from /proc, so what wrk and the origin
cost doesn't count, and neither does a contender that waits for them.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contenders import BODY_SIZE, CONNECTIONS, LOAD_CORE, PATH, pinned
from servers.process import LOOPBACK, find_binary

# The 16 header fields that a browser sends for a page; Host is the first.
HEADERS = {
    "Host": "www.example.com",
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "sec-ch-ua": '"Chromium";v="130", "Not?A_Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
    "Referer": "https://www.example.com/",
    "Accept-Language": "pt-BR,pt;q=0.9,en;q=0.8",
    "Cookie": "sessionid=4u0w1mtsk9y0x8d2c3b7a6f5; csrftoken=Zk3vQ1sT9aXb7LmN; consent=1",
}
REQUEST = (
    f"GET {PATH} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in HEADERS.items()) + "\r\n"
).encode()

_IN_TURN = """
local number = {first}
request = function()
  number = number % {pages} + 1
  return wrk.format(nil, "/noticia/materia-" .. number .. ".ghtml")
end
"""
_TICK = os.sysconf("SC_CLK_TCK")


class Broken(RuntimeError):
    """A contender gave wrong answers; its figures would mean nothing."""


def process_tree(root: int) -> list[int]:
    """Return ``root`` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = entry.read_text().partition(" (")
            children.setdefault(int(rest.rpartition(") ")[2].split()[1]), []).append(int(pid))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def cpu_seconds(root: int) -> float:
    """Return utime + stime of a process tree, ended and reaped children included."""
    ticks = 0
    for pid in process_tree(root):
        with contextlib.suppress(OSError):  # ended since; its parent has its ticks
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICK


def resident_bytes(root: int) -> int:
    """Return the resident memory of a process tree."""
    return sum([resident_of(pid) for pid in process_tree(root)])


def resident_of(pid: int) -> int:
    """Return the resident memory of one process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


@dataclass(frozen=True, slots=True)
class Load:
    requests: int
    seconds: float
    cpu: float  # seconds that the contender used

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        """CPU milliseconds for 1,000 requests."""
        return self.cpu / self.requests * 1e6


def load(
    pid: int,
    url: str,
    seconds: int,
    *,
    pages: int = 0,
    first: int = 0,
    size: int = BODY_SIZE,
    path: str = PATH,
) -> Load:
    """Keep CONNECTIONS connections busy with wrk; return what it took.

    pages: ask for that many pages in turn instead of *path*, from the *first* · size: bytes of
    each answer's body.
    """
    fields = [word for pair in HEADERS.items() for word in ("-H", f"{pair[0]}: {pair[1]}")]
    with tempfile.TemporaryDirectory() as folder:
        script = []
        if pages:
            (Path(folder) / "pages.lua").write_text(_IN_TURN.format(pages=pages, first=first))
            script = ["-s", f"{folder}/pages.lua"]
        wrk = [find_binary("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *script, *fields]
        command = pinned(LOAD_CORE, *wrk, url + path)
        before = cpu_seconds(pid)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        used = cpu_seconds(pid) - before
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s|m), ([\d.]+)([KMG]?)B read", done.stdout)
    if not found:
        raise Broken(done.stdout + done.stderr)
    count = int(found[1])
    took = float(found[2]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[3]]
    read = float(found[4]) * 1024 ** " KMG".index(found[5] or " ")
    # wrk prints the volume with two decimals, hence the 1 % of grace.
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout or read < 0.99 * count * size:
        raise Broken(done.stdout)
    return Load(count, took, used)


class Connection:
    """A blocking keepalive connection; as little code as can be between send and receive."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=10.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self) -> None:
        """Ask for the page and read it to its end; raise Broken unless it is whole."""
        self.socket.sendall(REQUEST)
        data = self.socket.recv(65536)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        missing = end + 4 + BODY_SIZE - len(data)
        while missing > 0:
            missing -= len(self._more())
        if missing or not data.startswith(b"HTTP/1.1 200 "):
            raise Broken(f"not the page: {data[:200]!r}")

    def _more(self) -> bytes:
        if not (data := self.socket.recv(65536)):
            raise Broken("the connection ended inside a response")
        return data


def latency(port: int, seconds: float, rate: int) -> list[float]:
    """Return the response times in ms of one request at a time, ``rate`` a second, sorted.

    Eight connections in turn; a request is due at a fixed instant, whatever the one before took.
    """
    connections = [Connection(port) for _ in range(8)]
    times = []
    begin = time.perf_counter()
    for number in range(int(seconds * rate)):
        due = begin + number / rate
        if (pause := due - time.perf_counter()) > 0:
            time.sleep(pause)
        start = time.perf_counter()
        connections[number % 8].get()
        times.append((time.perf_counter() - start) * 1000)
    for connection in connections:
        connection.socket.close()
    return sorted(times[16:])  # the first two of each connection also open the way upstream


@contextlib.contextmanager
def idle_connections(port: int, count: int) -> Iterator[list[Connection]]:
    """Hold ``count`` keepalive connections, each of which has been served once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 1000, hard), hard))
    held: list[Connection] = []
    try:
        for _ in range(count):
            held.append(Connection(port))
            held[-1].get()
        yield held
    finally:
        for connection in held:
            connection.socket.close()
