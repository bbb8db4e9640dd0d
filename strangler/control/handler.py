# SPDX-License-Identifier: Apache-2.0
"""What all answers of the admin listener share: names, sizes, tokens, one error shape."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tornado import web

from strangler.control.tokens import EVERY, Tokens

MOST_BYTES: Final = 64 << 10
"""The longest request body, in bytes."""


class Rejected(web.HTTPError):
    """What was asked for makes no sense, or could not be done whole; *more* says what else."""

    def __init__(
        self, status: int, reason: str, fields: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, reason=reason)
        self.fields = fields or {}
        self.more = more


def is_own_name(host: str) -> bool:
    """Tell whether a Host field names this listener: loopback, any IP address, or this machine.

    An address cannot be rebound; a name can, so only names that we know are ours.
    STRANGLER_ADMIN_HOSTS (comma list) adds names.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    more = os.environ.get("STRANGLER_ADMIN_HOSTS", "").lower().split(",")
    return bool(name) and name in {socket.gethostname().lower(), *map(str.strip, more)}


@web.stream_request_body
class Handler(web.RequestHandler):
    """What all answers share: one error shape, no caching, names and sizes checked."""

    view: Any
    tokens: Tokens

    def initialize(self, view: Any, tokens: Tokens) -> None:
        self.view = view
        self.tokens = tokens
        self.body = b""

    def data_received(self, chunk: bytes) -> None:
        self.body += chunk

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        )
        self.set_header("Referrer-Policy", "no-referrer")

    def prepare(self) -> None:
        host = self.request.headers.get("Host")
        if host is not None and not is_own_name(host):
            raise web.HTTPError(421, reason=f"{host[:100]!r} is not a name of this listener")
        self._refuse_large_bodies()
        if self.request.method not in ("GET", "HEAD", "OPTIONS"):
            self._refuse_other_sites(host or "")
            self._refuse_strangers()

    def _refuse_large_bodies(self) -> None:
        headers = self.request.headers
        if "Transfer-Encoding" in headers:
            raise web.HTTPError(411)
        length = headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_BYTES:
            raise web.HTTPError(413, reason=f"expected a body of at most {MOST_BYTES} bytes")

    def _refuse_other_sites(self, host: str) -> None:
        headers = self.request.headers
        origin = headers.get("Origin")
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") or (
            origin is not None and urlsplit(origin).netloc != host
        ):
            raise web.HTTPError(403, reason="a request from another site's page")
        if headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise web.HTTPError(415, reason="expected Content-Type: application/json")

    def _refuse_strangers(self) -> None:
        """Let nobody change anything without a token."""
        if self.tokens.find(self.request.headers.get("Authorization", "")) is not None:
            return
        if not self.tokens.may_be_wrong(self.request.remote_ip or "", time.monotonic()):
            raise Rejected(429, "too many wrong tokens", {"Retry-After": f"{EVERY:.0f}"})
        raise Rejected(
            401,
            "expected Authorization: Bearer and the site's token",
            {"WWW-Authenticate": 'Bearer realm="strangler"'},
        )

    def json_body(self) -> dict[str, Any]:
        """Return the body's JSON object, an empty one where there is none; else raise 400."""
        try:
            asked = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            raise web.HTTPError(400, reason="expected a JSON object")
        return asked

    async def head(self, *args: str) -> None:
        """Answer HEAD as GET; Tornado leaves the body out."""
        if type(self).get is web.RequestHandler.get:
            raise web.HTTPError(405)
        await self.get(*args)  # type: ignore[misc]

    def answer(self, document: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        problem = kwargs.get("exc_info", (None, None, None))[1]
        reason = self._reason
        errors: list[Any] = []
        if isinstance(problem, web.HTTPError):
            reason = problem.reason or reason
        elif problem is not None:
            errors = [type(problem).__name__]
        # What a client sent may stand in the reason of the document, never in the status line.
        self.set_status(status_code)
        told = {"ok": False, "error": reason, "errors": errors, "status": status_code}
        if isinstance(problem, Rejected):
            told |= problem.more
            for name, value in problem.fields.items():
                self.set_header(name, value)
        self.answer(told, status_code)
