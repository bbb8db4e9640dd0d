# SPDX-License-Identifier: Apache-2.0
"""The events log: one line an event, whatever is in it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from strangler.observe.events import as_value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain-word", "plain-word"),
        (7, "7"),
        (0.12345, "0.123"),
        (b"/x", "/x"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b', '"a\\"b"'),
        ("a\nb", '"a\\nb"'),
        ("a=b", '"a=b"'),
        ("ção", '"ção"'),
    ],
)
def test_values(value, written):
    assert as_value(value) == written


PROGRAM = """
import logging, os, sys
from strangler.observe import events
threads = sys.argv[2] == "threads"
events.set_up("worker 1", sys.argv[1], threads=threads)
events.announce("config.accepted", generation=3, files="a b")
logging.getLogger("tornado.general").warning("odd\\nthing")
logging.getLogger("strangler.events").warning("head.large bytes=%d", 7)
try:
    1 / 0
except ZeroDivisionError:
    events.errors.exception("request.failed")
events.put_down()
"""


def run(form: str, mode: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, form, mode], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


@pytest.mark.parametrize("mode", ["threads", "direct"])
def test_text(mode):
    lines = run("text", mode)
    assert lines[0].endswith('Z worker 1: config.accepted generation=3 files="a b"')
    assert lines[1].endswith('worker 1: WARNING tornado.general.warning message="odd\\nthing"')
    assert lines[2].endswith("worker 1: WARNING head.large bytes=7")
    assert lines[3].endswith("worker 1: ERROR request.failed")
    assert lines[4] == "Traceback (most recent call last):"
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_json():
    told = [json.loads(line) for line in run("json", "threads")]
    assert [one["event"] for one in told] == [
        "config.accepted",
        "tornado.general.warning",
        "head.large bytes=7",
        "request.failed",
    ]
    assert told[0]["process"] == "worker 1"
    assert (told[0]["generation"], told[0]["level"]) == (3, "info")
    assert "ZeroDivisionError" in told[3]["traceback"]


def test_the_supervisor_is_never_held_up_by_a_log_that_nobody_reads():
    program = PROGRAM.replace(
        "events.put_down()", "[events.announce('x.y', z='w' * 1000) for _ in range(1000)]"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "text", "direct"], stderr=subprocess.PIPE
    ) as process:
        assert process.wait(60) == 0  # and only then is its output read


def test_nothing_is_left_attached_here():
    assert not any("strangler" in type(one).__module__ for one in logging.getLogger().handlers)
