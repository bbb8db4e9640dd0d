# SPDX-License-Identifier: Apache-2.0
"""The site that is disturbed: a real Django, a real materia, a real edge."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos.load import Group
from servers.process import LOOPBACK, Server

from strangler.testing import Edge, configuration

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ARTICLES = 24

#: Shorter than the built-in values, so that a fault is over within seconds; and pools that empty
#: themselves within seconds, so that sockets can be seen to be back where they were.
KEEPALIVE = {"connections": 16, "idle": "2s"}
BREAKER = {"window": "5s", "min_requests": 10, "retry_in": "1s..2s"}
#: Materia's own holds for longer: what fallbacks cost is looked at before anybody is a probe.
PATIENT = {**BREAKER, "retry_in": "3s..4s"}
FIRST_BYTE = 1.0
"""Seconds that a service may take to its first byte."""
TIMEOUT = {"connect": "300ms", "first_byte": "1s", "between": "1s"}


class _Part(Server):
    """A part of the site: a Python program of this repository, with its children."""

    health = "/healthcheck"

    def __init__(self, port: int | None = None, host: str = LOOPBACK, **env: str) -> None:
        super().__init__(port)
        self.host = host
        self.env = env

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.env}

    def is_ready(self) -> bool:
        with fetch(self.url + self.health) as answer:
            return bool(answer.status == 200)

    def kill(self) -> None:
        """End it and its children at once."""
        self._group(signal.SIGKILL)
        super().kill()

    def pause(self) -> None:
        """Freeze it and its children: connections are accepted by the kernel alone."""
        self._group(signal.SIGSTOP)

    def resume(self) -> None:
        self._group(signal.SIGCONT)

    def _group(self, number: int) -> None:
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Legacy(_Part):
    """Django on gunicorn, with the database that `seeded` has made."""

    name = "legacy"

    def command(self) -> list[str]:
        config = ROOT / "legacy_django" / "gunicorn.conf.py"
        return [str(BIN / "gunicorn"), "--config", str(config)]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "LEGACY_PORT": str(self.port)}


class Materia(_Part):
    """The article service."""

    name = "materia"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "extracted.materia", "serve"]

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "MATERIA_PORT": str(self.port),
            "MATERIA_HOST": self.host,
        }


def fetch(url: str, timeout: float = 10.0) -> Any:
    """GET *url* past any proxy of the environment, as www.example.com; OSError where it fails."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Host": "www.example.com"})
    return opener.open(request, None, timeout)


def seeded(folder: Path, database: str = "", store: str = "") -> dict[str, str]:
    """Make Django's database and materia's store; return the environment that names them.

    database: URL of a real one, else an SQLite file in *folder*; store: materia's, likewise.
    """
    env = {
        "LEGACY_VAR": str(folder),
        "LEGACY_DB": str(folder / "legacy.sqlite3"),
        "MATERIA_STORE": store or f"sqlite:{folder / 'materia.sqlite3'}",
        "MATERIA_SYNC_LATE": "0",
        "PUBLISH_TOKEN": "only-for-this-test",
    }
    if database:
        env["DATABASE_URL"] = database
    whole = {**os.environ, **env}

    def run(*command: str, output: Any = subprocess.DEVNULL) -> None:
        subprocess.run([sys.executable, *command], env=whole, cwd=ROOT, check=True, stdout=output)

    manage = "legacy_django/manage.py"
    run(manage, "migrate", "--verbosity", "0")
    run(manage, "semear", "--articles", str(ARTICLES))
    export = folder / "materias.jsonl"
    with export.open("wb") as file:
        run(manage, "export_materias", "--after", "0", output=file)
    run("-m", "extracted.materia", "fill", str(export))
    return env


