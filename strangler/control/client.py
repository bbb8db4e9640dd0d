# SPDX-License-Identifier: Apache-2.0
"""Ask the admin listener of a running site, as the commands do."""

from __future__ import annotations

import getpass
import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

FILE: Final = "admin.token"
"""The token file's name in the state folder."""
TIMEOUT: Final = 30.0
"""Seconds for one question."""


class Unreachable(Exception):
    """There is nobody to ask; the text says where and why, `hint` what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def state_folder(config: str) -> Path:
    """Return where the site keeps its state: $STRANGLER_STATE, else `var` beside the file."""
    told = os.environ.get("STRANGLER_STATE")
    return Path(told).absolute() if told else Path(config).absolute().parent / "var"


class Client:
    """Asks one site's admin listener; use from one thread."""

    def __init__(self, address: str, token: str = "") -> None:
        """Ask at *address*, HOST:PORT or an http URL, and show *token*."""
        self.address = address.removeprefix("http://").rstrip("/")
        self._token = token

    @classmethod
    def find(cls, config: str, admin: str = "") -> Client:
        """Return a client of the site that runs with *config*, on this machine unless told.

        Address: *admin*, else STRANGLER_ADMIN, else what the running site has written into its
        state folder. Token: STRANGLER_TOKEN, else the file that the site wrote there. Raises
        Unreachable.
        """
        folder = state_folder(config)
        address = admin or os.environ.get("STRANGLER_ADMIN", "")
        if not address:
            noted = _noted(folder)
            if noted is None:
                hint = "say where with --admin HOST:PORT, or which site with --config FILE"
                raise Unreachable(f"no site runs with the state folder {folder}", hint)
            address = str(noted.get("admin") or "")
            if not address:
                raise Unreachable("the site has no admin listener", "start it with --admin ADDRESS")
        token = os.environ.get("STRANGLER_TOKEN", "").strip()
        if not token:
            try:
                token = (folder / FILE).read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError):
                token = ""
        return cls(address, token)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """GET *path*; return status and document. Raises Unreachable."""
        return self._ask("GET", path, None)

    def post(self, path: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """POST *document* to *path*; return status and document. Raises Unreachable."""
        return self._ask("POST", path, json.dumps(document).encode())

    def events(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield the kind and the data of each server-sent event of *path*, until it ends.

        Raises Unreachable.
        """
        try:
            link = self._link()
            link.request("GET", path, None, self._fields() | {"Accept": "text/event-stream"})
            response = link.getresponse()
            if response.status != 200:
                told = json.loads(response.read())
                raise Unreachable(f"{self.address}: {told.get('error')}")
            kind, data = "message", ""
            for raw in response:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data += line[6:]
                elif not line:
                    if data:
                        yield kind, data
                    kind, data = "message", ""
        except (OSError, ValueError, http.client.HTTPException) as problem:
            raise Unreachable(f"{self.address}: {problem}") from None

    def _fields(self) -> dict[str, str]:
        fields = {"Accept": "application/json", "User-Agent": _agent()}
        if self._token:
            fields["Authorization"] = f"Bearer {self._token}"
        return fields

    def _link(self) -> http.client.HTTPConnection:
        where = urlsplit(f"//{self.address}")
        return http.client.HTTPConnection(
            where.hostname or "127.0.0.1", where.port or 8010, timeout=TIMEOUT
        )

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, dict[str, Any]]:
        fields = self._fields()
        if body is not None:
            fields["Content-Type"] = "application/json"
        try:
            link = self._link()
            link.request(method, path, body, fields)
            response = link.getresponse()
            told = json.loads(response.read())
            link.close()
        except (OSError, ValueError, http.client.HTTPException) as problem:
            raise Unreachable(f"{self.address}: {problem}") from None
        if not isinstance(told, dict):
            raise Unreachable(f"{self.address}: not the admin listener of a site")
        if response.status == 401:
            hint = "set STRANGLER_TOKEN to what the site's admin.token holds"
            raise Unreachable(f"{self.address}: {told.get('error')}", hint)
        return response.status, told


def _agent() -> str:
    """Return who asks, for the audit log: a site's own token is shared by all who may read it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in user)
    return f"strangler-cli ({name}@{socket.gethostname()})"


def _noted(folder: Path) -> dict[str, Any] | None:
    """Return what the running site has left word of, None where none runs."""
    try:
        told = json.loads((folder / "supervisor.json").read_bytes())
        os.kill(int(told["pid"]), 0)
    except PermissionError:
        pass  # it runs, as somebody else
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if isinstance(told, dict) else None
