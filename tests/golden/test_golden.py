# SPDX-License-Identifier: Apache-2.0
"""Configurations and what becomes of them: each file is an input, `----------`, the outcome.

`python tests/golden/test_golden.py` (or `make golden`) writes the outcomes anew; the difference is
for a person to read. A line `>>> NAME` in the input begins another file.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from strangler.config import CODES, ConfigRejected, Place, Snapshot, load
from strangler.config.build import TIERS
from strangler.config.inline import run_tests
from strangler.template import Template

HERE = Path(__file__).parent
LINE = "----------\n"
TODAY = date(2026, 11, 23)
SECRET = "hunter2"
ENV = {"EDGE_SECRET": SECRET, "MATERIA_PORT": "8199", "WRONG": SECRET, "BELL": f"{SECRET}\a"}


def outcome(text: str, folder: Path) -> str:
    """Return what people see of the configuration *text*, made as files in *folder*."""
    name, lines = "routes.yaml", list[str]()
    (folder / "pages").mkdir()
    (folder / "pages" / "sorry.html").write_text("<p>sorry")
    for line in [*text.splitlines(keepends=True), ">>> "]:
        if line.startswith(">>> "):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            # What an editor can't show is written as an escape: \x00, \xff, \t.
            file.write_bytes(re.sub(rb"\\x([0-9a-f]{2})|\\t", _byte, "".join(lines).encode()))
            name, lines = line[4:].strip(), []
        else:
            lines.append(line)
    try:
        snapshot = load(folder / "routes.yaml", ENV, today=TODAY)
    except ConfigRejected as rejected:
        told = "".join(f"{diagnostic}\n" for diagnostic in rejected.diagnostics)
        return told.replace(str(folder), "FOLDER")
    problems = [*snapshot.warnings, *run_tests(snapshot)]
    told = "".join(f"{problem}\n" for problem in problems) + "\n".join(_dump(snapshot)) + "\n"
    return told.replace(str(folder), "FOLDER")


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else b"\t"


def _beside(store: str, root: str) -> str:
    """Return *store* with a SQLite file's name as seen from the configuration's folder."""
    kind, colon, path = store.partition(":")
    return f"{kind}{colon}{Path(root).parent / path}" if kind == "sqlite" and colon else store


def _dump(snapshot: Snapshot) -> Iterator[str]:
    """Yield what is not as it is by default: a line an object."""
    for part in (*snapshot.listen, snapshot.admin):
        if part is not None:
            yield f"listen {part}{_said(part, {'host', 'port', 'unix'})}"
    if snapshot.workers is not None:
        yield f"workers {snapshot.workers}"
    for name, value in (("site", snapshot.site), ("limits", snapshot.limits)):
        if said := _said(value):
            yield name + said
    for upstream in snapshot.upstreams.values():
        yield f"upstream {upstream.name}{_said(upstream, {'name'})}"
    for tier in snapshot.tiers.values():
        default = TIERS[tier.name]
        if tier in (
            default,
            dataclasses.replace(default, store=_beside(default.store, snapshot.root)),
        ):
            continue
        yield f"tier {tier.name} store={tier.store}{_said(tier, {'name', 'store'})}"
    for route in snapshot.routes:
        left_out = {"key", "pattern", "methods", "host"}
        yield f"route {route.key}{_said(route, left_out)}"


def _said(value: Any, left_out: AbstractSet[str] = frozenset()) -> str:
    parts = []
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        if field.name in left_out or isinstance(own, Place) or own == field.default:
            continue
        if not field.repr:  # may hold a secret
            parts.append(f" {field.name}=...")
            continue
        if field.name in ("conditions", "canary") and own == type(own)():
            continue
        parts.append(f" {field.name}={_show(own)}")
    return "".join(parts)


def _show(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, frozenset):
        whole = {f"{n}xx": set(range(n * 100, n * 100 + 100)) for n in range(2, 6)}
        classes = [name for name, codes in whole.items() if codes <= value]
        others = [one for one in value if not any(one in whole[name] for name in classes)]
        return "{" + ", ".join(sorted([*classes, *map(_show, others)])) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_show, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_show(one)}" for key, one in value.items()) + "}"
    if dataclasses.is_dataclass(value):
        own = getattr(type(value), "__str__", None)
        if isinstance(value, Template) or own is not object.__str__:
            return str(value)
        return "(" + _said(value).strip() + ")"
    return str(value)


CASES = sorted([*HERE.glob("config/*.txt"), *HERE.glob("errors/*.txt")])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_outcome(case: Path, tmp_path: Path) -> None:
    text, _, expected = case.read_text().partition(LINE)
    told = outcome(text, tmp_path)
    assert told == expected
    assert SECRET not in told, "a variable's value is shown"
    accepted = re.search("^upstream ", told, re.MULTILINE) is not None
    assert accepted == (case.parent.name == "config")


def test_every_code_is_seen() -> None:
    """A code that no golden file shows is either dead or untested."""
    seen = set(re.findall(r"\bS[0-9]{3}\b", "".join(case.read_text() for case in CASES)))
    # What no text can show: a state before (S311), and what takes a file of 4 MB (S002).
    assert seen | {"S002", "S311"} == set(CODES)


def rewrite() -> None:
    """Write every outcome anew."""
    for case in CASES:
        text = case.read_text().partition(LINE)[0]
        with tempfile.TemporaryDirectory() as folder:
            case.write_text(text + LINE + outcome(text, Path(folder)))


if __name__ == "__main__":
    sys.exit(rewrite())
