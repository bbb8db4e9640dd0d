# SPDX-License-Identifier: Apache-2.0
"""A Django site of one page, its health check; prints its port, ends with its standard input."""

from __future__ import annotations

import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

from strangler.health import Health

settings.configure(
    SECRET_KEY="for a test alone",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    LOGGING_CONFIG=None,
)
application = get_wsgi_application()

from strangler.health.django import plain, view  # noqa: E402

health = Health()


@health.check("database")
@plain
def database() -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        return f"{cursor.execute('SELECT 1').fetchone()[0]} row"


@health.check("broken")
def broken() -> str:
    raise ValueError("no")


@health.check("coroutine")
async def coroutine() -> None:
    pass


urlpatterns = [path("healthcheck", view(health))]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


server = make_server("127.0.0.1", 0, application, Server, Quiet)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
