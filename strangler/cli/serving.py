# SPDX-License-Identifier: Apache-2.0
"""The site's own processes: `serve` runs them, `upgrade` and `reload` speak to those that run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from strangler.cli.output import complain
from strangler.control.client import Client, Unreachable, state_folder
from strangler.control.state import noted

#: Exit codes: the answer is no, or none came in time; there is nobody to ask.
_NO, _NOBODY = 1, 2


class _Refused(Exception):
    """It can't be done; why, for the person who typed."""


def add_commands(commands: Any) -> None:
    """Add serve, upgrade and reload."""
    one = commands.add_parser("serve", help="run the edge until it is told to stop")
    one.add_argument("--config", default="routes.yaml", metavar="FILE")
    one.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="HOST:PORT, [V6]:PORT, :PORT or unix:PATH, http:// or https:// before it; repeatable",
    )
    one.add_argument("--admin", default="", metavar="ADDRESS", help='address, or "none"')
    one.add_argument("--workers", type=_count, metavar="N", help="default: one a core")
    one.add_argument("--access-log", choices=("text", "json", "off"), default="text")
    one.add_argument(
        "--access-log-file", default="-", metavar="FILE", help="default: standard output"
    )
    one.add_argument("--log", choices=("text", "json"), default="text", help="form of events")
    one.add_argument("--tls-cert", default="", metavar="FILE", help="PEM, with its chain")
    one.add_argument("--tls-key", default="", metavar="FILE")
    one.add_argument(
        "--last-good",
        action="store_true",
        help="where the file is rejected, serve the configuration accepted last",
    )
    one.set_defaults(run=run_serve)

    one = commands.add_parser("upgrade", help="let the running site take up new code")
    one.add_argument("--config", default="routes.yaml", metavar="FILE")
    one.set_defaults(run=run_upgrade)

    one = commands.add_parser("reload", help="let the running site read its configuration anew")
    one.add_argument("--config", default="routes.yaml", metavar="FILE")
    one.add_argument("--admin", default=os.environ.get("STRANGLER_ADMIN", ""), metavar="ADDRESS")
    one.add_argument("--yes", action="store_true", help="confirm that many routes vanish")
    one.set_defaults(run=run_reload)


def run_serve(given: argparse.Namespace) -> int:
    """Run the site until it is told to stop; return the exit code of `app.serve`."""
    from strangler import app  # the engine: no other command waits for its import

    return app.serve(
        app.Options(
            config=given.config,
            listen=tuple(given.listen),
            admin=given.admin,
            workers=given.workers,
            access_log=given.access_log,
            access_file=given.access_log_file,
            log=given.log,
            tls_cert=given.tls_cert,
            tls_key=given.tls_key,
            last_good=given.last_good,
        )
    )


def run_upgrade(given: argparse.Namespace, *, timeout: float = 90.0) -> int:
    """Let the running site replace its own code and wait until it has; return the exit code."""
    try:
        print(f"strangler: upgraded, pid {_upgrade(state_folder(given.config), timeout)}")
    except Unreachable as problem:
        complain(str(problem), hint=problem.hint)
        return _NOBODY
    except _Refused as refused:
        complain(str(refused))
        return _NO
    return 0


def _upgrade(folder: Path, timeout: float) -> int:
    before = _running(folder)
    os.kill(before["pid"], signal.SIGUSR2)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        time.sleep(0.1)
        now = noted(folder) or before
        if now["ready"] != before["ready"]:
            if now.get("upgrade_rejected"):
                raise _Refused(f"the upgrade was rejected: {now['upgrade_rejected']}")
            return int(now["pid"])
    raise _Refused(f"no answer within {timeout:g} s; see the log of process {before['pid']}")


def run_reload(given: argparse.Namespace) -> int:
    """Let the running site read its configuration anew; print the outcome; return the exit code."""
    try:
        _, answer = Client.find(given.config, given.admin).post("/-/reload", {"yes": given.yes})
    except Unreachable as problem:
        complain(str(problem), hint=problem.hint)
        return _NOBODY
    if answer.get("ok"):
        count = answer["routes"]
        print(f"strangler: generation {answer['generation']}, {count} route{'s' * (count != 1)}")
        return 0
    for line in answer.get("text") or [answer.get("error")]:
        print(line, file=sys.stderr)
    return _NO


def _running(folder: Path) -> dict[str, Any]:
    told = noted(folder)
    if told is not None:
        try:
            os.kill(int(told["pid"]), 0)
            return told
        except (OSError, KeyError, ValueError):
            pass
    hint = "say which site with --config FILE"
    raise Unreachable(f"no site runs with the state folder {folder}", hint)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"expected 1-1024, got {text!r}")
    return int(text)
