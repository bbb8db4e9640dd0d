# SPDX-License-Identifier: Apache-2.0
"""The admin API, asked everything that its own OpenAPI document allows and much that it doesn't."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scenarios.load import origin
from scenarios.o001_overrides import call
from scenarios.story import token

from strangler.testing import Edge, configuration


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with origin("legacy") as legacy, origin("busca") as busca:
        text = configuration(
            {"/**": "legacy", "/busca/**": {"to": "busca", "cache": {"edge": "1s"}}},
            upstreams={"legacy": legacy, "busca": busca},
            overrides={"changes": "none"},  # it asks faster than any operator
        )
        with Edge(text, access_log="off") as made:
            yield made


def test_it_answers_whatever_it_is_asked_as_it_says(edge, tmp_path):
    """No 5xx that isn't documented, every answer of the shape that the document gives."""
    program = Path(sys.executable).with_name("schemathesis")
    ended = subprocess.run(
        [
            *(program, "run", f"http://127.0.0.1:{edge.admin_port}/-/openapi.json"),
            *("--header", f"Authorization: Bearer {token(edge)}"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "5"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
            *("--checks", "response_schema_conformance,negative_data_rejection"),
            # An endless stream is no answer to compare with a schema.
            *("--exclude-path", "/-/tail", "--request-timeout", "20"),
            *("--seed", "1", "--no-color", "--workers", "1"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "/-/overrides" in ended.stdout or "operations" in ended.stdout.lower()
    # It still stands, and the routes still do what the file says.
    assert call(edge, "GET", "/ready")[0] == 200
    call(edge, "POST", "/overrides/clear", {"all": True, "reason": "the test is over"})
    assert edge.get("/busca/x").text.startswith("busca")
