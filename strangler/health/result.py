# SPDX-License-Identifier: Apache-2.0
"""What a check found, and the document that all of them make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a health check.

    time: Unix seconds of the look · duration: seconds that it took · since: Unix seconds from
    which the verdict has been the same.
    """

    checker: str
    output: str
    passed: bool
    time: float
    duration: float
    since: float

    def json(self) -> dict[str, Any]:
        """Return the members of the format."""
        return {
            "checker": self.checker,
            "output": self.output,
            "passed": self.passed,
            "time": round(self.time, 3),
            "duration": round(self.duration, 6),
            "since": round(self.since, 3),
        }


def document(results: Iterable[Result]) -> dict[str, Any]:
    """Return the whole document; its status is failure where one check did not pass."""
    listed = [result.json() for result in results]
    passed = all(one["passed"] for one in listed)
    return {"status": "success" if passed else "failure", "results": listed}
