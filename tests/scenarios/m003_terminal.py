# SPDX-License-Identifier: Apache-2.0
"""`strangler status`, `top`, `tail` and `errors` against a running site, by the real command.

Issue "CLI".
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strangler.cli import main
from strangler.testing import Edge, Upstream, configuration, respond

STRANGLER = str(Path(sys.executable).with_name("strangler"))


@pytest.fixture(scope="module")
def app() -> Iterator[Upstream]:
    with Upstream().reply(200, "fine") as made:
        made.on("/app/bad", respond(503, "sorry"))
        yield made


@pytest.fixture(scope="module")
def edge(app: Upstream) -> Iterator[Edge]:
    text = configuration(
        {
            "/app/**": {"to": "app", "fallback": "none"},
            "/canary/**": {"to": "app", "stage": "canary 50%"},
            "/**": "legacy",
        },
        upstreams={"app": {"url": app, "breaker": "none"}, "legacy": app},
    )
    with Edge(text, access_log="off") as made:
        for _ in range(30):
            made.get("/app/bad")
            made.get("/app/fine")
        yield made


def command(edge: Edge, *arguments: str) -> list[str]:
    return [STRANGLER, *arguments, "--config", str(edge.config)]


def environment(edge: Edge) -> dict[str, str]:
    return {**os.environ, "STRANGLER_STATE": str(edge.folder / "var")}


def run(edge: Edge, *arguments: str) -> tuple[int, str, str]:
    """Run a command that ends by itself; return its exit code and what it printed."""
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        patch.setenv("STRANGLER_STATE", str(edge.folder / "var"))
        code = main([*arguments, "--config", str(edge.config)])
    return code, out.getvalue(), err.getvalue()


def test_status_answers_the_five_questions(edge: Edge) -> None:
    code, out, err = run(edge, "status")
    assert code == 1, "half of a route's readers are hurt"
    for question in ("reader hurt", "30 minutes", "routes are bad", "legacy safe", "proxies agree"):
        assert question in out
    assert re.search(r"BAD +Is the reader hurt", out), out
    assert "/app/**" in out
    assert "\x1b" not in out and not err
    code, out, _ = run(edge, "status", "--json")
    told = json.loads(out)
    assert code == 1 and told["ok"] and len(told["answers"]) == 5


def test_top_prints_once_where_nobody_looks(edge: Edge) -> None:
    code, out, _ = run(edge, "top", "--seconds", "300")
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("/app/**"))
    numbers = r"[\d.]+ +50\.0% +[\d.]+ms +[\d.]+ms +- +- +(?:-|\d+)"
    assert re.match(rf"/app/\*\* +live +service +{numbers}", row)
    code, out, _ = run(edge, "top", "--json", "--seconds", "300")
    arm = json.loads(out)["routes"]["/app/**"]["service"]
    assert arm["errors"] == 0.5 and arm["statuses"] == {"2xx": 30, "5xx": 30}


def test_top_refreshes_on_a_terminal_and_leaves_it_as_it_was(edge: Edge) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(STRANGLER, command(edge, "top"), environment(edge))
    seen = b""
    end = time.monotonic() + 60
    while seen.count(b"\x1b[H") < 2 and time.monotonic() < end:
        if select.select([fd], [], [], 0.5)[0]:
            seen += os.read(fd, 65536)
    os.kill(pid, signal.SIGINT)
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:  # the other end has gone
            break
        if not piece:
            break
        seen += piece
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert seen.startswith(b"\x1b[?1049h") and seen.count(b"requests/s") >= 2
    assert seen.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")
    assert os.waitstatus_to_exitcode(status) == 130


def test_tail_shows_what_is_asked_for_until_it_is_stopped(edge: Edge) -> None:
    with subprocess.Popen(
        command(edge, "tail", "--route", "/app/**", "--status", "5xx", "--json"),
        env=environment(edge),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        end = time.monotonic() + 60
        while not select.select([running.stdout], [], [], 0.05)[0] and time.monotonic() < end:
            edge.get("/app/fine")
            edge.get("/app/bad?session=abc")
        told = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    assert (told["status"], told["path"]) == (503, "/app/bad?session=***")


def test_tail_says_when_the_site_has_gone(app: Upstream) -> None:
    with Edge(configuration(upstreams={"legacy": app}), access_log="off") as edge:
        running = subprocess.Popen(
            command(edge, "tail"),
            env=environment(edge),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stdout is not None
        while not select.select([running.stdout], [], [], 0.05)[0]:
            edge.get("/")
        line = running.stdout.readline()
        edge.stop()
        _, err = running.communicate(timeout=60)
    assert re.match(
        r"\d\d:\d\d:\d\d\.\d{3} 200 +[\d.]+ms GET www.example.com/ legacy \(legacy\)", line
    )
    assert running.returncode == 2 and "strangler: " in err


def test_errors_shows_bytes(edge: Edge) -> None:
    with edge.client() as client:
        client.send(
            b"GET /app/bad?token=abc HTTP/1.1\r\nHost: x\r\nX-Odd: caf\xe9\x1b[2J\\\r\n\r\n"
        )
        status = client.read().status
    code, out, _ = run(edge, "errors", "" if status == 400 else "/app/**")
    assert code == 0
    assert r"00000  GET /app/bad?token=*** HTTP/1.1\r\n" in out
    assert r"X-Odd: caf\xe9\x1b[2J\\\r\n" in out and "\x1b" not in out
    code, out, _ = run(edge, "errors", "/app/**", "--json")
    newest = json.loads(out)["requests"][0]
    assert newest["route"] == "/app/**" and newest["response"].startswith("HTTP/1.1 503")
    code, out, _ = run(edge, "errors", "/canary/**")
    assert (code, out) == (1, "no bad request is kept\n")


def test_without_a_site_each_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRANGLER_STATE", str(tmp_path))
    for arguments in (["status"], ["top"], ["tail"], ["errors"]):
        assert main([*arguments, "--config", str(tmp_path / "routes.yaml")]) == 2
        assert "no site runs" in capsys.readouterr().err
