# SPDX-License-Identifier: Apache-2.0
"""A real MongoDB replica set of three, whose primary can be killed."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from servers.mongod import Mongod
from servers.process import LOOPBACK, ServerFailed


class _Member(Mongod):
    name = "mongod-member"

    def is_ready(self) -> bool:
        from pymongo.errors import PyMongoError

        try:
            with self._client() as client:
                return bool(client.admin.command("ping")["ok"])
        except PyMongoError:
            return False


class MongoSet:
    """``with MongoSet() as servers``; ``members`` are its three servers.

    A new primary is elected 2 s after the old one was last heard of.
    """

    def __init__(self) -> None:
        self.members = [_Member() for _ in range(3)]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        hosts = ",".join(f"{LOOPBACK}:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet=rs0"

    def __enter__(self) -> MongoSet:
        try:
            for member in self.members:
                self._stack.enter_context(member)
            members = [
                {"_id": number, "host": f"{LOOPBACK}:{member.port}"}
                for number, member in enumerate(self.members)
            ]
            settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
            with self.members[0]._client() as client:
                wanted: dict[str, Any] = {"_id": "rs0", "members": members, "settings": settings}
                client.admin.command("replSetInitiate", wanted)
            self.wait_for_primary()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def primary(self) -> Mongod | None:
        """Return who says of itself that it is the primary."""
        from pymongo.errors import PyMongoError

        for member in self.members:
            try:
                with member._client() as client:
                    if member.is_running and client.admin.command("hello")["isWritablePrimary"]:
                        return member
            except PyMongoError:
                continue
        return None

    def wait_for_primary(self, seconds: float = 40.0) -> Mongod:
        """Return the primary as soon as there is one."""
        deadline = time.monotonic() + seconds
        while (found := self.primary()) is None:
            if time.monotonic() > deadline:
                raise ServerFailed("the set has elected no primary")
            time.sleep(0.05)
        return found
