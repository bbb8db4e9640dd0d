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


def test_an_edge_without_counts_is_the_edge_without_just_these(measure: ModuleType) -> None:
    import uncounted

    whole = (BENCH.parent / "strangler" / "exchange" / "caching" / "known.py").read_text()
    bare = uncounted.without_observing(whole)
    assert "hits" in whole and "hits" not in bare.partition("class Known")[2]
    assert "return ready.wire" in bare
    with pytest.raises(RuntimeError, match="statements that observe"):
        uncounted.without_observing(bare)


def test_a_browser_sends_sixteen_fields(measure: ModuleType) -> None:
    assert len(measure.HEADERS) == 16


def test_the_kept_table_is_the_report_of_the_kept_figures(measure: ModuleType) -> None:
    """RESULTS.md isn't edited by hand: the figures beside it give the same tables."""
    kept = json.loads((BENCH / "results.json").read_text())
    import run

    text = (BENCH / "RESULTS.md").read_text()
    made = run.report(kept)
    assert [x for x in text.splitlines() if x.startswith(("|", "-"))] == [
        x for x in made.splitlines() if x.startswith(("|", "-"))
    ]


def test_every_section_has_a_file_a_key_and_what_run_asks_for(measure: ModuleType) -> None:
    import run

    files = {path.stem for path in (BENCH / "sections").glob("[a-z]*.py")}
    assert {section.__name__.rpartition(".")[2] for section in run.SECTIONS} == files
    assert len({section.KEY for section in run.SECTIONS}) == len(files)
    for section in run.SECTIONS:
        assert section.TITLE
        assert callable(section.measure)
        assert callable(section.report)
        assert callable(section.aims)


def test_an_aim_that_is_missed_says_so(measure: ModuleType) -> None:
    import run
    from sections import collapse

    def data(renders: int) -> dict[str, object]:
        one = {"renders": renders, "answered": 1000, "last_ms": 210}
        return {"readers": 1000, "rows": {"strangler": {"cold": one, "expired": one}}}

    def text(renders: int) -> str:
        found = {collapse.KEY: data(renders)}
        return run.report(
            {
                "date": "2026-11-29", "command": "make bench", "machine": "a machine",
                "versions": [], "load": 0.1, "sections": found,
                "failed": {"purge": "RuntimeError: no"}, "seconds": {"collapse": 60},
            }
        )  # fmt: skip

    assert "1 of 1 aims were reached" in text(1)
    assert "missed" not in text(1)
    assert "0 of 1 aims were reached" in text(2)
    assert "**missed**" in text(2)
    assert "- purge: RuntimeError: no" in text(2)


def test_a_section_measured_apart_takes_its_place(measure: ModuleType) -> None:
    import run

    first, second = (section.KEY for section in run.SECTIONS[:2])
    kept = {"sections": {second: {"a": 1}}, "failed": {first: "it broke"}, "seconds": {second: 9}}
    again = {"sections": {first: {"b": 2}}, "failed": {}, "seconds": {first: 5}}
    told = run.merged(kept, again)
    assert list(told["sections"]) == [first, second]
    assert told["failed"] == {}
    assert told["seconds"] == {first: 5, second: 9}
    assert told["apart"] == [first]
