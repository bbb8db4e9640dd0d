# SPDX-License-Identifier: Apache-2.0
"""Run every suite: what ``make test`` does. Arguments go to pytest.

The edge's and the services' suites are pytest's, run on the edge's compiled modules, and part of
them once more on its sources. legacy_django has Django's own, once on SQLite and once on a real
MariaDB. The last line counts all of them. Standard library only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, "legacy_django/manage.py", "test", "legacy_django"]
BESIDE = [sys.executable, "tests/servers/run.py"]
#: What is run on the sources too: the tests of what else runs compiled, and all that put something
#: in the place of what compiled modules call each other by (marked so).
SOURCES = [
    *(f"tests/unit/{room}" for room in ("bench", "cache", "edge", "exchange", "observe")),
    *(f"tests/unit/{room}" for room in ("resilience", "routing", "upstream", "wire")),
    "tests/unit/test_clock.py",
    *(f"tests/scenarios/{story}.py" for story in ("g005_apart", "r203_seams")),
]


@dataclass(slots=True)
class Suite:
    name: str
    command: list[str]
    build: str = "compiled"
    output: list[str] = field(default_factory=list)
    code: int = 0
    seconds: float = 0.0

    def run(self, live: bool = False) -> None:
        """Run to the end; with ``live``, show each line as it comes."""
        start = time.monotonic()
        process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env={**os.environ, "STRANGLER_BUILD": self.build},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        for line in process.stdout:
            self.output.append(line)
            if live:
                print(line, end="", flush=True)
        self.code = process.wait()
        self.seconds = time.monotonic() - start

    def counts(self) -> Counter[str]:
        """Return how many tests passed, failed, were skipped."""
        text = "".join(self.output)
        found: Counter[str] = Counter()
        if ran := re.findall(r"^Ran (\d+) tests? in", text, re.M):
            words = dict(re.findall(r"(failures|errors|skipped)=(\d+)", text))
            found["failed"] = int(words.get("failures", 0)) + int(words.get("errors", 0))
            found["skipped"] = int(words.get("skipped", 0))
            found["passed"] = int(ran[-1]) - found["failed"] - found["skipped"]
        elif self.output:
            last = text.rstrip().rpartition("\n")[2]
            for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last):
                found["failed" if word.startswith("error") else word] += int(number)
        if self.code and not found["failed"]:
            found["failed"] = 1  # it didn't come to its tests
        return found


def main(arguments: list[str]) -> int:
    start = time.monotonic()
    services = sorted(str(p.parent.relative_to(ROOT)) for p in ROOT.glob("extracted/*/tests"))
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    # Most tests wait for a clock or a server most of the time; four at once starved one another.
    side_by_side = ["-n", "3", "--max-worker-restart", "0"]
    pytest = [sys.executable, "-m", "pytest", *side_by_side, *colour]
    django = [
        Suite("legacy_django on SQLite", MANAGE),
        Suite("legacy_django on MariaDB", [*BESIDE, "mariadb", "DATABASE_URL", "--", *MANAGE]),
    ]
    mine = [
        Suite("strangler and services", [*pytest, "tests", *services, *arguments]),
        Suite("strangler's sources", [*pytest, *SOURCES, *arguments], build="sources"),
    ]
    # Django's suites wait for their databases much of the time; the other one goes on beside.
    lane = threading.Thread(target=lambda: [suite.run() for suite in django], daemon=True)
    lane.start()
    for suite in mine:
        print(f"== {suite.name} ==", flush=True)
        suite.run(live=True)
    lane.join()

    total: Counter[str] = Counter()
    for suite in [*django, *mine]:
        if suite in django:
            show = "".join(suite.output if suite.code else suite.output[-4:])
            print(f"\n== {suite.name} ==\n{show.strip()}")
        total += suite.counts()
    print(
        f"\n{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped "
        f"in {time.monotonic() - start:.0f} s"
    )
    return 1 if any(suite.code for suite in [*django, *mine]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
