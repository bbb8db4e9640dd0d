# SPDX-License-Identifier: Apache-2.0
"""A console's session that was signed out is over, for whoever has copied its cookie too.

pains.md 51 (an admin listener that others can use): on four workers, over the death of every
process, an upgrade and a restart.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from scenarios.load import origin
from scenarios.story import token

from strangler.control.sessions import COOKIE
from strangler.testing import Closed, Edge, RawClient, configuration, until

WORKERS = 4


@pytest.fixture(scope="module")
def text() -> Iterator[str]:
    with origin("legacy") as legacy:
        yield configuration(upstreams={"legacy": legacy}, limits={"drain": "2s"})


def browse(edge: Edge, path: str, cookie: str = "", **document: Any) -> Any:
    """Be the console's page; return status, document and the cookie that was set."""
    own = f"127.0.0.1:{edge.admin_port}"
    fields = [("Cookie", f"{COOKIE}={cookie}")] if cookie else []
    method = "GET"
    if path != "/whoami":
        method = "POST"
        fields += [("Origin", f"http://{own}"), ("Content-Type", "application/json")]
    with RawClient(edge.admin, server_name=own) as client:
        body = json.dumps(document) if method == "POST" else None
        response = client.request(method, f"/-{path}", fields, body)
        given = (response.get("Set-Cookie") or b"").decode().partition(";")[0].partition("=")[2]
        return response.status, json.loads(response.text), given


def sign_in(edge: Edge, secret: str) -> str:
    status, _, cookie = browse(edge, "/login", token=secret)
    assert status == 200
    return str(cookie)


def who(edge: Edge, cookie: str) -> str | None:
    try:
        told = browse(edge, "/whoami", cookie)[1]["who"]
    except (Closed, OSError, ValueError):  # the one who would answer is being replaced
        return "nobody answers"
    return None if told is None else str(told)


def pids(edge: Edge) -> set[int]:
    try:
        return {one["pid"] for one in edge.admin_json("/-/workers")[1]["workers"]}
    except (Closed, OSError, ValueError):
        return set()


def test_pain_51_a_copied_cookie_ends_by_signing_out_whatever_dies_meanwhile(text: str) -> None:
    with Edge(text, workers=WORKERS, access_log="off") as edge:
        secret = token(edge)
        copied, other = sign_in(edge, secret), sign_in(edge, secret)
        assert who(edge, copied) == who(edge, other) == "admin.token"
        assert browse(edge, "/logout", copied)[0] == 200
        assert who(edge, copied) is None
        assert browse(edge, "/reload", copied)[0] == 401
        assert who(edge, other) == "admin.token"

        before = pids(edge)
        for pid in edge.pids[1:]:  # all workers, and control
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(now := pids(edge)) == WORKERS and not now & before, timeout=20)
        assert (who(edge, copied), who(edge, other)) == (None, "admin.token")

        before = pids(edge)
        edge.process.send_signal(signal.SIGUSR2)  # an upgrade
        until(lambda: len(now := pids(edge)) == WORKERS and not now & before, timeout=30)
        assert (who(edge, copied), who(edge, other)) == (None, "admin.token")

        environment = {"STRANGLER_STATE": str(edge.folder / "var")}
        edge.process.terminate()
        edge.process.wait(60)
        with Edge(text, workers=WORKERS, access_log="off", environment=environment) as again:
            assert (who(again, copied), who(again, other)) == (None, "admin.token")
            entries = map(
                json.loads, (edge.folder / "var" / "audit.jsonl").read_text().splitlines()
            )
            assert [one["what"] for one in entries].count("logout") == 1
