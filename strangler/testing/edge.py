# SPDX-License-Identifier: Apache-2.0
"""Run the real `strangler serve` for a test, with a routes.yaml of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from strangler.testing.certificates import Certificate
from strangler.testing.client import Address, RawClient
from strangler.testing.origin import RawUpstream, unused_port

READY = r"strangler: serving on|site\.serving"
WAIT = 60.0
"""Seconds that the edge may take to start."""


def configuration(
    routes: Mapping[str, Any] | None = None,
    *,
    upstreams: Mapping[str, RawUpstream | Mapping[str, Any] | str],
    **sections: Any,
) -> str:
    """Return the text of a routes.yaml.

    Args:
        routes: key to value; absent: everything to `legacy`.
        upstreams: name to an origin of this kit, a mapping as in the file (its `url` may be an
            origin too), or a URL. The one named legacy gets that role.
        sections: further top-level blocks, such as limits, site, defaults, presets.
    """

    def url(value: Any) -> Any:
        if isinstance(value, list):
            return [url(each) for each in value]
        return value.url if isinstance(value, RawUpstream) else value

    blocks: dict[str, Any] = {}
    for name, given in upstreams.items():
        block = dict(given) if isinstance(given, Mapping) else {"url": given}
        block["url"] = url(block["url"])
        if name == "legacy":
            block.setdefault("role", "legacy")
        blocks[name] = block
    tree = {"version": 1, "upstreams": blocks, **sections}
    tree["routes"] = dict(routes or {"/**": "legacy"})
    return yaml.dump(tree, Dumper=_Plain, sort_keys=False, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: routes.yaml knows no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class Edge:
    """A running edge.

    Use it as a context manager. Leaving it stops the processes and fails where the log holds a
    traceback or the edge did not stop by itself.

    Args:
        routes: the text of routes.yaml.
        workers: number of worker processes.
        listen: further listeners, as for --listen; the first, on 127.0.0.1, is always made.
        tls: the certificate for https on every listener.
        access_log: text, json or off.
        arguments: further arguments of `strangler serve`.
        wrapper: a command that ends by executing the one behind it, such as `unshare --mount`.
        environment: further environment variables.
        ready: wait until it serves.

    Attributes:
        port: of the first listener; admin_port: of the admin listener.
        folder: holds routes.yaml and the edge's state.
        log: everything printed so far.
    """

    def __init__(
        self,
        routes: str,
        *,
        workers: int = 1,
        listen: Iterable[str] = (),
        tls: Certificate | None = None,
        access_log: str = "text",
        arguments: Iterable[str] = (),
        wrapper: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-")
        self.folder = Path(self._folder.name)
        self.config = self.folder / "routes.yaml"
        self.config.write_text(routes, encoding="utf-8")
        self.port, self.admin_port = unused_port(), unused_port()
        while self.admin_port == self.port:
            self.admin_port = unused_port()
        self.tls = tls
        self.lines: list[str] = []
        self.allowed: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        command = [_program(), "serve", "--config", str(self.config)]
        for address in (f"127.0.0.1:{self.port}", *listen):
            command += ["--listen", address]
        command += ["--admin", f"127.0.0.1:{self.admin_port}", "--workers", str(workers)]
        command += ["--access-log", access_log]
        if tls is not None:
            command += ["--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]
        self.process = subprocess.Popen(
            [*wrapper, *command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "STRANGLER_STATE": str(self.folder / "var"), **(environment or {})},
            cwd=self.folder,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True, name="edge-log")
        self._reader.start()
        if ready:
            try:
                self.wait_log(READY, timeout=WAIT)
                self._wait_listening()
            except BaseException:
                self.kill()
                raise

    # -- where it is

    @property
    def address(self) -> tuple[str, int]:
        """Return (host, port) of the first listener."""
        return "127.0.0.1", self.port

    @property
    def admin(self) -> tuple[str, int]:
        """Return (host, port) of the admin listener."""
        return "127.0.0.1", self.admin_port

    @property
    def url(self) -> str:
        """Return the base URL of the first listener, without a slash at its end."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def client(self, address: Address | None = None, **options: Any) -> RawClient:
        """Return a new connection; options as for RawClient."""
        if self.tls is not None:
            options.setdefault("tls", self.tls.client())
        return RawClient(address or self.address, **options)

    def get(self, target: str, **fields: str) -> Any:
        """GET *target* on a connection of its own; return the response."""
        with self.client() as client:
            return client.get(target, **fields)

    def admin_json(self, path: str) -> Any:
        """GET *path* from the admin listener; return (status, the parsed JSON)."""
        with RawClient(self.admin, server_name=f"127.0.0.1:{self.admin_port}") as client:
            response = client.get(path)
            return response.status, json.loads(response.text)

    # -- its file

    def write(self, routes: str) -> None:
        """Replace routes.yaml as an editor does: a new file, renamed over the old one."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(routes, encoding="utf-8")
        fresh.replace(self.config)

    # -- its log

    @property
    def log(self) -> str:
        """Return everything printed so far."""
        with self._changed:
            return "\n".join(self.lines)

    def wait_log(self, pattern: str, *, timeout: float = WAIT, after: int = 0) -> str:
        """Wait for a line, from number *after* on, that *pattern* is found in; return it."""
        wanted = re.compile(pattern)

        def find() -> str | None:
            return next((line for line in self.lines[after:] if wanted.search(line)), None)

        with self._changed:
            # Not until the process has ended: its last lines may still be on their way.
            self._changed.wait_for(lambda: find() is not None or self._ended, timeout)
            found = find()
        if found is None:
            state = self.process.poll()
            raise AssertionError(f"no {pattern!r} in the log (exit: {state}):\n{self.log}")
        return found

    def allow(self, text: str) -> None:
        """Accept tracebacks that contain *text*; others still fail the test."""
        self.allowed.append(text)

    def _collect(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait_listening(self) -> None:
        end = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(self.address, 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    # -- its processes

    @property
    def pids(self) -> list[int]:
        """Return the ids of the supervisor and all its descendants, the supervisor first."""
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += [int(child) for child in task.read_text().split()]
        return found

    def rss(self) -> int:
        """Return the largest resident size, in bytes, of any process of the edge."""
        sizes = [0]
        for pid in self.pids:
            with contextlib.suppress(OSError):
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                if found:
                    sizes.append(int(found[1]) * 1024)
        return max(sizes)

    def cpu(self) -> float:
        """Return the CPU seconds that the edge's living threads have used, by the nanosecond."""
        used = 0
        for pid in self.pids:
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    used += int(task.read_text().split()[0])
        assert used, "this kernel doesn't tell (schedstat)"
        return used / 1e9

    def sockets(self) -> int:
        """Return how many sockets the edge's processes hold."""
        count = 0
        for pid in self.pids:
            for entry in Path(f"/proc/{pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    count += os.readlink(entry).startswith("socket:")
        return count

    def signal(self, number: int = signal.SIGHUP) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait_end(self, timeout: float = WAIT) -> int:
        """Wait until it has ended and `log` holds all it said; return its exit status."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        assert self._ended, f"the log is still open {timeout} s after the end:\n{self.log[-3000:]}"
        return status

    def kill(self) -> None:
        """Kill every process of the edge and remove its folder."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        self._folder.cleanup()

    def stop(self, timeout: float = WAIT) -> None:
        """Stop politely (SIGTERM); fails where that does not work or the log holds a traceback."""
        stopped = True
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                stopped = False
        status = self.process.poll()
        self.kill()
        bad = [each for each in tracebacks(self.log) if not any(ok in each for ok in self.allowed)]
        assert not bad, "traceback in the edge's log:\n" + "\n\n".join(bad)
        assert stopped, f"the edge did not stop within {timeout} s of SIGTERM:\n{self.log[-3000:]}"
        assert status in (0, -signal.SIGTERM), f"exit status {status}:\n{self.log[-3000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
            return
        with contextlib.suppress(AssertionError):
            self.stop()


def tracebacks(log: str) -> list[str]:
    """Return each traceback in *log*, with the line of its exception."""
    found: list[str] = []
    lines = iter(log.splitlines())
    for line in lines:
        if "Traceback (most recent call last)" not in line:
            continue
        block = [line]
        for following in lines:
            block.append(following)
            if following and not following.startswith((" ", "\t")):
                break
        found.append("\n".join(block))
    return found


def _program() -> str:
    """Return the `strangler` command that belongs to this interpreter."""
    beside = Path(sys.executable).with_name("strangler")
    return str(beside) if beside.exists() else "strangler"


def until(true: Callable[[], bool], *, timeout: float = 60.0, what: str = "") -> None:
    """Wait until *true* returns True, for what can only be looked at; fails after *timeout*."""
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, f"not within {timeout} s: {what or true}"
        time.sleep(0.01)
