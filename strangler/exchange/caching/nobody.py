# SPDX-License-Identifier: Apache-2.0
"""A reader who isn't there: for requests whose answer only the cache wants."""

from __future__ import annotations

import asyncio
from typing import Any


class Nobody:
    """Stands where a `Connection` does, and takes whatever it is given at once.

    `ended`: the answer is whole, or `broken` off.
    """

    __slots__ = ("broken", "ended", "keep_alive", "peer", "receiver", "secure", "told", "transport")

    def __init__(self, *, secure: bool = False) -> None:
        self.peer = "127.0.0.1"
        self.secure = secure
        self.keep_alive = True
        self.told: Any = None
        self.receiver: object = None
        self.transport = self
        self.ended = asyncio.Event()
        self.broken = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Have no socket."""
        return default

    @property
    def reading_body(self) -> bool:
        """Have no body to wait for."""
        return False

    @property
    def choked(self) -> bool:
        """Take whatever comes at once."""
        return False

    def start_tunnel(self) -> bytes:
        """Have sent nothing ahead, and nothing to say."""
        return b""

    def keep_tunnel(self) -> None:
        """Have no tunnel to keep."""

    def write(self, data: bytes) -> None:
        """Drop *data*."""

    def write_interim(self, data: bytes) -> None:
        """Drop *data*."""

    def response_ended(self) -> None:
        """Have no further request."""
        self.ended.set()

    def close(self) -> None:
        """Have nothing to close."""

    def abort(self) -> None:
        """Learn that the rest of the answer will not come."""
        self.broken = True
        self.ended.set()

    def pause_reading(self) -> None:
        """Have nothing to read."""

    def resume_reading(self) -> None:
        """Have nothing to read."""

    def end_writing(self) -> None:
        """Have nothing to end."""
