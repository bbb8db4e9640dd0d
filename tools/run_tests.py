# SPDX-License-Identifier: Apache-2.0
"""Run every suite: what ``make test`` does. Arguments go to pytest.

The edge's and the services' suites are pytest's, legacy_django has Django's own, once on SQLite
and once on a real MariaDB. The last line counts all of them. Standard library only.
"""

from __future__ import annotations

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


@dataclass(slots=True)
class Suite:
    name: str
    command: list[str]
    output: list[str] = field(default_factory=list)
    code: int = 0
    seconds: float = 0.0

    def run(self, live: bool = False) -> None:
        """Run to the end; with ``live``, show each line as it comes."""
        start = time.monotonic()
        process = subprocess.Popen(
            self.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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
    pytest += ["tests", *services, *arguments]
    django = [
        Suite("legacy_django on SQLite", MANAGE),
        Suite("legacy_django on MariaDB", [*BESIDE, "mariadb", "DATABASE_URL", "--", *MANAGE]),
    ]
    main_suite = Suite("strangler and services", pytest)
    # Django's suites wait for their databases much of the time; the other one goes on beside.
    lane = threading.Thread(target=lambda: [suite.run() for suite in django], daemon=True)
    lane.start()
    main_suite.run(live=True)
    lane.join()

    total: Counter[str] = Counter()
    for suite in [*django, main_suite]:
        if suite is not main_suite:
            show = "".join(suite.output if suite.code else suite.output[-4:])
            print(f"\n== {suite.name} ==\n{show.strip()}")
        total += suite.counts()
    print(
        f"\n{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped "
        f"in {time.monotonic() - start:.0f} s"
    )
    return 1 if any(suite.code for suite in [*django, main_suite]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
