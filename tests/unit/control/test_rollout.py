# SPDX-License-Identifier: Apache-2.0
"""The clock of rollouts, on real counts and a real store; only the time is the test's."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strangler.config.load import load
from strangler.config.snapshot import Snapshot
from strangler.control.arms import Measured, pair_of
from strangler.control.audit import Audit
from strangler.control.choice import Choice
from strangler.control.fleet import MEMBER, Fleet, Word, _words, hear
from strangler.control.handler import Asker
from strangler.control.overrides import Book
from strangler.control.readiness import Peaks, readiness, saved_within_a_day
from strangler.control.rollout import CLOCK, FILE, Rollout
from strangler.control.state import State
from strangler.control.stores import FileStore
from strangler.control.stores.store import Kept, Unrecorded
from strangler.exchange.counting import Arm
from strangler.observe import lanes
from strangler.observe.lanes import Lane, Reader
from strangler.observe.numbers import Totals

ANA = Asker(who="ana", role="admin", address="", agent="", by="api")
KEY = "/x/**"
SITE = """version: 1
upstreams:
  legacy: {{url: "http://127.0.0.1:1", role: legacy, max_inflight: 10}}
  svc: {{url: "http://127.0.0.1:2"}}
routes:
  /**: legacy
  /x/**:
    to: svc
    stage: {stage}
    canary: {{steps: [5%, 25%, 100%], hold: 10m, on_fail: {on_fail},
             gates: {{errors: "+1pp", samples: 50}}}}
"""


def end(arm: Arm, count: int, status: int = 200, **given: Any) -> None:
    fields: dict[str, Any] = {
        "duration": 0.012, "start": 0.010, "sent": 1, "received": 0, "error": "", "rung": None,
        "failure": "",
    }  # fmt: skip
    for _ in range(count):
        arm.ended(status, **{**fields, **given})


class Site:
    """What one instance needs for its rollouts; its workers are the test."""

    def __init__(self, folder: Path, store: Path, text: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.fd = lanes.create()
        lane = Lane(self.fd)
        self.legacy, self.service = Arm(lane, KEY, "legacy"), Arm(lane, KEY, "service")
        self.store = FileStore(store)
        self.passed = 0.0
        self.is_driver = True
        self.peers: list[Site] | None = None
        self.snapshot = self.read(text)
        self.start()

    def read(self, text: str) -> Snapshot:
        file = self.folder / "routes.yaml"
        file.write_text(text)
        return load(file, {})

    def start(self, epoch: str = "one") -> None:
        """Begin a control process."""
        state = State(self.folder)
        self.audit = Audit(lambda: self.folder)
        self.book = Book(
            store=self.store,
            state=state,
            snapshot=lambda: self.snapshot,
            audit=self.audit,
            tell=self._tell,
        )
        self.totals = Totals(Reader([self.fd]))
        self.rollout = Rollout(
            book=self.book,
            state=state,
            snapshot=lambda: self.snapshot,
            totals=self.totals,
            saved=lambda key: None,
            hear=self._hear,
            epoch=epoch,
            now=lambda: time.time() + self.passed,
        )

    async def _tell(self) -> tuple[int, int]:
        return 1, 1

    async def _hear(self) -> Fleet:
        if self.peers is None:
            return Fleet(driving=self.is_driver)
        words = {peer: _words({MEMBER: json.loads(json.dumps(peer.rollout.words()))})
                 for peer in self.peers}  # fmt: skip
        driver = next((words[peer] for peer in self.peers if peer.is_driver), {})
        return Fleet(self.is_driver, driver, tuple(words.values()))

    async def look(self) -> None:
        """Take what the store has."""
        kept = self.store.read()
        if kept is not None:
            self.book._hear(kept)
            await asyncio.sleep(0)

    @property
    def stage(self) -> str:
        return str(self.rollout.stand(KEY)[0].stage)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Site] = []

    def one(name: str = "a", stage: str = "canary 5%", on_fail: str = "back") -> Site:
        text = SITE.format(stage=stage, on_fail=on_fail)
        made.append(Site(tmp_path / name, tmp_path / "overrides.json", text))
        return made[-1]

    yield one
    for each in made:
        each.audit.close()
        os.close(each.fd)


async def tick(site: Site, after: float = 0.0) -> str:
    site.passed += after
    await site.rollout.tick()
    return site.stage


def run(work: Any) -> None:
    asyncio.run(work)


def test_it_goes_up_when_hold_and_gates_allow_and_not_before(make: Any) -> None:
    async def work() -> None:
        site = make()
        assert await tick(site) == "canary 5%"
        end(site.legacy, 950)
        end(site.service, 60)
        assert await tick(site, 599) == "canary 5%"
        assert await tick(site, 2) == "canary 25%"
        # The next step counts anew: what was seen at 5 % proves nothing of 25 %.
        assert site.rollout.stand(KEY)[0].pair.service.answers == 0
        assert await tick(site, 601) == "canary 25%"
        [one] = site.book.overrides
        assert (one.author, one.via, one.file) == ("rollout", "rollout", "canary 5%")
        assert one.expires - one.created == 7 * 86_400

    run(work())


def test_what_was_counted_before_the_step_is_not_its_own(make: Any) -> None:
    async def work() -> None:
        site = make()
        end(site.legacy, 100)
        end(site.service, 100, 500)
        await tick(site)
        standing = site.rollout.stand(KEY)[0]
        assert (standing.pair.legacy.answers, standing.pair.service.answers) == (0, 0)

    run(work())


def test_a_failure_goes_back_rests_and_is_tried_again(make: Any) -> None:
    async def work() -> None:
        site = make(stage="canary 25%")
        await tick(site)
        end(site.legacy, 100)
        end(site.service, 100, 500)
        assert await tick(site, 1) == "canary 5%"
        end(site.legacy, 1000)
        end(site.service, 1000)
        assert await tick(site, 599) == "canary 5%"  # rests
        standing = site.rollout.stand(KEY)[0]
        assert standing.pair.service.answers == 0  # and what happened meanwhile doesn't count
        await tick(site, 2)
        end(site.legacy, 100)
        end(site.service, 100)
        assert await tick(site, 590) == "canary 5%"  # the hold begins after the rest
        assert await tick(site, 20) == "canary 25%"
        assert site.rollout.stand(KEY)[0].progress.failures == 1

    run(work())


def test_another_instance_that_takes_over_knows_what_has_failed(make: Any) -> None:
    async def work() -> None:
        one, other = make("a", stage="canary 25%"), make("b", stage="canary 25%")
        other.is_driver = False
        await tick(one)
        await tick(other)
        end(one.legacy, 100)
        end(one.service, 100, 500)
        assert await tick(one, 1) == "canary 5%"
        await other.look()
        assert await tick(other, 1) == "canary 5%"
        progress = other.rollout.stand(KEY)[0].progress
        assert (progress.failures, progress.failed) == (1, 2500)
        assert progress.rests_until == pytest.approx(time.time() + 601, abs=30)
        other.is_driver = True
        end(other.legacy, 1000)
        end(other.service, 1000)
        assert await tick(other, 500) == "canary 5%"

    run(work())


def test_two_that_drive_at_once_take_one_step(make: Any) -> None:
    async def work() -> None:
        one, other = make("a"), make("b")
        for site in (one, other):
            await tick(site)
            end(site.legacy, 100)
            end(site.service, 100)
        assert await tick(one, 601) == "canary 25%"
        assert one.book.overrides.version == 1
        # The other hasn't heard of it: the store refuses its step, and it takes what is there.
        assert await tick(other, 601) == "canary 25%"
        assert other.book.overrides.version == 1
        assert await tick(other, 1) == "canary 25%"

    run(work())


def test_a_restart_keeps_step_hold_and_samples(make: Any) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        end(site.legacy, 60)
        end(site.service, 30)
        await tick(site, 590)
        before = site.rollout.stand(KEY)[0]
        site.start()  # the control process alone: the counts are those that were
        end(site.service, 30)
        after = site.rollout.stand(KEY)[0]
        assert after.progress == before.progress
        assert (after.pair.legacy.answers, after.pair.service.answers) == (60, 60)
        await site.rollout.save()
        os.close(site.fd)
        site.fd = lanes.create()  # the whole site: its counts begin at nought
        lane = Lane(site.fd)
        site.legacy, site.service = Arm(lane, KEY, "legacy"), Arm(lane, KEY, "service")
        site.start(epoch="two")
        end(site.service, 5)
        after = site.rollout.stand(KEY)[0]
        assert (after.pair.legacy.answers, after.pair.service.answers) == (60, 65)
        assert after.pair.service.p95 == pytest.approx(0.01, rel=0.1)
        assert after.progress == before.progress
        assert await tick(site, 11) == "canary 25%"

    run(work())


def test_a_damaged_record_costs_the_samples_and_nothing_else(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        for damaged in (b"{", b'{"routes": {"/x/**": {}}, "peaks": {}}', b"[]", b'{"peaks": 1}'):
            (site.folder / FILE).write_bytes(damaged)
            with caplog.at_level(logging.WARNING, "strangler.events"):
                site.start()
            assert "rollout.unreadable" in caplog.text
            caplog.clear()
            assert await tick(site) == "canary 5%"

    run(work())


def test_what_the_file_says_by_now_is_taken_back_from_the_overrides(make: Any) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        end(site.legacy, 100)
        end(site.service, 100)
        assert await tick(site, 601) == "canary 25%"
        site.snapshot = site.read(SITE.format(stage="canary 25%", on_fail="back"))
        await tick(site, 20)
        assert len(site.book.overrides) == 0
        assert site.stage == "canary 25%"

    run(work())


def test_a_step_that_ends_soon_is_told_of_once(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        end(site.legacy, 100)
        end(site.service, 100)
        await tick(site, 601)
        with caplog.at_level(logging.WARNING, "strangler.events"):
            await tick(site, 6.5 * 86_400)
            await tick(site, 60)
        assert caplog.text.count("rollout.ends") == 1

    run(work())


def test_a_step_that_cannot_be_recorded_is_not_taken(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        end(site.legacy, 100)
        end(site.service, 100)
        site.store.path = site.folder / "no" / "such" / "folder.json"
        with caplog.at_level(logging.WARNING, "strangler.events"):
            assert await tick(site, 601) == "canary 5%"
            assert await tick(site, 1) == "canary 5%"
        assert caplog.text.count("rollout.unrecorded") == 1
        site.store.path = site.folder / "there.json"
        assert await tick(site, 1) == "canary 25%"

    run(work())


def test_a_person_who_says_the_stage_stops_the_clock(make: Any) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        said = Choice("stage", f"route:{KEY}", "canary 5%", 3600.0, "mine", ("",), "canary 5%")
        await site.book.put(said, ANA)
        end(site.legacy, 100)
        end(site.service, 100)
        assert await tick(site, 601) == "canary 5%"
        assert "ana" in site.rollout.stand(KEY)[0].brakes.by_hand

    run(work())


@pytest.mark.parametrize(
    ("kind", "subject", "value"),
    [
        ("drain", "upstream:svc", True),
        ("drain", "upstream:legacy", True),
        ("breaker", "upstream:svc", "forced_open"),
        ("fault", f"route:{KEY}", {"kind": "abort", "share": 1.0, "amount": 500}),
        ("maintenance", "site", True),
    ],
)
def test_what_is_answered_under_an_order_proves_nothing(
    kind: str, subject: str, value: Any, make: Any
) -> None:
    """A drained service whose readers legacy serves would else go up by legacy's answers."""

    async def work() -> None:
        site = make()
        await tick(site)
        order = Choice(kind, subject, value, 3600.0, "an exercise", ("",), "")
        await site.book.put(order, ANA)
        end(site.legacy, 1000)
        end(site.service, 1000)
        assert await tick(site, 601) == "canary 5%"
        standing = site.rollout.stand(KEY)[0]
        assert "an exercise" in standing.brakes.ordered
        assert "ordered" in [one.name for one in standing.outlook.unmet]
        end(site.service, 1000, 500)
        assert await tick(site, 1) == "canary 5%"
        await site.book.undo(None, "it is over", ANA, lambda one: None)
        assert await tick(site, 1) == "canary 5%"
        assert site.rollout.stand(KEY)[0].pair.service.answers == 0
        end(site.legacy, 1000)
        end(site.service, 1000)
        assert await tick(site, 590) == "canary 5%"  # the hold began anew, too
        assert await tick(site, 20) == "canary 25%"

    run(work())


def test_an_undone_step_begins_its_hold_anew(make: Any) -> None:
    async def work() -> None:
        site = make()
        for stage in ("canary 5%", "canary 25%", "canary 100%"):
            assert await tick(site, 601) == stage
            end(site.legacy, 100)
            end(site.service, 100)
        await site.book.undo(None, "too early", CLOCK, lambda one: None)
        assert await tick(site) == "canary 25%"
        progress = site.rollout.stand(KEY)[0].progress
        assert (progress.failures, progress.rests_until) == (0, 0)
        end(site.legacy, 100)
        end(site.service, 100)
        assert await tick(site, 590) == "canary 25%"
        assert await tick(site, 20) == "canary 100%"

    run(work())


def test_a_route_that_leaves_the_file_is_forgotten(make: Any) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        whole = SITE.format(stage="live", on_fail="back")
        site.snapshot = site.read(whole.replace("/x/**", "/y/**"))
        await site.rollout.tick()
        await site.rollout.save()
        assert json.loads((site.folder / FILE).read_bytes())["routes"] == {}

    run(work())


def test_at_all_readers_legacy_is_what_it_was_last(make: Any) -> None:
    async def work() -> None:
        site = make(stage="canary 25%")
        await tick(site)
        end(site.legacy, 100)
        end(site.service, 100)
        assert await tick(site, 601) == "canary 100%"
        end(site.service, 100)
        standing = site.rollout.stand(KEY)[0]
        assert standing.pair.legacy.answers == 100
        assert {gate.verdict for gate in standing.judged} == {"pass"}
        site.passed += 601
        assert site.rollout.stand(KEY)[0].outlook.ready
        assert await tick(site) == "canary 100%"  # live is for people

    run(work())


def test_hits_say_nothing_of_an_arm_and_breakers_do(make: Any) -> None:
    site = make()
    end(site.service, 10)
    site.service.hits(200, 1000, 5)
    end(site.service, 5, 503, start=0.0, error="destination_unavailable")
    seen = pair_of(site.totals.numbers(), KEY).service
    assert (seen.answers, seen.errors, seen.times.total) == (15, 5, 10)


def test_measures_are_kept_whole(make: Any) -> None:
    site = make()
    measured = Measured("one")
    end(site.legacy, 3)
    measured.begin(KEY, site.totals.numbers())
    end(site.legacy, 4)
    end(site.service, 2, 500, start=0.2)
    arms = site.totals.numbers()
    told = json.loads(json.dumps(measured.json(KEY, arms)))
    again = Measured("one")
    again.restore(KEY, told)
    assert again.seen(KEY, arms) == measured.seen(KEY, arms)
    assert again.seen(KEY, arms).service.errors == 2
    assert again.json(KEY, arms) == measured.json(KEY, arms)


# ---------------------------------------------------------------- who drives


class Shared:
    """A store that several instances share, as far as driving goes."""

    kind = "redis"

    def __init__(self, **ages: float) -> None:
        self.trouble = ""
        self._ages = ages

    async def instances(self) -> list[dict[str, Any]]:
        if not self._ages:
            raise Unrecorded("it went between two looks")
        return [{"name": name, "at": time.time() - age} for name, age in self._ages.items()]


@pytest.mark.parametrize(
    ("ages", "driver"),
    [
        ({"a": 0.5, "b": 0.5}, "a"),
        ({"a": 60.0, "b": 0.5}, "b"),
        ({"a": 60.0, "b": 60.0}, None),
        ({}, None),
    ],
)
def test_one_instance_drives(ages: dict[str, float], driver: str | None) -> None:
    async def work() -> None:
        store: Any = Shared(**ages)
        found = [name for name in ("a", "b") if (await hear(store, name)).driving]
        assert found == ([driver] if driver else [])

    run(work())


def test_nobody_drives_without_the_store(tmp_path: Path) -> None:
    async def work() -> None:
        store: Any = Shared(a=0.1)
        store.trouble = "connection refused"
        assert not (await hear(store, "a")).driving
        file: Any = FileStore(tmp_path / "x")
        assert (await hear(file, "whatever")).driving

    run(work())


def test_what_another_release_says_otherwise_is_left_out(make: Any) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        words = json.loads(json.dumps(site.rollout.words()))
        told: Any = {MEMBER: {**words, "/a": {}, "/b": [], "/c": {"progress": {}, "arms": 1}}}
        assert _words(told) == {KEY: Word.parse(words[KEY])}
        for other in ({}, {MEMBER: None}, {MEMBER: [1]}):
            assert _words(other) == {}

    run(work())


def fleet(make: Any, **given: Any) -> tuple[Site, Site]:
    """Return two instances that hear each other; the first drives."""
    one, other = make("a", **given), make("b", **given)
    one.peers, other.peers, other.is_driver = [other], [one], False
    return one, other


async def beat(*sites: Site) -> None:
    for _ in range(2):
        for site in sites:
            await site.look()
            await site.rollout.tick()


def test_gates_compare_what_the_whole_fleet_has_seen(make: Any) -> None:
    async def work() -> None:
        one, other = fleet(make)
        await beat(one, other)
        for site in (one, other):
            end(site.legacy, 30)
            end(site.service, 30)  # of 50 that are asked for
        await beat(one, other)
        for site in (one, other):
            standing = site.rollout.stand(KEY)[0]
            assert (standing.pair.service.answers, standing.edges) == (60, 2)
        one.passed = other.passed = 601
        await beat(one, other)
        assert one.stage == other.stage == "canary 25%"

    run(work())


def test_a_service_that_fails_behind_another_edge_fails_the_gate(make: Any) -> None:
    async def work() -> None:
        one, other = fleet(make, stage="canary 25%")
        await beat(one, other)
        end(one.legacy, 100)
        end(one.service, 100)
        end(other.service, 100, 500)
        await beat(one, other)
        assert one.stage == other.stage == "canary 5%"

    run(work())


def test_whoever_takes_over_goes_on_where_the_driver_was(make: Any) -> None:
    async def work() -> None:
        one, other = fleet(make, stage="canary 25%", on_fail="hold")
        await beat(one, other)
        end(one.legacy, 100)
        end(one.service, 100, 500)
        end(other.service, 100, 500)
        await beat(one, other)
        before = one.rollout.stand(KEY)[0].progress
        assert before.failures == 1
        assert other.rollout.stand(KEY)[0].progress == before
        # What failed before the rest counts for nobody after it.
        one.passed = other.passed = before.measured - time.time() + 2
        await beat(one, other)
        assert one.rollout.stand(KEY)[0].pair.service.answers == 0
        one.is_driver, other.is_driver, other.peers = False, True, []
        await beat(other)
        assert other.rollout.stand(KEY)[0].progress.failures == 1
        end(other.legacy, 100)
        end(other.service, 100)
        other.passed += 601
        await beat(other)
        assert other.stage == "canary 100%"

    run(work())


# ---------------------------------------------------------------- could legacy take it back?


def readiness_of(site: Site, peaks: Peaks | None = None) -> tuple[str, str]:
    route = next(one for one in site.snapshot.routes if one.key == KEY)
    recent = site.totals.recent(60)
    told = readiness(route, site.snapshot.upstreams["legacy"], recent, 60.0, peaks or Peaks())
    return told["verdict"], told["why"]


def test_legacy_is_ready_for_what_it_has_done(make: Any) -> None:
    site = make()
    peaks = Peaks()
    peaks.saw(1000.0, 20.0)
    end(site.service, 600)
    end(site.legacy, 300)
    assert readiness_of(site, peaks)[0] == "ready"


def test_legacy_has_never_done_as_much(make: Any) -> None:
    """Pain 29: a rollback hurts where the capacity has gone meanwhile."""
    site = make()
    end(site.service, 600)
    end(site.legacy, 60)
    verdict, why = readiness_of(site)
    assert verdict == "unproven"
    assert why.startswith("11 answers a second would be needed; the most")


def test_legacy_has_not_the_places(make: Any) -> None:
    site = make()
    end(site.service, 600)
    end(site.legacy, 60, start=5.0)
    verdict, why = readiness_of(site)
    assert (verdict, "max_inflight is 10" in why) == ("short", True)


def test_legacy_is_not_well_itself(make: Any) -> None:
    site = make()
    end(site.service, 600)
    end(site.legacy, 60, 500)
    assert readiness_of(site)[0] == "unwell"


def test_nothing_would_move(make: Any) -> None:
    assert readiness_of(make())[0] == "unknown"


def test_peaks_are_of_a_day() -> None:
    peaks = Peaks()
    peaks.saw(0.0, 50.0)
    peaks.saw(10.0, 40.0)
    assert peaks.most == 50.0
    peaks.saw(23 * 3600.0, 10.0)
    assert Peaks.parse(json.loads(json.dumps(peaks.json()))).most == 50.0
    peaks.saw(24 * 3600.0, 10.0)
    assert peaks.most == 10.0


@pytest.mark.parametrize(
    ("started", "saved", "told"),
    [(90_000.0, 0, 0), (90_000.0, 3, 6), (100.0, 0, None), (100.0, 3, 6)],
)
def test_how_often_legacy_was_needed_in_a_day(started: float, saved: int, told: object) -> None:
    windows = [[60.0, 9, saved], [86_400.0, 9, saved]]
    edge = {"dependence": {KEY: {"windows": windows}}} if saved else {}
    status = {"started": 1e6 - started, "edge": edge}
    assert saved_within_a_day([status, status], KEY, 1e6) == told


def test_a_kept_set_is_what_the_store_holds(make: Any) -> None:
    async def work() -> None:
        site = make()
        await tick(site)
        end(site.legacy, 100)
        end(site.service, 100)
        await tick(site, 601)
        kept = site.store.read()
        assert isinstance(kept, Kept)
        assert [one.via for one in kept.overrides] == ["rollout"]

    run(work())
