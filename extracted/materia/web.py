# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: the article page, the event endpoint, the health check."""

import asyncio
import hashlib
import hmac
import json
import logging
import re
from asyncio import Future
from typing import Any

from tornado.httputil import HTTPHeaders
from tornado.web import Application, RequestHandler

from . import page
from .event import BadEvent, Event
from .health import Checkup
from .store import Store, StoreFailed
from .sync import Sync

log = logging.getLogger("materia.web")

MAX_EVENT = 4 * 1024 * 1024  # bytes of an event's body
ADDRESS = re.compile(r"([-a-zA-Z0-9_]+)\.ghtml")
ETAG = re.compile(r'(?:W/)?"[^"]*"')
# What the monolith's view and middleware say of every page.
CACHE_CONTROL = "public, max-age=0, s-maxage=10"
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class InFlight:
    """Counts requests, so that a stop can wait for the last one."""

    def __init__(self) -> None:
        self.draining = False
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        self._count += 1
        self._none.clear()

    def leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def empty(self) -> None:
        """Return once no request is in flight."""
        await self._none.wait()


class Handler(RequestHandler):
    """What all handlers share: the count of requests in flight, and errors in JSON."""

    entered = False

    def prepare(self) -> None:
        in_flight: InFlight = self.settings["in_flight"]
        in_flight.enter()
        self.entered = True
        if in_flight.draining:
            self.set_header("Connection", "close")

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> "Future[None]":
        """Finish the answer; the request is in flight until its last byte has left."""
        sent = super().finish(chunk)
        if self.entered:
            self.entered = False
            sent.add_done_callback(lambda _: self.settings["in_flight"].leave())
        return sent

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Decode part of the path; what isn't UTF-8 is just an address that nothing has."""
        return value.decode("utf-8", "replace")

    def compute_etag(self) -> None:
        """Leave validators to each handler: Tornado's own would differ from the monolith's."""

    def answer(self, status: int, document: dict[str, Any]) -> None:
        """Finish with `document` as JSON, never to be cached."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(document, ensure_ascii=False))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))
        self.answer(status_code, {"error": self._reason})

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        if isinstance(kwargs.get("exc_info", (None, None))[1], StoreFailed):
            status_code = 503
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if isinstance(value, StoreFailed):
            log.error("%s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


class ArticleHandler(Handler):
    """`GET /noticia/<slug>.ghtml`, with the monolith's header fields and preconditions."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    async def get(self, name: str) -> None:
        address = ADDRESS.fullmatch(name)
        event = await self.settings["store"].get(address[1]) if address else None
        if event is None or event.article is None:
            not_found(self)
            return
        body = page.render(event.article)
        for name, value in PAGE_HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", CACHE_CONTROL)
        if self.request.method == "HEAD":  # the monolith gives HEAD no ETag, so no 304 either
            self.finish(body)
            return
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        status = precondition(self.request.headers, etag)
        self.set_status(status)
        if status == 412:  # a refusal to one reader must not be kept for the others
            self.clear_header("Cache-Control")
        else:
            self.set_header("ETag", etag)
        self.finish(body if status == 200 else None)

    head = get


class NotFoundHandler(Handler):
    """Every other address."""

    def prepare(self) -> None:
        super().prepare()
        not_found(self)


class EventHandler(Handler):
    """`POST /eventos`: take one publication event."""

    SUPPORTED_METHODS = ("POST",)

    async def post(self) -> None:
        if not self._authorized():
            self.set_header("WWW-Authenticate", 'Bearer realm="eventos"')
            self.answer(401, {"error": "expected Authorization: Bearer with the publish token"})
            return
        try:
            event = Event.parse(self.request.body, page.render)
        except BadEvent as error:
            log.warning("event refused: %s", error)
            self.answer(400, {"error": str(error)})
            return
        applied = await self.settings["sync"].push(event)
        self.answer(200, {"seq": event.seq, "applied": applied})

    def _authorized(self) -> bool:
        token: str = self.settings["token"]
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
        return bool(token) and scheme.lower() == "bearer" and same


class HealthHandler(Handler):
    """`GET /healthcheck`: 200 while all parts pass, else 503."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    async def get(self) -> None:
        health = await self.settings["checkup"].health()
        self.answer(200 if health.passed else 503, health.document())

    head = get


def not_found(handler: Handler) -> None:
    """Finish with the monolith's page for an address that has nothing."""
    handler.set_status(404)
    for name, value in PAGE_HEADERS.items():
        handler.set_header(name, value)
    handler.finish(page.not_found(handler.request.path.encode("latin-1")))


def precondition(fields: HTTPHeaders, etag: str) -> int:
    """Return 200, 304 or 412 for a GET of what has the strong `etag` (RFC 9110, section 13.2.2).

    There is no Last-Modified, so the fields that compare dates don't count.
    """
    wanted = entity_tags(fields.get("If-Match", ""))
    if wanted and wanted != ["*"] and etag not in wanted:
        return 412
    known = entity_tags(fields.get("If-None-Match", ""))
    if known == ["*"] or etag in (tag.removeprefix("W/") for tag in known):
        return 304
    return 200


def entity_tags(value: str) -> list[str]:
    """Return the well-formed entity tags of a field, or `["*"]`."""
    if value.strip() == "*":
        return ["*"]
    return [tag for part in value.split(",") if ETAG.fullmatch(tag := part.strip())]


def make_application(
    *, store: Store, sync: Sync, checkup: Checkup, token: str, in_flight: InFlight
) -> Application:
    """Return the application over these parts."""
    return Application(
        [
            (r"/noticia/([^/]+)", ArticleHandler),
            (r"/eventos", EventHandler),
            (r"/healthcheck", HealthHandler),
        ],
        default_handler_class=NotFoundHandler,
        store=store,
        sync=sync,
        checkup=checkup,
        token=token,
        in_flight=in_flight,
    )
