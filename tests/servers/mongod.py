# SPDX-License-Identifier: Apache-2.0
"""A real MongoDB: a replica set of one, so that sessions and change streams work."""

from __future__ import annotations

import os
from typing import Any

from servers.install import cache_folder
from servers.process import LOOPBACK, Server, ServerFailed, find_binary


class Mongod(Server):
    """``mongod`` from $MONGOD, from PATH, or as ``install.py`` left it in the cache folder."""

    name = "mongod"

    @property
    def url(self) -> str:
        return f"mongodb://{LOOPBACK}:{self.port}/?directConnection=true"

    def command(self) -> list[str]:
        cached = cache_folder() / "mongod" / "mongod"
        binary = os.environ.get("MONGOD") or find_binary("mongod", str(cached))
        return [
            binary,
            *("--dbpath", str(self.folder), "--port", str(self.port), "--bind_ip", LOOPBACK),
            *("--unixSocketPrefix", str(self.folder), "--wiredTigerCacheSizeGB", "0.25"),
            *("--setParameter", "ttlMonitorSleepSecs=1"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--replSet", "rs0"),
        ]

    def environment(self) -> dict[str, str]:
        # The wheel's mongod wants OpenSSL 1.1, which lies beside it.
        return {"LD_LIBRARY_PATH": str(cache_folder() / "mongod")}

    def is_ready(self) -> bool:
        from pymongo.errors import OperationFailure, PyMongoError

        try:
            with self._client() as client:
                try:
                    client.admin.command("replSetGetStatus")
                except OperationFailure as error:
                    if error.code != 94:  # NotYetInitialized: its first start
                        return False
                    member = {"_id": 0, "host": f"{LOOPBACK}:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
                return bool(client.admin.command("hello")["isWritablePrimary"])
        except PyMongoError:
            return False

    def clear(self) -> None:
        """Drop every database but the server's own."""
        with self._client() as client:
            for name in client.list_database_names():
                if name not in ("admin", "config", "local"):
                    client.drop_database(name)

    def _client(self) -> Any:
        try:
            from pymongo import MongoClient
        except ImportError as error:
            raise ServerFailed("the mongod fixture needs pymongo in the environment") from error
        return MongoClient(self.url, serverSelectionTimeoutMS=500)
