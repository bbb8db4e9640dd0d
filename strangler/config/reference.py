# SPDX-License-Identifier: Apache-2.0
"""What the schema says about itself: JSON Schema, and the reference page.

`python -m strangler.config.reference FOLDER` writes routes-yaml.md and diagnostics.md there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from strangler.config import diagnostics, schema
from strangler.config.blocks import Block, Option
from strangler.config.kinds import Kind

_INTRO: Final = """\
# routes.yaml

Every option, as the code reads it: this page is generated from the schema (`strangler schema
--markdown`), and a test compares the two. For editors there is a JSON Schema: `strangler schema`.

- The format is strict YAML: only `true` and `false` are booleans (`on`, `off`, `yes`, `no` are
  refused), a key that stands twice is an error, tabs and several documents are refused.
- Anchors, aliases, merge keys and tags are refused: what a line means is seen at that line.
  `presets` and `use` say a thing once.
- Units are compulsory: `10s`, `256KB` (1KB is 1024 bytes), `5%`. A number without a unit counts
  things.
- Any value can be `${env:NAME}`, or `${env:NAME:-default}`, or have it inside a text; a variable
  that is not set is an error. Secrets are always written so, without a default, and never printed.
- Names of files are relative to the folder of routes.yaml.
- What is wrong is said all at once, with place and code: see [diagnostics](diagnostics.md).

## Route keys

A key is `[METHOD[,METHOD]] [host]/path`. HEAD and OPTIONS follow GET unless they are named.
`/x`, `/x/` and `/x/**` are three things; `/x/**` is `/x/` and all below. `{name}` is one segment
or a part of one (`{slug}.ghtml`). The most specific route wins, wherever it stands: literal
segment over `{name}` over `**`, left to right; then host over none, method over none, `match` over
none. Two routes that tie are an error.

One key can hold a list of routes with different `match`. Routes that share a key are told apart in
logs and commands by their conditions: `/checkout/** (header x-app: ios|android)`.
"""


def json_schema(*, included: bool = False) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of routes.yaml, or of a file that it includes."""
    defs: dict[str, Any] = {}
    block = schema.INCLUDED if included else schema.FILE
    top = block.schema(defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A file included by routes.yaml" if included else "routes.yaml",
        **top,
        "$defs": defs,
    }


def sections() -> Iterator[tuple[str, Block]]:
    """Yield every block once, with the path of its first use, in the order of the page."""
    seen: set[str] = set()
    for start in (schema.FILE, schema.INCLUDED):
        yield from _walk("", start, seen)


def _walk(path: str, kind: Kind, seen: set[str]) -> Iterator[tuple[str, Block]]:
    if isinstance(kind, Block):
        if kind.title in seen:
            return
        seen.add(kind.title)
        yield path.lstrip("."), kind
        if kind.see:
            return
    for suffix, child in kind.children():
        yield from _walk(path + suffix, child, seen)


def markdown() -> str:
    """Return the text of docs/reference/routes-yaml.md."""
    lines = [_INTRO]
    paths = {block.title: path for path, block in sections()}
    for path, block in sections():
        lines += [f"## {_heading(path, block)}", "", block.doc, ""]
        if block.see:
            names = ", ".join(f"`{option.name}`" for option in block.options)
            lines += [f"Each as in [{paths[block.see]}]({_anchor(paths[block.see])}): {names}.", ""]
            continue
        lines += ["| option | type | range | default | | since |", "|---|---|---|---|---|---|"]
        lines += [_row(option, paths) for option in block.options]
        lines.append("")
    return "\n".join(lines)


def _heading(path: str, block: Block) -> str:
    if block is schema.FILE:
        return "The file"
    return f"`{path}`" if path else "An included file"


def _anchor(path: str) -> str:
    return "#" + "".join(c for c in path.lower() if c.isalnum() or c in "_-")


def _row(option: Option, paths: dict[str, str]) -> str:
    kind = option.kind
    unit = f" ({kind.unit})" if kind.unit and kind.unit not in kind.name else ""
    default = option.default or "**required**" * option.required
    if default and (" " not in default or default[0] in "[{"):
        default = default if option.required else f"`{default}`"
    doc = option.doc
    if option.example:
        doc += f" Example: `{option.name}: {option.example}`."
    inside = [path for path in dict.fromkeys(_blocks(kind, paths)) if path]
    if inside:
        doc += " See " + ", ".join(f"[{path}]({_anchor(path)})" for path in inside) + "."
    cells = (f"`{option.name}`", kind.name + unit, kind.range, default, doc, option.since)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _blocks(kind: Kind, paths: dict[str, str]) -> Iterator[str]:
    if isinstance(kind, Block):
        yield paths[kind.title]
        return
    for _, child in kind.children():
        yield from _blocks(child, paths)


def write(folder: Path) -> None:
    """Write the reference pages into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "routes-yaml.md").write_text(markdown())
    (folder / "diagnostics.md").write_text(diagnostics.markdown())


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
