# SPDX-License-Identifier: Apache-2.0
"""``make run``'s process runner: clear about ports, and nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers.process import free_port

ROOT = Path(__file__).resolve().parents[3]
RUNNER = ROOT / "tools" / "local_site.py"

# Answers every path with 200, and has a child of its own that ignores the polite signals.
PART = """\
import http.server, os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"],
    stdout=subprocess.PIPE)
child.stdout.readline()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
for port in sys.argv[2:]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Answer)
    import threading
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("pids", os.getpid(), child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, its path with a space, whose parts are small programs and have their data."""
    folder = tmp_path / "a checkout"
    (folder / "tools").mkdir(parents=True)
    (folder / "tools" / "local_site.py").write_bytes(RUNNER.read_bytes())
    (folder / "part.py").write_text(PART)
    (folder / "Procfile").write_text(
        "legacy: python part.py legacy $LEGACY_PORT\n"
        "materia: python part.py materia $MATERIA_PORT\n"
        "edge: python part.py edge $EDGE_PORT $ADMIN_PORT\n"
    )
    (folder / "legacy_django").mkdir()
    (folder / "legacy_django" / "manage.py").write_text("")
    (folder / "var").mkdir()
    (folder / "var" / "legacy.sqlite3").touch()
    (folder / "var" / "materia.sqlite3").touch()
    return folder


def ports() -> dict[str, str]:
    names = ("EDGE_PORT", "ADMIN_PORT", "LEGACY_PORT", "MATERIA_PORT")
    found: set[int] = set()
    while len(found) < len(names):
        found.add(free_port())
    return {name: str(port) for name, port in zip(names, found, strict=True)}


def hasten(checkout: Path) -> None:
    """Have a part that ended start again after a moment."""
    script = checkout / "tools" / "local_site.py"
    text = script.read_text()
    assert "\nAGAIN = 10.0 " in text
    script.write_text(text.replace("\nAGAIN = 10.0 ", "\nAGAIN = 0.2 "))


def read_until(runner: subprocess.Popen[str], word: str) -> str:
    """Return what the runner prints up to the line with *word*."""
    printed = ""
    assert runner.stdout
    for line in runner.stdout:
        printed += line
        if word in line:
            return printed
    raise AssertionError(f"no {word!r} in {printed}")


def start(checkout: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, checkout / "tools" / "local_site.py"],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextmanager
def running(checkout: Path, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give the runner and what it printed until everything was up and each part had its word.

    A part answers before its first line has been copied: either may be the last to come.
    """
    runner = start(checkout, env)
    printed = ""
    try:
        assert runner.stdout
        for line in runner.stdout:
            printed += line
            if "Ctrl-C stops everything" in printed and len(pids(printed)) == 6:
                break
        else:
            raise AssertionError(printed)
        yield runner, printed
    finally:
        # Politely, so that it ends the parts' stubborn children too; after a test has, it's gone.
        runner.terminate()
        try:
            runner.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.communicate()


def pids(printed: str) -> list[int]:
    lines = [line for line in printed.splitlines() if "| pids " in line]
    return [int(word) for line in lines for word in line.split()[-2:]]


def ends(pid: int, within: float = 15.0) -> bool:
    """Wait until the process has ended."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], within)[0])
    finally:
        os.close(watched)


def test_it_says_where_to_look_and_names_every_line(checkout: Path) -> None:
    env = ports()
    with running(checkout, env) as (runner, printed):
        for port in env.values():
            assert f"http://localhost:{port}/" in printed
        assert "legacy  | pids" in printed
        assert "leitor001" in printed and "admin-2026" in printed
        assert f"kill {pids(printed)[2]}" in printed
        assert runner.poll() is None


def test_a_second_one_in_the_same_folder_is_refused_whatever_its_ports(checkout: Path) -> None:
    with running(checkout, ports()) as (runner, _):
        second = start(checkout, ports())
        told, _ = second.communicate(timeout=20)
        assert second.returncode == 1
        assert f"runs already (pid {runner.pid})" in told
        assert runner.poll() is None
    with running(checkout, ports()):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_process_and_its_children(checkout: Path, number: int) -> None:
    with running(checkout, ports()) as (runner, printed):
        family = pids(printed)
        assert len(family) == 6
        runner.send_signal(number)
        assert runner.wait(60) == 0
        assert all(ends(pid) for pid in family)


def test_the_edges_end_ends_all(checkout: Path) -> None:
    with running(checkout, ports()) as (runner, printed):
        family = pids(printed)
        os.kill(family[4], signal.SIGKILL)
        assert runner.stdout
        rest = runner.stdout.read()
        assert runner.wait(60) == 1
        assert "edge ended (SIGKILL), so everything is stopped" in rest
        assert all(ends(pid) for pid in family)


@pytest.mark.parametrize(("part", "at"), [("legacy", 0), ("materia", 2)])
def test_another_part_that_ends_is_told_and_started_again(
    checkout: Path, part: str, at: int
) -> None:
    hasten(checkout)
    with running(checkout, ports()) as (runner, printed):
        family = pids(printed)
        for _ in range(2):
            leader, child = family[at], family[at + 1]
            os.kill(leader, signal.SIGKILL)
            told = read_until(runner, "| pids ")
            assert f"site: {part} ended (SIGKILL)" in told
            assert f"site: {part} starts again" in told
            assert ends(child)  # nothing of the old one holds its port
            family[at : at + 2] = pids(told)
            assert family[at] != leader
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 0
        assert all(ends(pid) for pid in family)


def test_a_part_that_will_not_start_again_does_not_end_the_site(checkout: Path) -> None:
    hasten(checkout)
    with running(checkout, ports()) as (runner, printed):
        family = pids(printed)
        (checkout / "part.py").write_text("raise SystemExit(7)\n")
        os.kill(family[2], signal.SIGTERM)
        assert "materia ended (SIGTERM)" in read_until(runner, "materia ended")
        for _ in range(2):
            assert "materia ended (exit 7)" in read_until(runner, "materia ended")
        assert runner.poll() is None
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(60) == 0
        assert all(ends(pid) for pid in family)


def test_the_parts_end_when_the_runner_is_killed(checkout: Path) -> None:
    with running(checkout, ports()) as (runner, printed):
        family = pids(printed)
        runner.kill()
        # The stubborn grandchildren are beyond reach then; a real part ends its own.
        leaders, children = family[::2], family[1::2]
        try:
            assert all(ends(pid) for pid in leaders)
        finally:
            for pid in children:
                os.kill(pid, signal.SIGKILL)


def test_a_taken_port_is_named_with_the_way_out(checkout: Path) -> None:
    env = ports()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", int(env["LEGACY_PORT"])))
        squatter.listen()
        runner = start(checkout, env)
        printed, _ = runner.communicate(timeout=20)
    assert runner.returncode == 1
    assert f"port {env['LEGACY_PORT']} can't be used" in printed
    assert "LEGACY_PORT=" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"EDGE_PORT": "http"}, "EDGE_PORT: expected a port"),
        ({"EDGE_PORT": "0"}, "from 1 to 65535"),
    ],
)
def test_a_port_that_is_none_is_refused(checkout: Path, change: dict[str, str], said: str) -> None:
    runner = start(checkout, {**ports(), **change})
    printed, _ = runner.communicate(timeout=20)
    assert runner.returncode == 1
    assert said in printed


def test_one_port_for_two_parts_is_refused(checkout: Path) -> None:
    env = ports()
    env["MATERIA_PORT"] = env["EDGE_PORT"]
    printed, _ = start(checkout, env).communicate(timeout=20)
    assert "EDGE_PORT and MATERIA_PORT are both" in printed


def test_an_interrupted_first_fill_is_made_anew(checkout: Path) -> None:
    """What stands in var/ under its final name is always whole."""
    (checkout / "var" / "legacy.sqlite3").unlink()
    (checkout / "var" / "legacy.sqlite3.new").write_text("half")
    (checkout / "legacy_django" / "manage.py").write_text(
        "import os, sys\n"
        "if sys.argv[1] == 'semear': raise SystemExit(3)\n"
        "open(os.environ['LEGACY_DB'], 'x').close()\n"
    )
    runner = start(checkout, ports())
    runner.communicate(timeout=20)
    assert runner.returncode == 3
    assert not (checkout / "var" / "legacy.sqlite3").exists()

    (checkout / "legacy_django" / "manage.py").write_text(
        "import os, sys\n"
        "if sys.argv[1] == 'migrate': open(os.environ['LEGACY_DB'], 'x').close()\n"
        "if sys.argv[1] == 'semear': open(os.environ['LEGACY_DB'], 'w').write('whole')\n"
    )
    with running(checkout, ports()):
        assert (checkout / "var" / "legacy.sqlite3").read_text() == "whole"
