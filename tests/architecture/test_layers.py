# SPDX-License-Identifier: Apache-2.0
"""Which room may import which, read from the source; docs/architecture.md says it in words."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
STRANGLER = ROOT / "strangler"

GROUND = {"clock", "errors", "template", "units"}
PURE = {"wire", "routing", "rollout", "cache", "resilience", "migrate"}
# A room and what it may import; a name with a slash is a folder with rules of its own.
MAY: dict[str, set[str]] = {
    **dict.fromkeys(GROUND, GROUND),
    "wire": GROUND,
    **{name: {"wire", *GROUND} for name in PURE - {"wire"}},
    "cache/tiers": {"cache", "observe", "wire", *GROUND},
    "observe": GROUND,
    "health": set(),
    "config": PURE | GROUND,
    "kernel": set(),
    "upstream": {"config", "kernel", "observe", *PURE, *GROUND},
    "edge": {"config", "kernel", "observe", "wire", *GROUND},
    "exchange": {"config", "edge", "observe", "upstream", "cache/tiers", *PURE, *GROUND},
    "control": {"cache/tiers", "config", "edge", "health", "observe", *PURE, *GROUND},
    "testing": GROUND,
    "app": {"config", "control", "edge", "exchange", "observe", "upstream", *PURE, *GROUND},
    "cli": {"app", "config", "control", "edge", "exchange", "observe", *PURE, *GROUND},
}
# Modules that do input or output, or keep the time, have no place in a pure room.
IMPURE = {
    *("asyncio", "http", "multiprocessing", "os", "random", "secrets", "select", "selectors"),
    *("signal", "socket", "sqlite3", "ssl", "subprocess", "threading", "time", "tornado"),
    *("urllib.request", "uvloop"),
}
MOST_LINES = 500
"""Lines of code a module may have: blank lines, comments and docstrings not counted."""


class Import(NamedTuple):
    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path) -> Iterator[Import]:
    """Yield every import, those for type checking alone included."""
    package = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            # `from strangler import units` and `from . import tls` name modules too.
            for alias in node.names:
                inner = ROOT.joinpath(*module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield Import(file, node.lineno, f"{module}.{alias.name}" if is_module else module)


def room_of(module: str) -> str:
    """Return the room of a module of strangler; empty for the package itself."""
    parts = module.split(".")
    if parts[1:3] == ["cache", "tiers"]:
        return "cache/tiers"
    return parts[1] if len(parts) > 1 else ""


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def python_files(*folders: str) -> list[Path]:
    hidden = {"__pycache__", ".venv"}
    return [
        file
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not hidden.intersection(file.parts)
    ]


def test_every_room_has_its_rule_and_says_what_it_is_for() -> None:
    rooms = {path.name for path in STRANGLER.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in STRANGLER.glob("*.py")} - {"__init__"}
    assert rooms | modules <= MAY.keys(), "say in MAY what the new room may import"
    silent = [
        name for name in rooms if not ast.get_docstring(parsed(STRANGLER / name / "__init__.py"))
    ]
    assert not silent, f"no module docstring in {silent}"


def test_rooms_import_only_what_they_may() -> None:
    wrong = [
        str(one)
        for file in python_files("strangler")
        for one in imports(file)
        if one.module.partition(".")[0] == "strangler"
        and (mine := room_of(module_of(file)))
        and (other := room_of(one.module))
        and other != mine
        and other not in MAY[mine]
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_rooms_do_no_io_and_keep_no_time() -> None:
    wrong = [
        str(one)
        for file in python_files("strangler")
        if room_of(module_of(file)) in PURE
        for one in imports(file)
        if one.module in IMPURE or one.module.partition(".")[0] in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "room", ["wire", "routing", "rollout", "resilience", "migrate", "config", "exchange"]
)
def test_a_room_stands_alone(room: str) -> None:
    """No module of a room is imported in a circle, not even inside its own room."""
    names = {
        module_of(file).removesuffix(".__init__"): file
        for file in python_files(f"strangler/{room}")
    }
    graph = {
        name: {one.module for one in imports(file) if one.module in names and runs(file, one)}
        for name, file in names.items()
        if file.name != "__init__.py"
    }
    gone: set[str] = set()
    while leaves := {
        name for name in graph if name not in gone and not graph[name] & graph.keys() - gone
    }:
        gone |= leaves
    assert gone == graph.keys(), f"a circle among {sorted(graph.keys() - gone)}"


def runs(file: Path, one: Import) -> bool:
    """Tell whether an import happens when its module is loaded."""
    return any(
        one.line == node.lineno
        for node in parsed(file).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    )


def test_the_edge_and_the_sites_do_not_know_each_other() -> None:
    wrong = [
        str(one)
        for file in python_files("strangler")
        for one in imports(file)
        if one.module.partition(".")[0] in ("legacy_django", "extracted", "django")
        # A mount for anybody's Django site is no knowledge of this one.
        if file != STRANGLER / "health" / "django.py" or not one.module.startswith("django.")
    ]
    wrong += [
        str(one)
        for file in python_files("legacy_django", "extracted")
        for one in imports(file)
        if one.module.partition(".")[0] == "strangler"
    ]
    services = [path.name for path in (ROOT / "extracted").iterdir() if path.is_dir()]
    wrong += [
        str(one)
        for service in services
        for file in python_files(f"extracted/{service}")
        if "tests" not in file.parts
        for one in imports(file)
        if one.module.partition(".")[0] == "legacy_django"
        or (one.module.startswith("extracted.") and one.module.split(".")[1] != service)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_outgrows_a_reader() -> None:
    sizes = {
        str(file.relative_to(STRANGLER)): code_lines(file) for file in python_files("strangler")
    }
    long = {name: size for name, size in sizes.items() if size > MOST_LINES}
    assert not long, f"more than {MOST_LINES} lines of code: {long}"


def code_lines(file: Path) -> int:
    """Count the lines that hold code."""
    words: set[int] = set()
    for node in ast.walk(parsed(file)):
        body = getattr(node, "body", None)
        for part in body if isinstance(body, list) else []:
            if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                words.update(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        if token.type not in (*skipped, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - words)


def test_every_file_names_its_licence() -> None:
    folders = ("strangler", "legacy_django", "extracted", "tests", "tools", "bench")
    bare = [
        str(file.relative_to(ROOT))
        for file in [*python_files(*folders), ROOT / "conftest.py"]
        if "SPDX-License-Identifier: Apache-2.0" not in file.read_text()[:200]
    ]
    assert not bare, "\n".join(bare)