class Backends:
    """Django and materia, running, and the pages that both give to the byte.

    Attributes:
        pages: (target, SHA-256 of its content) of each article; content: by target.
    """

    def __init__(self, database: str = "", store: str = "", **env: str) -> None:
        self._stack = contextlib.ExitStack()
        self.database, self.store, self.env = database, store, env
        self.pages: list[tuple[str, str]] = []
        self.content: dict[str, bytes] = {}

    def __enter__(self) -> Backends:
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
            self.env |= seeded(self.folder, self.database, self.store)
            self.legacy = stack.enter_context(Legacy(**self.env))
            link = {"MATERIA_LEGACY": self.legacy.url}
            self.materia = stack.enter_context(Materia(**self.env, **link))
            for line in (self.folder / "materias.jsonl").read_text().splitlines():
                slug = json.loads(line).get("slug")
                if not slug:
                    continue
                target = f"/noticia/{slug}.ghtml"
                with fetch(self.legacy.url + target) as answer:
                    self.content[target] = answer.read()
                digest = hashlib.sha256(self.content[target]).hexdigest()
                with fetch(self.materia.url + target) as answer:
                    assert hashlib.sha256(answer.read()).hexdigest() == digest, target
                self.pages.append((target, digest))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def mend(self) -> None:
        """Have both run."""
        for part in (self.legacy, self.materia):
            part.resume()
            part.start()

    def routes(
        self,
        *,
        scripted: Mapping[str, str] | None = None,
        materia: Any = None,
        breaker: Mapping[str, Any] = PATIENT,
        cache: Mapping[str, Any] | None = None,
        more: Sequence[Mapping[str, Any]] = (),
        besides: Mapping[str, Any] | None = None,
        **sections: Any,
    ) -> str:
        """Return a routes.yaml: articles are materia's, with copies and legacy as ladder.

        scripted: further services by name; readers who say `X-Reader: NAME` are theirs.
        materia: its URLs; breaker: its breaker; cache: that of the articles; more: further routes
        of the articles; besides: routes of other pages.
        """
        common = {"timeout": TIMEOUT, "breaker": BREAKER, "keepalive": KEEPALIVE}
        health = {"path": "/healthcheck", "every": "1s", "timeout": "1s"}
        upstreams: dict[str, Any] = {
            "legacy": {
                "url": self.legacy.url,
                "timeout": {"first_byte": "3s"},
                "keepalive": KEEPALIVE,
                "breaker": BREAKER,
            },
            "materia": {
                "url": materia or self.materia.url,
                **common,
                "breaker": breaker,
                "health": health,
            },
        }

        def of(reader: str, to: str, **more: Any) -> dict[str, Any]:
            return {"match": {"header": {"X-Reader": reader}}, "to": to, **more}

        articles = [
            *map(dict, more),
            of("legacy", "legacy"),
            of("uncached", "materia", fallback=["legacy"]),
        ]
        for name, url in (scripted or {}).items():
            upstreams[name] = {"url": url, **common}
            articles.append(of(name, name, fallback=["legacy"]))
        lives = dict(cache or {"edge": "1s", "shared": "2s"})
        articles.append({"to": "materia", "cache": lives, "fallback": ["stale", "legacy"]})
        return configuration(
            {"/**": "legacy", "/noticia/{slug}.ghtml": articles, **(besides or {})},
            upstreams=upstreams,
            **{"limits": {"drain": "10s", "head_timeout": "2s"}, **sections},
        )

    def group(self, name: str, rate: float) -> Group:
        """Return readers of the articles: of `cached` the plain route's, else by X-Reader."""
        fields = {} if name == "cached" else {"X-Reader": name}
        return Group(name, rate, self.pages, fields)


@contextlib.contextmanager
def edge(text: str, **options: Any) -> Iterator[Edge]:
    """Yield a running edge of two workers, both of which serve."""
    from strangler.testing import until

    with Edge(text, **{"workers": 2, **options}) as made:
        until(lambda: made.admin_json("/-/ready")[0] == 200, timeout=20, what="ready")
        yield made


def ordinary(backends: Backends, *more: str) -> Sequence[Group]:
    """Return the steady load: 60 requests a second of the three kinds, 20 of each of *more*."""
    groups = [backends.group("cached", 25), backends.group("uncached", 20)]
    return [*groups, backends.group("legacy", 15), *(backends.group(name, 20) for name in more)]
