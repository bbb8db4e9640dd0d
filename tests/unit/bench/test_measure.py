# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures what it says: CPU of a whole process tree, whole pages, whole tables."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"

BURN = """\
import subprocess, sys, time
def burn(seconds):
    while time.process_time() < seconds:
        pass
if len(sys.argv) > 1:
    burn(0.4)
    memory = b"x" * (40 << 20)
else:
    burn(0.2)
    child = subprocess.Popen([sys.executable, "-c", CODE, "child"], stdout=subprocess.PIPE)
    child.stdout.readline()
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def measure() -> Iterator[ModuleType]:
    before = list(sys.path)
    sys.path.insert(0, str(BENCH))
    try:
        import measure

        yield measure
    finally:
        sys.path[:] = before


def test_cpu_and_memory_are_those_of_the_whole_tree(measure: ModuleType) -> None:
    code = f"CODE = {BURN!r}\n" + BURN
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == b"done\n"
        assert 0.55 <= measure.cpu_seconds(process.pid) <= 1.2
        assert 45 << 20 <= measure.resident_bytes(process.pid) <= 150 << 20
        assert len(measure.process_tree(process.pid)) == 2
        process.stdin.close()


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10240, True),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10239, False),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10241, False),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n" + b"x" * 10240, False),
    ],
)
def test_only_the_whole_page_counts(measure: ModuleType, answer: bytes, whole: bool) -> None:
    def serve() -> None:
        client, _ = listener.accept()
        with client:
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                received += client.recv(65536)
            assert received == measure.REQUEST
            for start in range(0, len(answer), 4000):
                client.sendall(answer[start : start + 4000])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        connection = measure.Connection(listener.getsockname()[1])
        try:
            if whole:
                connection.get()
            else:
                with pytest.raises(measure.Broken):
                    connection.get()
        finally:
            connection.socket.close()
            server.join()


def test_a_browser_sends_sixteen_fields(measure: ModuleType) -> None:
    assert len(measure.HEADERS) == 16


def test_the_kept_table_is_the_report_of_the_kept_figures(measure: ModuleType) -> None:
    """RESULTS.md isn't edited by hand: the figures beside it give the same tables."""
    if not (BENCH / "results.json").exists():
        pytest.skip("no run has been kept yet")
    import run

    kept = (BENCH / "RESULTS.md").read_text()
    made = run.report(json.loads((BENCH / "results.json").read_text()))
    assert [x for x in kept.splitlines() if x.startswith(("|", "-"))] == [
        x for x in made.splitlines() if x.startswith(("|", "-"))
    ]
