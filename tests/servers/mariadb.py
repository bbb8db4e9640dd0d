# SPDX-License-Identifier: Apache-2.0
"""A real MariaDB."""

from __future__ import annotations

import socket

from servers.process import LOOPBACK, Server, find_binary

_INIT = """\
CREATE DATABASE IF NOT EXISTS app CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';
GRANT ALL ON *.* TO app@'%';
"""


class MariaDB(Server):
    """``mariadbd`` with a database ``app`` and a user ``app`` (password ``app``) that may all."""

    name = "mariadb"
    user = "nobody"  # mariadbd refuses root

    @property
    def url(self) -> str:
        return f"mysql://app:app@{LOOPBACK}:{self.port}/app"

    def prepare(self) -> None:
        self.run(
            [
                find_binary("mariadb-install-db"),
                *("--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
            ]
        )
        (self.folder / "init.sql").write_text(_INIT)

    def command(self) -> list[str]:
        return [
            find_binary("mariadbd"),
            *("--no-defaults", f"--datadir={self.folder / 'data'}"),
            *(f"--port={self.port}", f"--bind-address={LOOPBACK}", "--skip-name-resolve"),
            *(f"--socket={self.folder / 's.sock'}", f"--pid-file={self.folder / 'pid'}"),
            *(f"--init-file={self.folder / 'init.sql'}", "--innodb-buffer-pool-size=64M"),
            # Durability costs seconds and a test's folder is thrown away.
            *("--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"),
        ]

    def is_ready(self) -> bool:
        # The greeting (protocol version 10) is sent only after the init file has run.
        with socket.create_connection((LOOPBACK, self.port), timeout=1.0) as connection:
            return connection.recv(5)[4:] == b"\x0a"
