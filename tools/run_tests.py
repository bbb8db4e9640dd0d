# SPDX-License-Identifier: Apache-2.0
"""Run every suite: what ``make test`` does. Arguments go to pytest.

The edge's and the services' suites are pytest's, legacy_django has Django's own, once on SQLite
and once on a real MariaDB. The last line counts all of them. Standard library only.

Three processes of real servers crowd two cores. Where up to `UNSTEADY` of thousands of tests fail
in the crowd, each is told `AGAIN` times by itself: one failure more and the run has failed. What
passes every time is named as unsteady: it is to be looked into, but nobody's change has broken it.
"""

from __future__ import annotations

import json
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
CACHE = ".pytest_cache/suites"
FAILED = ROOT / CACHE / "v" / "cache" / "lastfailed"
UNSTEADY = 3
AGAIN = 3


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


def steady_alone(suite: Suite) -> list[str]:
    """Return the tests of *suite* that failed, if all of them pass again and again by themselves.

    An empty list: they don't, or there are too many, or it broke off.
    """
    count = suite.counts()["failed"]
    if suite.code != 1 or not 0 < count <= UNSTEADY or not FAILED.exists():
        return []
    tests = sorted(json.loads(FAILED.read_text()))
    if len(tests) != count:
        return []
    for number in range(AGAIN):
        alone = Suite(
            f"{count} failed: alone, {number + 1} of {AGAIN}",
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests],
        )
        print(f"\n== {alone.name} ==", flush=True)
        alone.run(live=True)
        if alone.code or alone.counts()["passed"] != count:
            return []
    return tests


def main(arguments: list[str]) -> int:
    start = time.monotonic()
    services = sorted(str(p.parent.relative_to(ROOT)) for p in ROOT.glob("extracted/*/tests"))
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    # Most tests wait for a clock or a server most of the time; four at once starved one another.
    side_by_side = ["-n", "3", "--max-worker-restart", "0", "-o", f"cache_dir={CACHE}"]
    FAILED.unlink(missing_ok=True)
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
    unsteady = steady_alone(main_suite)

    total: Counter[str] = Counter()
    for suite in [*django, main_suite]:
        if suite is not main_suite:
            show = "".join(suite.output if suite.code else suite.output[-4:])
            print(f"\n== {suite.name} ==\n{show.strip()}")
        total += suite.counts()
    if unsteady:
        main_suite.code = 0
        total["failed"] -= len(unsteady)
        total["passed"] += len(unsteady)
        told = f"failed among the others and passed {AGAIN} times alone"
        print(f"\nUNSTEADY, {told}:\n  " + "\n  ".join(unsteady))
    print(
        f"\n{total['passed']} passed ({len(unsteady)} unsteady), {total['failed']} failed, "
        f"{total['skipped']} skipped in {time.monotonic() - start:.0f} s"
    )
    return 1 if any(suite.code for suite in [*django, main_suite]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
