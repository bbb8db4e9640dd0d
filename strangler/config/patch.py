# SPDX-License-Identifier: Apache-2.0
"""Write a word of a route into routes.yaml as the smallest edit: comments, order and style stay.

The file is not printed anew: the text of one value is replaced, or one entry is added, where the
parser says that it stands. What comes out is read again by the strict loader, and must be the same
configuration but for that word of the one route; anything else is refused.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from strangler.config.diagnostics import ConfigRejected
from strangler.config.load import Gathered, accept
from strangler.config.snapshot import Route, Snapshot, Source
from strangler.rollout import Stage

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOM: Final = "\ufeff"
_PLACE: Final = re.compile(r"Place\([^)]*\)")


class Unpatchable(ValueError):
    """routes.yaml can't carry what is asked for by a small edit; the text says why."""


@dataclass(frozen=True, slots=True)
class Word:
    """What the route with the key *route* is to say from now on of its *option*.

    value: a Stage, or `low`, `normal`, `high` for a priority.
    """

    route: str
    option: Literal["stage", "priority"]
    value: Stage | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One file before and after; *file* is its name as diagnostics print it."""

    file: str
    before: str
    after: str

    def diff(self) -> str:
        """Return the unified diff."""
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(
                self.before.splitlines(keepends=True),
                self.after.splitlines(keepends=True),
                f"a/{self.file}",
                f"b/{self.file}",
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """What to edit, the *snapshot* that it leads to, and the words that it can't carry, with why.

    Files that need no edit are left out.
    """

    patches: tuple[Patch, ...]
    snapshot: Snapshot
    refused: Mapping[Word, str]


def patch(
    snapshot: Snapshot, words: Iterable[Word], env: Mapping[str, str] = os.environ
) -> Patched:
    """Return what to edit so that the routes say *words*; one that is refused stops no other."""
    now, refused = snapshot, {}
    for word in words:
        try:
            now = _saying(now, word, env)
        except Unpatchable as why:
            refused[word] = str(why)
    before = {source.name: source.text for source in snapshot.sources}
    patches = tuple(
        Patch(file=each.name, before=before[each.name].decode(), after=each.text.decode())
        for each in now.sources
        if each.text != before[each.name]
    )
    return Patched(patches=patches, snapshot=now, refused=refused)


def write(patches: Iterable[Patch], root: str) -> None:
    """Put *patches* into the files beside *root*, each at once or not at all.

    Raises Unpatchable where a file is no longer what the patch was made from, before any is
    written; OSError where one can't be.
    """
    folder, patches = Path(root).parent, tuple(patches)
    for one in patches:
        if (folder / one.file).read_bytes() != one.before.encode():
            raise Unpatchable(f"{one.file} has changed meanwhile; nothing was written")
    for one in patches:
        path = Path(os.path.realpath(folder / one.file))
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(one.after.encode())
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(path, temporary)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _saying(snapshot: Snapshot, word: Word, env: Mapping[str, str]) -> Snapshot:
    """Return *snapshot* as it is once the file says *word*. Raises Unpatchable."""
    route = next((one for one in snapshot.routes if one.key == word.route), None)
    if route is None:
        raise Unpatchable(f"no such route in {snapshot.files[0]} any more")
    if getattr(route, word.option) == word.value:
        return snapshot
    if isinstance(word.value, Stage):
        why = route.cannot_be(word.value)
    else:
        why = route.cannot_have(word.option, word.value)
    if why:
        raise Unpatchable(why)
    # Forms of one key stand in a list, and have its place in common.
    form = [one for one in snapshot.routes if one.place == route.place].index(route)
    sources = tuple(
        replace(source, text=_edited(source.text.decode(), route, form, word).encode())
        if source.name == route.place.file
        else source
        for source in snapshot.sources
    )
    return _checked(snapshot, sources, route, word, env)


def _edited(text: str, route: Route, form: int, word: Word) -> str:
    """Return the text of a file with *word* written where *route* stands in it."""
    entry = f"{word.option}: {word.value}"
    start = len(_BOM) if text.startswith(_BOM) else 0
    body = text[start:]
    node = _value_of(route, form, yaml.compose(body, Loader=_Loader))
    if isinstance(node, yaml.ScalarNode):
        at, end = node.start_mark.index, node.end_mark.index
        return text[:start] + body[:at] + f"{{to: {body[at:end]}, {entry}}}" + body[end:]
    entries = {name.value: (name, value) for name, value in node.value}
    if word.option in entries:
        value = entries[word.option][1]
        at, end, added = value.start_mark.index, value.end_mark.index, str(word.value)
    else:
        end = at = entries["to"][1].end_mark.index
        added = f", {entry}"
        if not node.flow_style:
            end = at = _line_end(body, at)
            added = _line(body, node, entry)
    return text[:start] + body[:at] + added + body[end:]


def _value_of(route: Route, form: int, root: Any) -> Any:
    """Return the node of the route's value: a scalar, or the mapping of its options."""
    routes = next((value for name, value in root.value if name.value == "routes"), None)
    wanted = (route.place.line - 1, route.place.column - 1)
    for name, value in routes.value if routes is not None else ():
        if (name.start_mark.line, name.start_mark.column) == wanted:
            return value.value[form] if isinstance(value, yaml.SequenceNode) else value
    raise Unpatchable(f"not found at {route.place}; edit it by hand")


def _line_end(body: str, at: int) -> int:
    """Return where the line of *at* ends, its break not counted."""
    end = body.find("\n", at)
    if end < 0:
        return len(body)
    return end - 1 if body[end - 1] == "\r" else end


def _line(body: str, node: Any, entry: str) -> str:
    """Return the line to add to a mapping of lines, with the break before it."""
    end = body.find("\n")
    ending = "\r\n" if end > 0 and body[end - 1] == "\r" else "\n"
    return f"{ending}{' ' * node.value[0][0].start_mark.column}{entry}"


def _checked(
    snapshot: Snapshot,
    sources: tuple[Source, ...],
    route: Route,
    word: Word,
    env: Mapping[str, str],
) -> Snapshot:
    """Return the snapshot of *sources*, which must be *snapshot* but for *word* of *route*."""
    gathered = Gathered.of(sources)
    try:
        after = accept(gathered, snapshot.root, env, snapshot.generation, listen=snapshot.listen)
    except ConfigRejected as rejected:
        first = next(one for one in rejected.diagnostics if one.severity == "error")
        raise Unpatchable(f"{word.value} there is refused: {first}") from None
    wanted = {one.key: _meaning(one) for one in snapshot.routes}
    wanted[route.key] = _meaning(route, **{word.option: word.value})
    if {one.key: _meaning(one) for one in after.routes} != wanted:
        raise Unpatchable(f"the edit would change more than its {word.option}; do it by hand")
    return after


def _meaning(route: Route, **said: Any) -> str:
    """Return all that *route* says, wherever it stands, with *said* in the place of its own."""
    stage = said.get("stage", route.stage)
    there = replace(route, fallback=route.fallback_at(stage), unsealed=None, **said)
    return _PLACE.sub("", repr(there))
