# SPDX-License-Identifier: Apache-2.0
"""The book of overrides beside a store that the test has in its hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from strangler.config.load import load
from strangler.control.audit import FILE as AUDIT
from strangler.control.audit import Audit
from strangler.control.choice import Choice
from strangler.control.handler import Asker, Rejected
from strangler.control.overrides import MOST, Book, read_copy
from strangler.control.state import State
from strangler.control.stores import FILE, FileStore, Kept
from strangler.control.stores.store import RECENT
from strangler.rollout import Override, Overrides

ANA = Asker(who="ana", role="operator", address="127.0.0.1", agent="", by="api")
ROUTES = """version: 1
upstreams:
  legacy: {url: "http://127.0.0.1:1", role: legacy}
  busca: {url: "http://127.0.0.1:2"}
routes:
  /**: legacy
  /busca/**: busca
"""


def choice(value: str = "legacy", key: str = "/busca/**", **more: Any) -> Choice:
    given: dict[str, Any] = {"seconds": 60.0, "reason": "x", "owners": (), "file": "live"}
    return Choice(kind="stage", subject=f"route:{key}", value=value, **given | more)


def others(kept: Kept, count: int = 1) -> Kept:
    """Return the document after *count* changes by somebody else."""
    for number in range(count):
        one = Override(
            id=f"o{kept.overrides.version}", kind="stage", subject=f"route:/{number}", value="live",
            author="bia", reason="y", created=1.0, expires=9e9,
        )  # fmt: skip
        entry = {"what": "override.set", "who": "bia", "id": one.id}
        kept = kept.after(kept.overrides.with_(one), [entry])
    return kept


class Site:
    def __init__(self, folder: Path) -> None:
        (folder / "routes.yaml").write_text(ROUTES)
        snapshot = load(folder / "routes.yaml", {})
        self.state = State(folder / "var")
        self.store = FileStore(folder / "store.json")
        self.served: list[str] = []
        self.book = Book(
            store=self.store,
            state=self.state,
            snapshot=lambda: snapshot,
            audit=Audit(lambda: self.state.folder),
            tell=self._tell,
            name="here",
        )

    async def _tell(self) -> tuple[int, int]:
        self.served.append(self.book.mark)
        return 2, 2

    async def elsewhere(self, count: int) -> None:
        """Change the document as another machine does."""
        other = FileStore(self.store.path)
        there = other.read()
        await other.write(others(there or Kept.first(), count), there)

    def audited(self) -> list[dict[str, Any]]:
        file = self.state.folder / AUDIT
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    made = Site(folder)
    await made.book.start()
    try:
        yield made
    finally:
        await made.book.close()
        made.book.audit.close()


def in_loop(folder: Path, story: Any) -> None:
    async def run() -> None:
        async with site(folder) as made:
            await story(made)

    asyncio.run(run())


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


def test_a_change_is_recorded_served_and_audited_before_it_is_answered(tmp_path):
    async def story(here: Site) -> None:
        done = await here.book.put(choice(), ANA)
        assert (done.version, done.workers, done.audited) == (1, (2, 2), True)
        assert here.store.read().overrides == here.book.overrides
        assert here.served == [here.book.mark]
        assert [one["id"] for one in here.audited()] == [done.override.id]

    in_loop(tmp_path, story)


def test_pain_34_a_change_of_what_has_moved_meanwhile_loses_nothing(tmp_path):
    async def story(here: Site) -> None:
        await here.book.put(choice(), ANA)
        await here.elsewhere(2)  # not heard of yet
        await here.book.put(choice("canary 5%"), ANA)
        assert here.book.overrides.version == 4
        assert {one.author for one in here.book.overrides} == {"ana", "bia"}
        told = [(one["who"], one.get("via")) for one in here.audited()]
        assert told == [("ana", None), ("bia", "store"), ("bia", "store"), ("ana", None)]

    in_loop(tmp_path, story)


def test_what_others_do_is_served_and_audited_and_gaps_are_told(tmp_path):
    async def story(here: Site) -> None:
        await here.book.put(choice(), ANA)
        await here.elsewhere(RECENT + 5)
        await until(lambda: len(here.audited()) > 2)
        assert here.book.overrides.version == RECENT + 6
        assert here.served[-1] == here.book.mark
        entries = here.audited()[1:]
        assert (entries[0]["what"], entries[0]["before"], entries[0]["after"]) == (
            "override.missed", 1, 6,
        )  # fmt: skip
        assert [one["version"] for one in entries[1:]] == list(range(7, RECENT + 7))

    in_loop(tmp_path, story)


def test_a_store_that_has_lost_it_is_given_it_back(tmp_path):
    async def story(here: Site) -> None:
        await here.book.put(choice(), ANA)
        older = here.store.read()
        await here.book.put(choice("canary 5%"), ANA)
        for lost in (None, older):
            here.store.path.unlink()
            if lost is not None:
                await FileStore(here.store.path).write(lost, None)
            await until(lambda: (here.store.read() or Kept.first()).overrides.version == 2)

    in_loop(tmp_path, story)


def test_a_change_on_top_of_what_the_store_has_lost_brings_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr("strangler.control.stores.file.LOOK", 60.0)  # the change finds out itself

    async def story(here: Site) -> None:
        await here.book.put(choice(), ANA)
        older = here.store.read()
        await here.book.put(choice("canary 5%", key="/x"), ANA)
        here.store.path.unlink()
        await FileStore(here.store.path).write(older, None)
        await here.book.put(choice("sealed", key="/y"), ANA)
        assert {one.value for one in here.store.read().overrides} == {
            "legacy", "canary 5%", "sealed",
        }  # fmt: skip
        assert here.store.read().overrides.version == here.book.overrides.version == 3

    in_loop(tmp_path, story)


def test_ones_own_change_seen_in_the_store_is_audited_once(tmp_path, monkeypatch):
    monkeypatch.setattr("strangler.control.stores.file.LOOK", 0.0005)

    async def story(here: Site) -> None:
        ids = [(await here.book.put(choice(), ANA)).override.id for _ in range(40)]
        assert [one["id"] for one in here.audited()] == ids

    in_loop(tmp_path, story)


def test_another_epoch_counts_whatever_its_number(tmp_path):
    async def story(here: Site) -> None:
        for value in ("legacy", "canary 5%", "legacy"):
            await here.book.put(choice(value), ANA)
        here.store.path.unlink()
        fresh = others(Kept.first())
        await FileStore(here.store.path).write(fresh, None)
        await until(lambda: here.book.overrides.version == 1)
        assert here.store.read() == fresh

    in_loop(tmp_path, story)


def test_the_last_known_outlive_the_process_and_the_store(tmp_path):
    in_loop(tmp_path, lambda here: here.book.put(choice(), ANA))
    (tmp_path / "store.json").unlink()
    (tmp_path / "store.json").mkdir()  # can be neither read nor written

    async def story(here: Site) -> None:
        assert [one.value for one in here.book.overrides] == ["legacy"]
        with pytest.raises(Rejected) as refused:
            await here.book.put(choice("canary 5%"), ANA)
        assert refused.value.status_code == 503
        assert [one.value for one in here.book.overrides] == ["legacy"]
        assert not here.book.json()["store"]["ok"]

    in_loop(tmp_path, story)


def test_a_damaged_document_is_set_aside_and_keeps_nobody_from_a_toggle(tmp_path, caplog):
    junk = b"\xda\xe3 junk"
    (tmp_path / "store.json").write_bytes(junk)

    async def story(here: Site) -> None:
        assert not here.book.json()["store"]["ok"]
        done = await here.book.put(choice(), ANA)
        assert done.workers == (2, 2)
        assert here.store.read().overrides == here.book.overrides
        assert (tmp_path / "store.json.broken").read_bytes() == junk
        assert here.book.json()["store"]["ok"]
        here.store.path.write_bytes(junk)  # and once more, under what counts
        await here.book.put(choice("canary 5%"), ANA)
        assert here.store.read().overrides.version == 2

    in_loop(tmp_path, story)
    assert [one.message for one in caplog.records].count("overrides.set_aside") == 2


def test_the_copy_of_another_store_does_not_count(tmp_path, caplog):
    document = {"store": "redis://h:1/ x", **others(Kept.first()).json()}
    (tmp_path / FILE).write_text(json.dumps(document))
    assert read_copy(tmp_path, "file") is None
    assert read_copy(tmp_path, "redis://h:1/ x") is not None
    assert FileStore(tmp_path / FILE).read() is None
    assert [one.message for one in caplog.records] == ["overrides.foreign"]
    (tmp_path / FILE).write_text("{")
    assert read_copy(tmp_path, "file") is None
    assert caplog.records[-1].message == "overrides.unreadable"


def test_a_long_set_is_told_by_its_file(tmp_path):
    async def story(here: Site) -> None:
        await here.book.put_all(
            [choice(key=f"/{number}", reason="r" * 300) for number in range(60)], ANA
        )
        told = here.book.told
        assert "set" not in told
        kept = Overrides.parse(json.loads(Path(told["file"]).read_bytes()))
        assert len(kept) == 60
        assert len(json.dumps(told)) < 500

    in_loop(tmp_path, story)


def test_there_is_an_end_to_how_many(tmp_path, monkeypatch):
    monkeypatch.setattr("strangler.control.overrides.MOST", 3)
    assert MOST == 500

    async def story(here: Site) -> None:
        for number in range(3):
            await here.book.put(choice(key=f"/{number}"), ANA)
        with pytest.raises(Rejected) as refused:
            await here.book.put(choice(key="/3"), ANA)
        assert refused.value.status_code == 409
        await here.book.put(choice("live", key="/2"), ANA)  # one in another's place is none more

    in_loop(tmp_path, story)


def test_what_two_machines_end_at_once_is_audited_once(tmp_path, monkeypatch):
    monkeypatch.setattr("strangler.control.stores.file.LOOK", 60.0)  # this one hears of it late

    async def story(here: Site) -> None:
        await here.book.put(choice(seconds=2), ANA)
        there = here.store.read()
        entry = {"what": "override.expired", "who": "strangler", "id": "x"}
        ended = there.after(there.overrides.without({one.id for one in there.overrides}), [entry])
        await FileStore(here.store.path).write(ended, there)
        await until(lambda: len(here.audited()) > 1)
        told = [(one["what"], one.get("via")) for one in here.audited()]
        assert told == [("override.set", None), ("override.expired", "store")]

    in_loop(tmp_path, story)


def test_what_ends_while_the_store_is_gone_is_recorded_when_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr("strangler.control.overrides._LOOK_AGAIN", 0.02)

    async def story(here: Site) -> None:
        await here.book.put(choice(seconds=0.05), ANA)
        here.store.path.rename(tmp_path / "away")
        here.store.path.mkdir()
        await until(lambda: len(here.book.overrides) == 0)
        here.store.path.rmdir()
        (tmp_path / "away").rename(here.store.path)
        await until(lambda: len(here.store.read().overrides) == 0)
        await until(lambda: len(here.audited()) == 2)
        assert [one["what"] for one in here.audited()] == ["override.set", "override.expired"]

    in_loop(tmp_path, story)
