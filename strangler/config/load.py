# SPDX-License-Identifier: Apache-2.0
"""Read routes.yaml and what it includes; accept the whole, or reject it with every problem.

A configuration that was accepted can be kept as a *bundle*: one file with the texts of all its
files, from which another process makes the same snapshot though the originals have changed since.
Texts go in before environment variables are put in: a bundle holds no secret.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from strangler.config import schema
from strangler.config.build import build, read_file
from strangler.config.diagnostics import ConfigRejected, Diagnostic
from strangler.config.document import MAX_BYTES, Node, read_document
from strangler.config.document import Mapping as MappingNode
from strangler.config.kinds import BAD, Context, Enough
from strangler.config.routes import File
from strangler.config.snapshot import Listen, Place, Snapshot, Source

MAX_FILES: Final = 1000
BUNDLE_FORMAT: Final = 1


@dataclass(slots=True)
class Gathered:
    """The files of a configuration as they are now, unchecked.

    folders: where a new file would belong to it · root: the first file, parsed.
    """

    sources: tuple[Source, ...]
    diagnostics: list[Diagnostic]
    folders: tuple[str, ...]
    root: Node | None = field(repr=False)

    @classmethod
    def of(cls, sources: tuple[Source, ...]) -> Gathered:
        """Return *sources*, the first file and what it includes, as if they had been read."""
        node, problems = read_document(sources[0].text, sources[0].name)
        return cls(sources, problems, (), node)

    @property
    def digest(self) -> str:
        """sha256 in hex over names and bytes, which changes if and only if one of them does."""
        return digest(self.sources)


def digest(sources: Sequence[Source]) -> str:
    """Return the sha256 in hex over the names and bytes of *sources*."""
    total = hashlib.sha256()
    for source in sources:
        total.update(b"%d:%b%d:" % (len(source.name), source.name.encode(), len(source.text)))
        total.update(source.text)
    return total.hexdigest()


def gather(path: str | os.PathLike[str], env: Mapping[str, str] = os.environ) -> Gathered:
    """Read the file at *path* and what it includes; never raises."""
    root = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(root)
    sources: list[Source] = []
    diagnostics: list[Diagnostic] = []
    text = _read(root, name, Place(name, 1, 1), diagnostics)
    if text is None:
        return Gathered((), diagnostics, (folder,), None)
    sources.append(Source(name, text))
    node, problems = read_document(text, name)
    diagnostics += problems
    folders = [folder]
    ctx = Context(env)
    for pattern in _includes(node, ctx):
        wild = glob.has_magic(pattern.value)
        found = sorted(glob.glob(pattern.value, root_dir=folder)) if wild else [pattern.value]
        folders.append(os.path.dirname(os.path.join(folder, pattern.value)))
        if not found:
            message = f"no file fits {pattern.shown}"
            warning = Diagnostic(
                place=pattern.place,
                code="S304",
                message=message,
                path="include",
                severity="warning",
            )
            diagnostics.append(warning)
        for one in found:
            if any(source.name == one for source in sources):
                continue
            if len(sources) >= MAX_FILES:
                message = f"expected at most {MAX_FILES} files"
                ctx.report(pattern.place, "include", "S304", message)
                break
            more = _read(os.path.join(folder, one), one, pattern.place, diagnostics)
            if more is not None:
                sources.append(Source(one, more))
    diagnostics += ctx.diagnostics
    return Gathered(tuple(sources), diagnostics, tuple(dict.fromkeys(folders)), node)


def _includes(node: Node | None, ctx: Context) -> Sequence[Any]:
    """Return the patterns that are sound; the others are reported with the other options."""
    for key, value in node.entries if isinstance(node, MappingNode) else ():
        if key.text == "include":
            patterns = schema.INCLUDE.read(value, "include", Context(ctx.env))
            return () if patterns is BAD else patterns
    return ()


def _read(path: str, name: str, place: Place, diagnostics: list[Diagnostic]) -> bytes | None:
    """Return a file's bytes, at most one more than may be, or None after a report."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"cannot read {name}: {reason.lower()}"
        hint = "make one with `strangler init --legacy URL`" if place.file == name else None
        if not isinstance(error, FileNotFoundError):
            hint = None
        diagnostics.append(Diagnostic(place=place, code="S001", message=message, hint=hint))
        return None


def load(
    path: str | os.PathLike[str],
    env: Mapping[str, str] = os.environ,
    generation: int = 1,
    today: date | None = None,
    listen: Sequence[Listen] = (),
) -> Snapshot:
    """Return the snapshot of the file at *path*, or raise ConfigRejected with all problems.

    today: the day that `until` is compared with (default: the local one) · listen: addresses of
    the command line, which no upstream may name. Warnings are in the snapshot.
    """
    return accept(gather(path, env), path, env, generation, today, listen)


