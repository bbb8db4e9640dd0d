# SPDX-License-Identifier: Apache-2.0
"""The origin and the proxies that are measured in front of it, each one process tree on one core.

A new contender is a subclass of Contender and an entry in CONTENDERS.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from servers.process import LOOPBACK, Server, find_binary

from strangler.control.client import Client, Unreachable

BODY_SIZE = 10 * 1024
PATH = "/noticia/tiroteio-deixa-um-morto-e-feridos.ghtml"

# The load and the origin share one core, the contender has another to itself.
CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, CONTENDER_CORE = (CORES[0], CORES[1]) if len(CORES) > 1 else (CORES[0], CORES[0])

CONNECTIONS = 64
# Enough for 10,000 idle connections beside the loaded ones.
MAX_CONNECTIONS = 15_000


def pinned(core: int, *command: str) -> list[str]:
    """Return the command with its processes kept on one core."""
    return [find_binary("taskset"), "-c", str(core), *command]


def first_match(pattern: str, *command: str) -> str:
    """Return the first group of ``pattern`` in what a command prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


class HTTPServer(Server):
    """A server that is ready when it answers PATH with 200."""

    stop_timeout = 5.0

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=2.0) as connection:
            connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: bench.test\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")


_NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
http {{
    {access_log}
    client_body_temp_path {folder}/client; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {block}
}}
"""


class Nginx(HTTPServer):
    """nginx with one worker; ``block`` is what stands in its http block."""

    name = "nginx"

    def __init__(self, block: str, access_log: bool) -> None:
        super().__init__()
        self.block, self.access_log = block, access_log

    def command(self) -> list[str]:
        log = f"access_log {self.folder}/access.log;" if self.access_log else "access_log off;"
        (self.folder / "nginx.conf").write_text(
            _NGINX.format(
                files=MAX_CONNECTIONS + 1000,
                connections=MAX_CONNECTIONS,
                folder=self.folder,
                access_log=log,
                block=self.block.replace("PORT", str(self.port)).replace(
                    "FOLDER", str(self.folder)
                ),
            )
        )
        self.folder.chmod(0o755)  # the worker runs as another user than its master
        return [
            *pinned(self.core, find_binary("nginx"), "-p", str(self.folder)),
            *("-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")),
        ]

    core = CONTENDER_CORE


class Origin(Nginx):
    """A fixed 10 KiB page, kept open in memory, over connections that stay.

    fresh: seconds that a cache may keep it.
    """

    name = "origin"
    core = LOAD_CORE

    def __init__(self, fresh: int = 10) -> None:
        super().__init__(
            f"server {{ listen {LOOPBACK}:PORT backlog=4096; keepalive_requests 100000000;"
            " open_file_cache max=10; root FOLDER; default_type text/html; charset utf-8;"
            f" location / {{ try_files /page =404; add_header Cache-Control max-age={fresh}; }} }}",
            access_log=False,
        )

    def prepare(self) -> None:
        text = b"<p>Tiroteio deixa um morto e feridos no centro, diz a secretaria.</p>\n"
        (self.folder / "page").write_bytes((text * 200)[:BODY_SIZE])


class Contender:
    """One row of the table: ``start(origin)`` gives its server, ready to be entered."""

    key: ClassVar[str]
    label: ClassVar[str]
    log: ClassVar[str]  # what its access log does in this row
    scenario: ClassVar[str] = "pass-through"
    slow: ClassVar[bool] = False  # left out where 200,000 requests are needed

    def version(self) -> str:
        raise NotImplementedError

    def start(self, origin: str) -> HTTPServer:
        raise NotImplementedError


class NginxProxy(Contender):
    """proxy_pass over a keepalive pool; everything else as nginx has it by default."""

    key, label, log = "nginx", "nginx", "on (its default)"
    access_log = True

    def version(self) -> str:
        return "nginx " + first_match(r"nginx/(\S+)", find_binary("nginx"), "-v")

    def start(self, origin: str) -> HTTPServer:
        return Nginx(
            f"upstream origin {{ server {origin.removeprefix('http://')};"
            f" keepalive {CONNECTIONS}; }}"
            f" server {{ listen {LOOPBACK}:PORT backlog=4096; location / {{"
            " proxy_pass http://origin; proxy_http_version 1.1;"
            ' proxy_set_header Connection ""; proxy_set_header Host $host;'
            " proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
            " proxy_set_header X-Forwarded-Proto $scheme; } }",
            access_log=self.access_log,
        )


class NginxProxyQuiet(NginxProxy):
    key, log, access_log = "nginx-quiet", "off", False


_HAPROXY = """\
global
    nbthread 1
    no strict-limits
    maxconn {connections}
    {log_target}
defaults
    mode http
    {log_lines}
    timeout connect 5s
    timeout client 75s
    timeout server 50s
