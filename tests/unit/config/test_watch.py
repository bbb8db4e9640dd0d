# SPDX-License-Identifier: Apache-2.0
"""Pain 31: a watcher misses symlink swaps, reads half-written files, loses all routes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from strangler.config import watch
from strangler.config.load import Gathered, gather
from strangler.config.watch import Watcher

ONE = 'version: 1\nupstreams: {legacy: "http://127.0.0.1:8100"}\nroutes:\n  /**: legacy\n'
TWO = ONE + "  /two: legacy\n"
THREE = ONE + "  /three: legacy\n"


def watching(path: Path, change: Callable[[], Awaitable[None]], *, quiet: bool = False) -> str:
    """Return the first file's text as it is announced after *change*, within a second."""

    async def run() -> str:
        changes = Watcher(path, env={}, digest=gather(path, {}).digest).changes()
        waiting = asyncio.ensure_future(anext(changes))  # type: ignore[arg-type]
        # Let it look at least once before anything changes.
        await asyncio.sleep(0.2)
        await change()
        try:
            found: Gathered = await asyncio.wait_for(waiting, 0.7 if quiet else 60.0)
        except TimeoutError:
            return ""
        assert not quiet
        return "".join(source.text.decode() for source in found.sources)

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "routes.yaml").write_text(ONE)
    return tmp_path / "routes.yaml"


def test_written_in_place(path: Path) -> None:
    async def change() -> None:
        path.write_text(TWO)

    assert watching(path, change) == TWO


def test_replaced_as_editors_do(path: Path) -> None:
    async def change() -> None:
        path.rename(path.with_suffix(".bak"))
        await asyncio.sleep(0.2)
        path.with_suffix(".new").write_text(TWO)
        path.with_suffix(".new").rename(path)

    assert watching(path, change) == TWO


def test_a_link_swapped_under_it(tmp_path: Path) -> None:
    """As Kubernetes does: routes.yaml -> ..data/routes.yaml, ..data -> a folder."""
    for name, text in (("..1", ONE), ("..2", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "routes.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")

    async def change() -> None:
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")

    assert watching(tmp_path / "routes.yaml", change) == TWO


def test_same_size_and_time(path: Path) -> None:
    """What no stat shows is found by reading anyway."""
    path.write_text(TWO)

    async def change() -> None:
        before = path.stat()
        with path.open("r+") as file:
            file.write(TWO.replace("/two", "/owt"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert "/owt" in watching(path, change)


def test_half_written_waits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SETTLED_BROKEN", 2.0)
    seen: list[str] = []

    async def change() -> None:
        with path.open("w") as file:
            for part in (TWO[:60], TWO[60:75], TWO[75:]):
                file.write(part)
                file.flush()
                await asyncio.sleep(0.2)

    seen.append(watching(path, change))
    assert seen == [TWO]


def test_a_broken_file_is_announced_all_the_same(path: Path) -> None:
    async def change() -> None:
        path.write_text(ONE + "  [")

    assert watching(path, change) == ONE + "  ["


def test_a_touch_announces_nothing(path: Path) -> None:
    async def change() -> None:
        os.utime(path)
        path.with_suffix(".other").write_text("x")

    assert watching(path, change, quiet=True) == ""


def test_a_new_file_that_an_include_finds(path: Path) -> None:
    path.write_text(ONE + "include: routes.d/*.yaml\n")
    (path.parent / "routes.d").mkdir()

    async def change() -> None:
        (path.parent / "routes.d" / "a.yaml").write_text("prefix: /a\nroutes: {/a: legacy}\n")

    assert "prefix: /a" in watching(path, change)


def test_changed_before_watching_began(path: Path) -> None:
    async def run() -> str:
        watcher = Watcher(path, env={}, digest="of something older")
        async for found in watcher.changes():
            return found.sources[0].text.decode()
        raise AssertionError

    assert asyncio.run(asyncio.wait_for(_of(run), 60)) == ONE


async def _of(run: Callable[[], Awaitable[str]]) -> str:
    return await run()


def test_changes_while_the_receiver_is_busy_come_once(path: Path) -> None:
    async def run() -> list[bytes]:
        got: list[bytes] = []
        done = asyncio.Event()

        async def changed() -> None:
            got.append(path.read_bytes())
            if len(got) == 1:
                path.write_text(THREE)
                path.write_text(ONE)
                path.write_text(THREE)
            else:
                done.set()

        task = asyncio.create_task(Watcher(path, env={}, digest="").run(changed))
        await asyncio.wait_for(done.wait(), 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return got

    assert asyncio.run(run()) == [ONE.encode(), THREE.encode()]
