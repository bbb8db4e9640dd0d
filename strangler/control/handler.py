# SPDX-License-Identifier: Apache-2.0
"""What all answers of the admin listener share: names, sizes, who asks, one error shape."""

from __future__ import annotations

import ipaddress
import json
import math
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tornado import web

from strangler.control.sessions import COOKIE, LASTS, Sessions
from strangler.control.tokens import EVERY, Role, Token, Tokens

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


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and from where: what the audit says of a change."""

    who: str
    role: str
    address: str
    agent: str
    by: str

    def json(self) -> dict[str, str]:
        """Return where it came from, as the audit keeps it."""
        return {"address": self.address, "agent": self.agent, "by": self.by}


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
    sessions: Sessions
    open_reads: bool
    #: Who asks, None where nobody has said so; `by_cookie`: a session's cookie said it.
    token: Token | None = None
    by_cookie = False

    def initialize(
        self, view: Any, tokens: Tokens, sessions: Sessions, open_reads: bool = True
    ) -> None:
        """Answer for *view*; *open_reads*: whoever reaches this listener may read."""
        self.view = view
        self.tokens = tokens
        self.sessions = sessions
        self.open_reads = open_reads
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
        if self.request.method not in ("GET", "HEAD"):
            self._refuse_other_sites(host or "")

    def admit(self, access: str | None) -> None:
        """Let nobody in who may not do this; see `Endpoint.access`. Raises Rejected."""
        self.token = self._who()
        if access == "open" or (access is None and self.open_reads):
            return
        role: Role = access or "viewer"  # type: ignore[assignment]
        if self.token is None:
            self.refuse_stranger()
        elif not self.token.reaches(role):
            raise Rejected(
                403, f"{self.token.who} is {self.token.role}; this needs at least {role}"
            )

    def count_change(self) -> None:
        """Refuse a change by who makes more of them than any person or sound program would."""
        limit = self.view.snapshot.overrides.changes
        if self.token is None:
            return
        wait = self.tokens.may_change(self.token, time.monotonic(), limit)
        if wait:
            raise Rejected(
                429,
                f"{self.token.who} makes more changes than overrides.changes allows: {limit}/s",
                {"Retry-After": str(math.ceil(wait))},
            )

    def permit(self, owners: Iterable[str], what: str) -> None:
        """Let an owner change only what is its own: *what* belongs to the teams *owners*."""
        token = self.token
        foreign = [owner for owner in owners if token is None or not token.may_change(owner)]
        if foreign:
            whose = foreign[0] or "nobody"
            raise Rejected(403, f"{what} belongs to {whose}: another team's needs an operator")

    @property
    def asker(self) -> Asker:
        """Return who asks."""
        token = self.token
        agent = self.request.headers.get("User-Agent", "")[:200]
        by = "console" if self.by_cookie else "cli" if agent.startswith("strangler-cli") else "api"
        return Asker(
            who=token.who if token is not None else "",
            role=token.role if token is not None else "",
            address=self.request.remote_ip or "",
            agent="".join(letter if letter.isprintable() else "?" for letter in agent),
            by=by,
        )

    def entry(self, what: str, **more: Any) -> dict[str, Any]:
        """Return what the audit says of a change that this request makes."""
        asker = self.asker
        return {"what": what, "who": asker.who, "role": asker.role, **more, "from": asker.json()}

    def refuse_method(self, allowed: Iterable[str]) -> None:
        """Answer 405 and say which methods there are."""
        names = ["HEAD" if name == "GET" else name for name in allowed]
        names = sorted({*names, *(["GET"] if "HEAD" in names else [])})
        said = f"{self.request.method}: expected {' or '.join(names)}"
        raise Rejected(405, said, {"Allow": ", ".join(names)})

    def _who(self) -> Token | None:
        """Return whose token or session the request shows."""
        shown = self.request.headers.get("Authorization", "")
        if shown:
            return self.tokens.find(shown)
        cookie = self.get_cookie(COOKIE) or ""
        token = self.sessions.find(cookie, self.tokens.every(), time.time()) if cookie else None
        self.by_cookie = token is not None
        if self.by_cookie and self.request.method not in ("GET", "HEAD"):
            headers = self.request.headers
            if "Origin" not in headers and "Sec-Fetch-Site" not in headers:
                # A browser says where a post comes from; who doesn't has a token to show.
                raise Rejected(403, "a session's post without Origin")
        return token

    def begin_session(self, token: Token, renewed: str = "") -> None:
        """Give the browser a cookie that stands for *token*; *renewed*: the one that goes on."""
        self.set_cookie(
            COOKIE,
            self.sessions.give(token, time.time(), renewed),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
            max_age=int(LASTS),
        )

    def renew_session(self) -> None:
        """Give a session that is used, and half over, its whole time again."""
        if self.by_cookie and self.token is not None:
            cookie = self.get_cookie(COOKIE) or ""
            if self.sessions.ends(cookie) - time.time() < LASTS / 2:
                self.begin_session(self.token, cookie)

    def end_session(self) -> bool:
        """End the session that the request shows; return whether there was one."""
        if self.by_cookie:
            self.sessions.end(self.get_cookie(COOKIE) or "", time.time())
        return self.by_cookie

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

    def refuse_stranger(self) -> None:
        """Refuse who shows no token that is known."""
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
        text = json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"
        # What was asked for may be half a character, and is told back in an error.
        self.finish(text.encode("utf-8", "replace"))

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