frontend edge
    bind {address}:{port} backlog 4096
    option forwardfor
    default_backend origin
backend origin
    http-reuse safe
    server origin {origin}
"""


class HAProxyServer(HTTPServer):
    name = "haproxy"

    def __init__(self, origin: str, access_log: bool) -> None:
        super().__init__()
        self.origin, self.access_log = origin, access_log

    def command(self) -> list[str]:
        (self.folder / "haproxy.cfg").write_text(
            _HAPROXY.format(
                connections=MAX_CONNECTIONS,
                # Debian's file logs to syslog; a container's logs to stdout, here a file.
                log_target="log stdout format raw local0" if self.access_log else "",
                log_lines="log global\n    option httplog" if self.access_log else "",
                address=LOOPBACK,
                port=self.port,
                origin=self.origin.removeprefix("http://"),
            )
        )
        haproxy = [find_binary("haproxy"), "-W", "-f", str(self.folder / "haproxy.cfg")]
        return pinned(CONTENDER_CORE, *haproxy)


class HAProxy(Contender):
    key, label, log = "haproxy", "HAProxy", "on (httplog)"
    access_log = True

    def version(self) -> str:
        return "HAProxy " + first_match(r"version (\d[\d.]+)", find_binary("haproxy"), "-v")

    def start(self, origin: str) -> HTTPServer:
        return HAProxyServer(origin, self.access_log)


class HAProxyQuiet(HAProxy):
    key, log, access_log = "haproxy-quiet", "off", False


class PythonServer(HTTPServer):
    """A program of this environment, given its port and the origin."""

    name = "python"

    def __init__(self, arguments: list[str]) -> None:
        super().__init__()
        self.arguments = arguments

    def command(self) -> list[str]:
        words = [word.replace("PORT", str(self.port)) for word in self.arguments]
        return pinned(CONTENDER_CORE, sys.executable, *words)


class NaiveTornado(Contender):
    key, label, log = "tornado", "30-line Tornado proxy (pycurl)", "off (its default)"
    slow = True

    def version(self) -> str:
        code = "import tornado, pycurl; print(tornado.version, pycurl.version.split()[0])"
        return "Tornado " + first_match(r"(.+)", sys.executable, "-c", code)

    def start(self, origin: str) -> HTTPServer:
        return PythonServer([str(Path(__file__).with_name("naive_tornado.py")), "PORT", origin])


# A site in the middle of its migration: what is asked for is not the first rule nor the only one.
_ROUTES = """\
version: 1
upstreams:
  legacy: {{url: "{origin}", role: legacy}}
  materia: {{url: "{origin}"}}
routes:
  /**: legacy
  /noticia/{{slug}}.ghtml: materia
  /noticia/{{slug}}/editar/: legacy
  /feed.xml: materia
  /busca/**: legacy
  /votar/**: legacy
  /admin/**: legacy
  /static/**: legacy
  /api/materias/**: legacy
  /old-promo/**: {{redirect: /promo/, status: 301}}
"""


class StranglerServer(HTTPServer):
    name = "strangler"
    workers = 1

    def __init__(self, origin: str, access_log: str) -> None:
        super().__init__()
        self.origin, self.access_log = origin, access_log

    @property
    def admin(self) -> Client:
        """Return who asks this site's admin listener, once the site has told where that is."""
        end = time.monotonic() + 10
        while True:
            try:
                return Client.find(str(self.folder / "routes.yaml"))
            except Unreachable:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def prepare(self) -> None:
        (self.folder / "routes.yaml").write_text(_ROUTES.format(origin=self.origin))

    def command(self) -> list[str]:
        program = Path(sys.executable).with_name("strangler")
        return pinned(
            CONTENDER_CORE,
            *(str(program), "serve", "--config", str(self.folder / "routes.yaml")),
            *("--listen", f"{LOOPBACK}:{self.port}", "--admin", f"{LOOPBACK}:0"),
            *("--workers", str(self.workers), "--access-log", self.access_log),
        )


class Strangler(Contender):
    key, label, log = "strangler", "**strangler**", "on (its default)"
    access_log = "text"

    def version(self) -> str:
        code = (
            "from importlib.metadata import version as v; "
            "print(v('strangler'), 'on httptools', v('httptools'), 'uvloop', v('uvloop'))"
        )
        return "strangler " + first_match(r"(.+)", sys.executable, "-c", code)

    def start(self, origin: str) -> HTTPServer:
        return StranglerServer(origin, self.access_log)


class StranglerQuiet(Strangler):
    key, log, access_log = "strangler-quiet", "off", "off"


CONTENDERS: list[Contender] = [
    NginxProxy(),
    HAProxy(),
    Strangler(),
    NginxProxyQuiet(),
    HAProxyQuiet(),
    StranglerQuiet(),
    NaiveTornado(),
]
