# SPDX-License-Identifier: Apache-2.0
"""Every problem that a configuration can have: a stable code, a place, what to do.

A code never changes its meaning and is never used again once retired. S0 is about files and
YAML, S1 about one value, S2 about names that must exist, S3 about routes and how they stand to
each other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from strangler.config.snapshot import Place

Severity = Literal["error", "warning", "note"]
"""error: rejected. warning: served, and told in the log. note: told to who asks `check` alone."""


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of problem: its title and what to do about it."""

    title: str
    remedy: str


CODES: Final[dict[str, Code]] = {
    "S001": Code("a file cannot be read", "Check its name and who may read it."),
    "S002": Code("a file is too large", "A file may have 4 MB: split it with `include`."),
    "S003": Code("a file is not UTF-8", "Save it as UTF-8."),
    "S004": Code("the text is not YAML", "Look at the place named and the line above it."),
    "S005": Code("a tab indents a line", "YAML indents with spaces only."),
    "S006": Code("a key stands twice", "Keep one of the two; both lines are named."),
    "S007": Code("several documents in one file", "Remove the `---` or use `include`."),
    "S008": Code("the file has no options", "Begin with `version: 1`."),
    "S009": Code("a YAML tag", "Remove the `!tag`: values have the type that their option says."),
    "S010": Code("an anchor, alias or merge key", "Say it once under `presets` and `use` it."),
    "S011": Code("nested too deeply", "No option is more than 32 levels deep."),
    "S101": Code("an unknown key", "Look for the nearest name in the reference."),
    "S102": Code("a required key is missing", "Add it."),
    "S103": Code("a value of the wrong kind", "The message says what is expected."),
    "S104": Code("a value out of its range", "The message says the range."),
    "S105": Code("a number without a unit", "Write the unit: `10s`, `256KB`, `5%`."),
    "S106": Code("a word that is none of the choices", "The message lists the choices."),
    "S107": Code("a malformed value", "The message says the form."),
    "S108": Code("keys that do not go together", "Keep one of them."),
    "S109": Code("a missing environment variable", "Set it, or write `${env:NAME:-default}`."),
    "S110": Code("a secret in the file", "Write `${env:NAME}` and set the variable."),
    "S111": Code(
        "`on`, `off`, `yes` or `no` without quotes",
        "YAML 1.1 reads them as true and false, YAML 1.2 as text: say which you mean.",
    ),
    "S112": Code("an unknown version of the format", "This release reads version 1."),
    "S201": Code("an unknown upstream", "Add it under `upstreams`, or correct the name."),
    "S202": Code("an unknown preset", "Add it under `presets`, or correct the name."),
    "S203": Code("no upstream has the role legacy", "Give one upstream `role: legacy`."),
    "S204": Code("two upstreams have the role legacy", "Keep the role at one of them."),
    "S205": Code(
        "an upstream is the edge itself", "A request would circle for ever: name another address."
    ),
    "S206": Code("a page file does not exist", "Make it, or correct its name."),
    "S207": Code("an upstream that no route uses", "It may wait for its first route. A note."),
    "S301": Code("a malformed route key", "A key is `[METHOD[,METHOD]] [host]/path`."),
    "S302": Code("two routes tie", "Make one more specific; both places are named."),
    "S303": Code("a route outside its file's prefix", "Move it to the file that owns its path."),
    "S304": Code("an include that finds nothing wanted", "Correct its pattern or its prefix."),
    "S305": Code("a stage and a target that contradict", "The message says which go together."),
    "S306": Code(
        "a route is past its `until`",
        "Remove the route or move the date. `check` fails; the proxy serves on and warns.",
    ),
    "S307": Code("a test beside a route fails", "Correct the route or the test."),
    "S308": Code("an unknown path parameter", "Use the names in the route's own path."),
    "S309": Code("a redirect to itself", "Readers would go round for ever: change one of the two."),
    "S310": Code("a host that the site does not have", "Add it to `site.hosts` or correct it."),
    "S311": Code(
        "many routes vanish at once",
        "If it is meant, confirm with `strangler reload --yes`; until then the old routes serve.",
    ),
    "S312": Code(
        "a request that no route can answer", "Add a catch-all, `/**: legacy`. A warning."
    ),
    "S313": Code(
        "a journey on two sides",
        "Give the routes of a group the same stage: they share their readers. A warning.",
    ),
    "S314": Code(
        "a method that nobody sends", "Correct its spelling; a new method is fine. A warning."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One problem; path is the dotted name of the option, or empty for the whole file."""

    place: Place
    code: str
    message: str
    path: str = ""
    hint: str | None = None
    severity: Severity = "error"

    def text(self, folder: str = "") -> str:
        """Return the lines for people; *folder* is put before the file's name."""
        severity = "" if self.severity == "error" else f"{self.severity} "
        subject = f" {self.path}" if self.path else ""
        line = f"{folder}{self.place}: {severity}{self.code}{subject}: {self.message}"
        return f"{line}\n    hint: {self.hint}" if self.hint else line

    def json(self) -> dict[str, object]:
        """Return the members of the one JSON shape of problems."""
        return {
            "code": self.code,
            "severity": self.severity,
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        return self.text()


class ConfigRejected(Exception):
    """A configuration has at least one error; `diagnostics` are all, in order of place.

    `files` are the names of the files read, those that could be.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic], files: Iterable[str] = ()) -> None:
        self.diagnostics = tuple(diagnostics)
        self.files = tuple(files)
        super().__init__("\n".join(map(str, self.diagnostics)))


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the hint that names the nearest of the *known* words, or None if none is near."""
    names = [name for name in known if name]
    near = difflib.get_close_matches(word[:100].lower(), [n.lower() for n in names], 1, 0.6)
    for name in names:
        if near and name.lower() == near[0]:
            return f"did you mean {name}?"
    return None


def markdown() -> str:
    """Return the text of docs/reference/diagnostics.md."""
    lines = [
        "# Diagnostics",
        "",
        "What `strangler check` and a reload say about routes.yaml:",
        "`file:line:column: code option: message`, then a hint where one is known. All problems",
        "are reported at once. A code keeps its meaning for ever. This page is generated from the",
        "code: `make docs` rewrites it.",
        "",
        "| code | problem | what to do |",
        "|---|---|---|",
        *(f"| {name} | {code.title} | {code.remedy} |" for name, code in CODES.items()),
    ]
    return "\n".join(lines) + "\n"