def accept(
    gathered: Gathered,
    path: str | os.PathLike[str],
    env: Mapping[str, str] = os.environ,
    generation: int = 1,
    today: date | None = None,
    listen: Sequence[Listen] = (),
    *,
    check_files: bool = True,
) -> Snapshot:
    """Return the snapshot of files that were read before; raise ConfigRejected."""
    root = os.path.abspath(os.fspath(path))
    ctx = Context(env)
    ctx.diagnostics += gathered.diagnostics
    names = tuple(source.name for source in gathered.sources)
    folder, today = os.path.dirname(root), today or date.today()
    try:
        files = _read_all(gathered, ctx)
        if not files or files[0].included:
            raise _rejected(ctx, names)
        built = build(
            files, ctx, folder=folder, today=today, listen=listen, check_files=check_files
        )
    except Enough:
        raise _rejected(ctx, names) from None
    if any(d.severity == "error" for d in ctx.diagnostics):
        raise _rejected(ctx, names)
    return Snapshot(
        generation=generation,
        hash=gathered.digest,
        root=root,
        files=names,
        site=built.site,
        limits=built.limits,
        upstreams=built.upstreams,
        tiers=built.tiers,
        routes=built.routes,
        table=built.table,
        listen=built.listen,
        admin=built.admin,
        workers=built.workers,
        overrides=built.overrides,
        tracing=built.tracing,
        warnings=tuple(_in_order(ctx.diagnostics, names)),
        sources=gathered.sources,
    )


def _read_all(gathered: Gathered, ctx: Context) -> list[File]:
    """Return the values of all files; none if the first has no options."""
    files = []
    for index, source in enumerate(gathered.sources):
        node = gathered.root
        if index:
            node, problems = read_document(source.text, source.name)
            ctx.diagnostics += problems
        file = read_file(node, ctx, included=index > 0)
        if file is not None:
            files.append(file)
        elif not index:
            break
    return files


def _in_order(diagnostics: Sequence[Diagnostic], names: Sequence[str]) -> list[Diagnostic]:
    order = {name: index for index, name in enumerate(names)}
    return sorted(
        diagnostics, key=lambda d: (order.get(d.place.file, 0), d.place.line, d.place.column)
    )


def _rejected(ctx: Context, names: Sequence[str]) -> ConfigRejected:
    return ConfigRejected(_in_order(ctx.diagnostics, names), names)


def bundle(snapshot: Snapshot) -> bytes:
    """Return everything that makes *snapshot* again, environment variables apart."""
    return json.dumps(
        {
            "format": BUNDLE_FORMAT,
            "generation": snapshot.generation,
            "hash": snapshot.hash,
            "root": snapshot.root,
            "files": [
                {"name": source.name, "text": source.text.decode()} for source in snapshot.sources
            ],
        },
        ensure_ascii=False,
        indent=1,
    ).encode()


def write_bundle(snapshot: Snapshot, folder: str | os.PathLike[str]) -> Path:
    """Write the bundle into *folder* under its generation, at once or not at all."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"config-{snapshot.generation}.json"
    handle, temporary = tempfile.mkstemp(dir=target, prefix=".config-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(bundle(snapshot))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def load_bundle(
    path: str | os.PathLike[str],
    env: Mapping[str, str] = os.environ,
    today: date | None = None,
) -> Snapshot:
    """Return the snapshot of a bundle; raise ConfigRejected, also for a damaged one.

    Page files need not exist any more: a worker that starts again must serve on.
    """
    name = os.path.basename(os.fspath(path))
    try:
        content = json.loads(Path(path).read_bytes())
        if content["format"] != BUNDLE_FORMAT:
            raise ValueError(f"format {content['format']}")
        sources = tuple(
            Source(str(file["name"]), str(file["text"]).encode()) for file in content["files"]
        )
        generation, root = int(content["generation"]), str(content["root"])
        if digest(sources) != content["hash"]:
            raise ValueError("its hash does not fit")
        gathered = Gathered.of(sources)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        place, message = Place(name, 1, 1), f"not a bundle of this release: {error}"
        raise ConfigRejected([Diagnostic(place=place, code="S001", message=message)]) from error
    return accept(gathered, root, env, generation, today, check_files=False)


def guard_shrink(old: Snapshot, new: Snapshot) -> Diagnostic | None:
    """Return why *new* should be confirmed, or None: it loses many of the routes of *old*.

    Many are at least 5 and more than half. Moving a key to another file loses nothing.
    """
    kept = {route.key for route in new.routes}
    lost = [route.key for route in old.routes if route.key not in kept]
    if len(lost) < 5 or len(lost) * 2 <= len(old.routes):
        return None
    return Diagnostic(
        place=Place(new.files[0], 1, 1),
        code="S311",
        message=f"{len(lost)} of {len(old.routes)} routes would vanish, {lost[0]} among them",
        path="routes",
        hint="if it is meant: strangler reload --yes",
    )
