# SPDX-License-Identifier: Apache-2.0
"""Run a command beside a real server: ``run.py mariadb DATABASE_URL -- ./manage.py test``.

The second word is the environment variable that carries the server's URL to the command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# In the place of this folder: its modules are named like packages that clients import (redis).
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from servers.mariadb import MariaDB
from servers.mongod import Mongod
from servers.redis import Redis

SERVERS = {"mariadb": MariaDB, "mongod": Mongod, "redis": Redis}


def main(arguments: list[str]) -> int:
    match arguments:
        case [name, variable, "--", *command] if name in SERVERS and command:
            with SERVERS[name]() as server:
                return subprocess.call(command, env={**os.environ, variable: server.url})
    print(f"usage: run.py {'|'.join(SERVERS)} VARIABLE -- COMMAND…", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
