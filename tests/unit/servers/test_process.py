# SPDX-License-Identifier: Apache-2.0
"""The real servers that other tests lean on start, survive what is done to them, and stop."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pymysql
import pytest
from pymongo import MongoClient
from servers.mariadb import MariaDB
from servers.mongod import Mongod
from servers.process import Server, ServerFailed, ServerMissing, find_binary, free_port
from servers.redis import Redis

TESTS = Path(__file__).resolve().parents[2]


def test_redis_keeps_its_port_over_a_restart_and_leaves_nothing_behind() -> None:
    with Redis() as server:
        port, pid, folder = server.port, server.pid, server.folder
        assert server.ask(b"SET k v") == b"+OK\r\n"
        server.restart()
        assert server.port == port
        assert server.pid != pid
        assert server.ask(b"GET k") == b"$-1\r\n"
        last = server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1.0)


def test_a_killed_server_refuses_and_comes_back() -> None:
    with Redis() as server:
        server.kill()
        assert not server.is_running
        with pytest.raises(ConnectionRefusedError):
            server.ask(b"PING")
        server.start()
        assert server.ask(b"PING") == b"+PONG\r\n"


def test_a_paused_server_accepts_but_stays_silent_until_resumed() -> None:
    with Redis() as server:
        server.pause()
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as connection:
            connection.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(16)
            server.resume()
            connection.settimeout(5.0)
            assert connection.recv(16) == b"+PONG\r\n"


def test_a_paused_server_can_be_stopped() -> None:
    with Redis() as server:
        server.pause()
    assert not server.is_running


def test_mariadb_keeps_its_rows_over_a_restart() -> None:
    def connect() -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1", port=server.port, user="app", password="app", database="app"
        )

    with MariaDB() as server:
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (word TEXT)")
            cursor.execute("INSERT INTO t VALUES ('eleição')")
            connection.commit()
        server.restart()
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT word FROM t")
            assert cursor.fetchall() == (("eleição",),)


def test_mongod_is_a_writable_primary_and_keeps_its_documents(mongod_server: Mongod) -> None:
    with MongoClient(mongod_server.url) as client:
        client["app"]["t"].insert_one({"word": "eleição"})
    mongod_server.restart()
    with MongoClient(mongod_server.url) as client:
        assert client["app"]["t"].find_one({}, {"_id": 0}) == {"word": "eleição"}
    mongod_server.clear()
    with MongoClient(mongod_server.url) as client:
        assert "app" not in client.list_database_names()


def test_a_server_that_ends_at_once_shows_its_log_and_leaves_no_folder() -> None:
    server = Redis("--no-such-option", "x", port=free_port())
    with pytest.raises(ServerFailed, match="no-such-option"), server:
        pass
    assert not server.folder.exists()


def test_a_taken_port_is_given_up_for_another() -> None:
    with socket.socket() as squatter:
        server = Redis()
        squatter.bind(("127.0.0.1", server.port))
        squatter.listen()
        taken = server.port
        with server:
            assert server.port != taken


def test_a_missing_binary_says_how_to_get_it() -> None:
    with pytest.raises(ServerMissing, match=r"install\.py"):
        find_binary("no-such-server")


def test_no_server_outlives_a_killed_test_run() -> None:
    script = """\
        import sys
        sys.path.insert(0, sys.argv[1])
        from servers.redis import Redis
        server = Redis().__enter__()
        print(server.pid, server.folder, flush=True)
        sys.stdin.read()
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(TESTS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdin and run.stdout
    try:
        pid, folder = run.stdout.readline().split()
        watched = os.pidfd_open(int(pid))
    finally:
        run.kill()
        run.communicate()
    try:
        assert select.select([watched], [], [], 60.0)[0], "redis is still there"
    finally:
        os.close(watched)
        subprocess.run(["rm", "-r", folder], check=True)


def test_run_gives_the_url_to_the_command_and_its_exit_code_back() -> None:
    code = "import os; print(os.environ['URL']); raise SystemExit(7)"
    done = subprocess.run(
        [
            sys.executable,
            TESTS / "servers/run.py",
            "redis",
            "URL",
            "--",
            sys.executable,
            "-c",
            code,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 7
    assert done.stdout.startswith("redis://127.0.0.1:")


def test_ports_are_below_the_ephemeral_range() -> None:
    assert all(free_port() < 32768 for _ in range(50))


def test_stop_insists_on_a_server_that_ignores_sigterm() -> None:
    class Stubborn(Server):
        name = "stubborn"
        stop_timeout = 0.2

        def command(self) -> list[str]:
            code = (
                "import signal; signal.signal(15, signal.SIG_IGN); open('up', 'w'); signal.pause()"
            )
            return [sys.executable, "-c", code]

        def is_ready(self) -> bool:
            return (self.folder / "up").exists()

    with Stubborn() as server:
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)
