# SPDX-License-Identifier: Apache-2.0
"""The health check in real applications of four frameworks, asked over sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.health.document import follows_the_format

from strangler.health import Failed, Health
from strangler.testing import unused_port

DJANGO = Path(__file__).with_name("django_app.py")


class State:
    """What the applications look at."""

    well = True


def checks(state: State) -> Health:
    health = Health(fresh=0)

    @health.check("plain")
    def plain() -> str:
        if not state.well:
            raise Failed("not well")
        return "well"

    @health.check("coroutine")
    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "ok"

    return health


@contextmanager
def on_a_loop(serve: Callable[[int], Any]) -> Iterator[int]:
    """Run what the coroutine function *serve* sets up at a port, on a loop in a thread."""
    port, loop = unused_port(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    close = asyncio.run_coroutine_threadsafe(serve(port), loop).result(10)
    yield port
    asyncio.run_coroutine_threadsafe(close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@contextmanager
def tornado_app(state: State) -> Iterator[int]:
    from tornado import httpserver, web

    from strangler.health.tornado import HealthHandler

    async def serve(port: int) -> Any:
        app = web.Application(
            [("/healthcheck", HealthHandler, {"health": checks(state)})],
            log_function=lambda handler: None,
        )
        server = httpserver.HTTPServer(app)
        server.listen(port, "127.0.0.1")

        async def close() -> None:
            server.stop()
            await server.close_all_connections()

        return close

    with on_a_loop(serve) as port:
        yield port


@contextmanager
def aiohttp_app(state: State) -> Iterator[int]:
    from aiohttp import web

    from strangler.health.aiohttp import handler

    async def serve(port: int) -> Any:
        app = web.Application()
        app.router.add_get("/healthcheck", handler(checks(state)))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner.cleanup

    with on_a_loop(serve) as port:
        yield port


@contextmanager
def flask_app(state: State) -> Iterator[int]:
    from flask import Flask
    from werkzeug.serving import WSGIRequestHandler, make_server

    from strangler.health.flask import blueprint

    class Quiet(WSGIRequestHandler):
        def log(self, *args: Any) -> None:
            pass

    app = Flask(__name__)
    app.register_blueprint(blueprint(checks(state)))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def ask(port: int, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.request(method, "/healthcheck")
    answer = link.getresponse()
    content = answer.read()
    link.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content


@pytest.mark.parametrize("app", [tornado_app, aiohttp_app, flask_app])
def test_an_application_that_mounts_it(app: Any) -> None:
    state = State()
    with app(state) as port:
        status, fields, content = ask(port)
        assert status == 200
        assert "no-store" in fields["cache-control"]
        assert fields["content-type"].startswith("application/json")
        told = follows_the_format(json.loads(content))
        assert [one["output"] for one in told["results"]] == ["well", "ok"]
        state.well = False
        status, _, content = ask(port)
        assert status == 503
        assert json.loads(content)["results"][0]["output"] == "not well"
        status, _, content = ask(port, "HEAD")
        assert (status, content) == (503, b"")


def test_a_django_site_that_mounts_it() -> None:
    # In a process of its own: Django's settings can be set once a process.
    process = subprocess.Popen(
        [sys.executable, str(DJANGO)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        status, fields, content = ask(port)
        told = follows_the_format(json.loads(content))
        assert (status, told["status"]) == (503, "failure")
        assert "no-store" in fields["cache-control"]
        said = {one["checker"]: one["output"] for one in told["results"]}
        assert said == {"database": "1 row", "broken": "ValueError: no", "coroutine": "ok"}
        assert ask(port, "POST")[0] == 405
        process.stdin.close()
        assert process.wait(60) == 0
