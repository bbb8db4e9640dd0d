# SPDX-License-Identifier: Apache-2.0
"""The whole site as `make run` starts it, on free ports, in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from servers.process import LOOPBACK, ServerFailed, free_port

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("legacy_django", "extracted", "tools/local_site.py", "Procfile", "routes.yaml")
PORTS = ("EDGE_PORT", "ADMIN_PORT", "LEGACY_PORT", "MATERIA_PORT")
# Of the caller's environment; they would lead the site to data that isn't its own.
FOREIGN = (
    *("LEGACY_VAR", "LEGACY_DB", "DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PUBLISH_HOOKS"),
    *("MATERIA_STORE", "MATERIA_LEGACY", "STRANGLER_STATE", "STRANGLER_TOKEN"),
    *("EDGE_PURGE_URL", "EDGE_PURGE_TOKEN", "EDGE_PURGE_SITES"),
)
ARTICLES = 60
WORKERS = 2
ARTICLE = "/noticia/tiroteio-deixa-um-morto-e-feridos.ghtml"
START = 60.0  # seconds until everything answers
STOP = 60.0  # seconds from SIGTERM to the last process's end

# One access line of the edge, as people read it.
_LINE = re.compile(
    r"edge +\| (?P<time>\S+Z) (?P<status>\d{3}|---) (?P<method>\S+) [^/\s]*(?P<target>/\S*) \S+ \S+"
    r" (?P<who>\S+) \((?P<why>\S+)\)(?:.*? from=(?P<endpoint>\S+))?"
)
# The line of routes.yaml that the README has its reader edit.
_ARTICLES = re.compile(r"(?m)^(  /noticia/\{slug\}\.ghtml: \{to:) \w+")


class LocalSite:
    """Edge, legacy and materia, started by the code of `make run`.

    The legacy database is small and made before, which leaves the runner the rest: materia's
    store filled by an export, publish hooks, processes, the end of all of them.

    Attributes:
        url: of the edge; admin_url: of its admin listener.
        config: routes.yaml, to be edited.
        lines: everything printed so far, each line with its part's name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "routes.yaml"
        self.lines: list[str] = []
        found: set[int] = set()
        while len(found) < len(PORTS):
            found.add(free_port())
        self.ports = dict(zip(PORTS, found, strict=True))
        self.url = f"http://localhost:{self.ports['EDGE_PORT']}"
        self.admin_url = f"http://localhost:{self.ports['ADMIN_PORT']}"
        self.legacy = f"{LOOPBACK}:{self.ports['LEGACY_PORT']}"
        self.materia = f"{LOOPBACK}:{self.ports['MATERIA_PORT']}"
        self._printed = threading.Condition()

    def __enter__(self) -> Self:
        hidden = shutil.ignore_patterns("__pycache__", "tests")
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, self.folder / part, ignore=hidden)
            else:
                (self.folder / part).parent.mkdir(exist_ok=True)
                shutil.copy(ROOT / part, self.folder / part)
        text = self.config.read_text()
        text = _ARTICLES.sub(r"\1 materia", text)
        self.config.write_text(text.replace("version: 1\n", f"version: 1\nworkers: {WORKERS}\n", 1))
        env = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "LEGACY_ACCESS_LOG": "1",
            # What materia learns in this test it learns by an event, not by asking.
            "MATERIA_SYNC_EVERY": "3600",
        }
        for name in FOREIGN:
            env.pop(name, None)
        (self.folder / "var").mkdir()
        manage = [sys.executable, "legacy_django/manage.py"]
        for command in (["migrate", "--verbosity", "0"], ["semear", "--articles", str(ARTICLES)]):
            subprocess.run([*manage, *command], cwd=self.folder, env=env, check=True)
        self.process = subprocess.Popen(
            [sys.executable, "tools/local_site.py"],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._collect, name="site-log", daemon=True)
        self._reader.start()
        try:
            self.wait_line("Ctrl-C stops everything", timeout=START)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise ServerFailed(f"make run did not stop within {STOP} s\n{self.tail()}") from None
        finally:
            self._reader.join(5)
            if self.process.stdout:
                self.process.stdout.close()

    # ---------------------------------------------------------------- what it prints

    def _collect(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._printed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._printed.notify_all()
        with self._printed:
            self._printed.notify_all()

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.lines[-lines:])

    def mark(self) -> int:
        """Return where the log ends, once every request that was answered is in it."""
        self._flush()
        return len(self.lines)

    def _flush(self) -> None:
        """Send requests until each worker has logged one: its earlier ones are before that."""
        seen: set[str] = set()
        while len(seen) < WORKERS:
            start = len(self.lines)
            marks = [f"/healthcheck?{time.monotonic_ns()}" for _ in range(4 * WORKERS)]
            for mark in marks:
                self.fetch(mark)
            found = [self.wait_line(rf"edge .*{re.escape(mark)} ", since=start) for mark in marks]
            # Each worker's request ids begin with a word of its own.
            seen |= {line.rpartition(" id=")[2][:12] for line in found}

    def wait_line(self, pattern: str, *, since: int = 0, timeout: float = 60.0) -> str:
        """Wait for a line that *pattern* is found in, printed after the mark *since*."""
        end = time.monotonic() + timeout
        with self._printed:
            while True:
                for line in self.lines[since:]:
                    if re.search(pattern, line):
                        return line
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise ServerFailed(f"not printed: {pattern}\n{self.tail()}")
                self._printed.wait(left)

    def answers(self, target: str, *, since: int) -> list[dict[str, str]]:
        """Return the edge's access lines of *target* after a mark, in parts: time, who, why …"""
        self._flush()
        found = [match for line in self.lines[since:] if (match := _LINE.match(line))]
        return [match.groupdict() for match in found if match["target"] == target]

    # ---------------------------------------------------------------- what one does with it

    def fetch(self, target: str, *, at: str = "") -> bytes:
        """GET *target* and return the content; raise HTTPError where it isn't a success."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open((at or self.url) + target, timeout=10.0) as response:
            return bytes(response.read())

    def cache_status(self, target: str) -> str:
        """GET *target* and return what its Cache-Status says."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + target, timeout=10.0) as response:
            return str(response.headers["Cache-Status"])

    def forget(self) -> None:
        """Purge all that the edge has stored, so that the next answer is somebody's."""
        done = subprocess.run(
            [sys.executable, "-m", "strangler.cli", "purge", "--all"],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name not in FOREIGN},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def save(self, text: str, *, said: str = "config.accepted") -> int:
        """Save routes.yaml as editors that replace files do; wait until the edge tells so.

        Returns the log's mark before.
        """
        assert text != self.config.read_text(), "the edit changed nothing"
        mark = len(self.lines)
        new = self.config.with_name("routes.yaml.new")
        new.write_text(text)
        new.replace(self.config)
        self.wait_line(rf"edge .*{re.escape(said)}", since=mark)
        return mark

    @contextmanager
    def edited(self, text: str, *, said: str = "config.accepted") -> Iterator[int]:
        """Have another routes.yaml for a while; what was there before is put back in place."""
        before = self.config.read_text()
        try:
            yield self.save(text, said=said)
        finally:
            mark = len(self.lines)
            self.config.write_text(before)
            if said == "config.accepted":
                self.wait_line(rf"edge .*{re.escape(said)}", since=mark)

    def answer_articles_by(self, who: str) -> None:
        """Write *who* into the line of the article pages, unless it is there."""
        before = self.config.read_text()
        text, count = _ARTICLES.subn(rf"\1 {who}", before)
        assert count == 1, "routes.yaml has no line for article pages"
        if text != before:
            self.save(text)
