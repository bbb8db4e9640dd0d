# SPDX-License-Identifier: Apache-2.0
"""What the pages say holds: links lead somewhere, commands exist, names are the code's."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from strangler.cli import main, parser
from strangler.config import load

ROOT = Path(__file__).resolve().parents[2]
STRANGLER = ROOT / "strangler"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
BESIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "legacy_django" / "README.md"]
PAGES = [*DOCS, *BESIDE, *sorted(ROOT.glob("extracted/*/README.md"))]
GUIDES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *(ROOT / "docs" / "quickstart.md", ROOT / "docs" / "caching.md"),
]
QUICKSTART = ROOT / "docs" / "quickstart.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# What the benchmark and the chaos suite make; nothing else that a page links to may be absent.
MADE = {ROOT / "bench" / "RESULTS.md", ROOT / "bench" / "CHAOS.md"}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        if (not found.exists() and found not in MADE) or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert not broken


def test_the_index_links_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / target).resolve()
        for target in re.findall(r"\]\(([^)#]+)", index.read_text())
    }
    assert not [named(page) for page in DOCS if page not in {*linked, index}]


# -------------------------------------------------------------------- commands


def commands() -> list[tuple[str, str]]:
    return [
        (named(page), line.partition(" #")[0].strip())
        for page in GUIDES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


@pytest.fixture(scope="module")
def targets() -> set[str]:
    """What `make help` lists."""
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"(?m)^ *make (\w+)", listed.stdout))


@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda value: value[:60])
def test_commands_exist(page: str, command: str, targets: set[str]) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        assert arguments and set(arguments) <= targets
    elif program == ".venv/bin/strangler":
        given = parser().parse_args(arguments)
        assert given.run
    elif program == "curl":
        assert re.fullmatch(r"http://localhost:80[01]0/\S*", arguments[-1])
    elif arguments[:2] == ["-m", "pytest"]:
        assert all((ROOT / path).exists() for path in arguments[2:])
    else:
        pytest.fail(f"{page}: nothing checks {command!r}")


def test_make_help_is_whole_and_readme_short(targets: set[str]) -> None:
    written = set(re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text()))
    assert written == targets
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


# -------------------------------------------------------------------- routes.yaml


def files() -> list[str]:
    """Each YAML block of the guides as a whole file: routes alone get the site's upstreams."""
    site = (ROOT / "routes.yaml").read_text().partition("\nroutes:\n")[0]
    whole = []
    for page in GUIDES:
        for block in blocks(page, "yaml"):
            if block.startswith("version:"):
                whole.append(block)
            elif block.startswith("routes:"):
                whole.append(f"{site}\n{block}")
            else:
                whole.append(f"{site}\nroutes:\n  /**: legacy\n{block}")
    return whole


@pytest.mark.parametrize("text", files())
def test_examples_are_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(text)
    assert load(file).routes


def test_the_mistake_is_told_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "routes.yaml").read_text()
    Path("routes.yaml").write_text(
        re.sub(r"(?m)^(  /noticia/\{slug\}\.ghtml:) .*$", r"\1 materai", text)
    )
    assert main(["check"]) == 1
    told = capsys.readouterr()
    shown = re.search(r"(?m)^    routes\.yaml:.*\n +hint: .*$", QUICKSTART.read_text())
    assert shown
    wanted = [line.strip() for line in shown[0].splitlines()]
    assert wanted == [line.strip() for line in (told.out + told.err).splitlines()][:2]


def test_init_is_as_shown(tmp_path: Path) -> None:
    file = tmp_path / "mysite" / "routes.yaml"
    file.parent.mkdir()
    assert main(["init", "--legacy", "http://127.0.0.1:8100", "--config", str(file)]) == 0
    assert len(file.read_text().splitlines()) == 6


# -------------------------------------------------------------------- architecture


def test_the_architecture_names_every_room() -> None:
    table = re.findall(r"(?m)^\| `(\w+)/` \|", ARCHITECTURE.read_text())
    rooms = {path.name for path in STRANGLER.iterdir() if (path / "__init__.py").exists()}
    assert sorted(table) == sorted(rooms)
    ground = {path.stem for path in STRANGLER.glob("*.py")} - {"__init__"}
    assert not [name for name in ground if f"`{name}`" not in ARCHITECTURE.read_text()]


def names() -> list[str]:
    """Names such as `edge.worker.Worker` of the pages about the code."""
    rooms = "|".join(
        sorted(path.stem for path in STRANGLER.iterdir() if not path.name.startswith("_"))
    )
    text = ARCHITECTURE.read_text()
    return sorted(set(re.findall(rf"`((?:{rooms})\.[\w.]*\w)`", text)))


@pytest.mark.parametrize("name", names())
def test_the_architectures_names_are_the_codes(name: str) -> None:
    if name.endswith((".py", ".yaml", ".json")):
        return
    parts = ["strangler", *name.split(".")]
    for split in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:split])
        if path.is_dir() or path.with_suffix(".py").exists():
            found = importlib.import_module(".".join(parts[:split]))
            break
    for attribute in parts[split:]:
        found = getattr(found, attribute)
    assert sys.modules["strangler"]
