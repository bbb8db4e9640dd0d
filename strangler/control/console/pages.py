# SPDX-License-Identifier: Apache-2.0
"""Serve the console's files: under a name that changes with their content, so kept for ever."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Final

from tornado import web

from strangler.control.console.document import Asked
from strangler.control.handler import Handler

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
"""The pages load and ask for nothing but this listener's own, and run no script of any text."""


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent: *small* is its gzip form."""

    kind: str
    data: bytes
    small: bytes


@dataclass(frozen=True, slots=True)
class Files:
    """The console's files by their names below ``static/``, and the sum of all of them."""

    files: dict[str, File]
    version: str

    @property
    def base(self) -> str:
        """Return the path under which they are served."""
        return f"/console/{self.version}"

    def page(self, state: Any) -> bytes:
        """Return the page; *state* is the document to begin with, or None."""
        preloads = "\n".join(
            f'<link rel="modulepreload" href="{self.base}/{name}">'
            for name in sorted(self.files)
            if name.endswith(".js")
        )
        # Within a script element only `<` could end it; JSON may write it as an escape.
        told = json.dumps(state, ensure_ascii=False, default=str).replace("<", "\\u003c")
        page = self.files["index.html"].data.decode()
        for name, value in (("base", self.base), ("preloads", preloads), ("state", told)):
            page = page.replace("{{" + name + "}}", value)
        return page.encode()


@cache
def files() -> Files:
    """Return the files of this installation, read once."""
    found: dict[str, File] = {}
    digest = hashlib.sha256()
    root = resources.files("strangler.control.console") / "static"
    folders = [("", root), ("vendor/", root / "vendor")]
    for prefix, folder in folders:
        for entry in sorted(folder.iterdir(), key=lambda one: one.name):
            kind = _TYPES.get(PurePosixPath(entry.name).suffix)
            if kind is None:
                continue
            data = entry.read_bytes()
            found[prefix + entry.name] = File(kind, data, gzip.compress(data, 9, mtime=0))
            digest.update(f"{prefix}{entry.name}\0{len(data)}\0".encode() + data)
    return Files(found, digest.hexdigest()[:12])


class Page(Handler):
    """One of the console's pages: the frame is the same, the path says what is in it.

    The document to begin with is put into it where the reader may see it, which saves a telephone
    far away one way there and back.
    """

    def prepare(self) -> None:
        super().prepare()
        if self.request.method not in ("GET", "HEAD"):
            self.refuse_method(["GET"])
        self.admit("open")

    async def get(self) -> None:
        """Answer the page."""
        state = None
        if self.request.path == "/" and (self.open_reads or self.token is not None):
            state = {"ok": True, **await state_of(self, Asked(routes=12))}
        page = files().page(state)
        self.set_header("Content-Security-Policy", POLICY)
        send(self, File(_TYPES[".html"], page, gzip.compress(page, 6, mtime=0)))


async def state_of(handler: Handler, asked: Asked) -> dict[str, Any]:
    """Return the console's document as who asks may see it."""
    told = await handler.view.console.document(asked)
    token = handler.token
    handler.renew_session()
    return {**told, "me": None if token is None else token.json()}


class StaticFile(Handler):
    """One of the console's files. No secret is in them, so anybody who reaches us may have it."""

    def prepare(self) -> None:
        super().prepare()
        if self.request.method not in ("GET", "HEAD"):
            self.refuse_method(["GET"])
        self.admit("open")

    async def get(self, version: str, name: str) -> None:
        """Answer the file; an old version's name leads to the one in force."""
        known = files()
        file = known.files.get(name)
        if file is None or name == "index.html":
            raise web.HTTPError(404, reason="no such file")
        if version == known.version:
            self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        else:
            # A page that was open during an upgrade: it gets what there is, and keeps nothing.
            self.set_header("Cache-Control", "no-store")
        send(self, file)


def rules(given: Mapping[str, Any]) -> list[Any]:
    """Return the rules of a Tornado application that serves the console."""
    return [
        (r"/(?:routes|route|migration|audit)?", Page, given),
        (r"/console/([0-9a-f]+)/([a-z.]+(?:/[a-z.]+)?)", StaticFile, given),
    ]


def send(handler: Handler, file: File) -> None:
    """Send a file, the small form to whoever takes it."""
    handler.set_header("Content-Type", file.kind)
    handler.set_header("Vary", "Accept-Encoding")
    if takes_gzip(handler.request.headers.get("Accept-Encoding", "")):
        handler.set_header("Content-Encoding", "gzip")
        handler.finish(file.small)
    else:
        handler.finish(file.data)


def takes_gzip(accepted: str) -> bool:
    """Tell whether an Accept-Encoding field allows gzip (RFC 9110, 12.5.3)."""
    for one in accepted.lower().split(","):
        name, _, weight = one.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
