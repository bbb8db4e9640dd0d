# SPDX-License-Identifier: Apache-2.0
"""The counts: one table, rows in shared memory, sums that only rise, windows, percentiles."""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import get_args, get_type_hints

import pytest

from strangler.exchange.counting import Arm, Counts
from strangler.observe import lanes, numbers
from strangler.observe.counters import COARSE, COUNTERS, FAMILIES, FINE, LAYOUT, SHOWN, Layout
from strangler.observe.lanes import Lane, Reader
from strangler.observe.numbers import ArmNumbers, Totals, quantile
from strangler.resilience.policy import FAILURE_WORDS, Rung


@pytest.fixture
def lane_fds() -> Iterator[list[int]]:
    fds = [lanes.create() for _ in range(3)]
    yield fds
    for fd in fds:
        os.close(fd)


def end(arm: Arm, status: int = 200, **given: object) -> None:
    fields: dict[str, object] = {
        "duration": 0.012,
        "start": 0.010,
        "sent": 100,
        "received": 0,
        "error": "",
        "rung": None,
        "failure": "",
    }
    arm.ended(status, **{**fields, **given})  # type: ignore[arg-type]


# -------------------------------------------------------------------- the table


def test_names_follow_the_convention() -> None:
    for one in COUNTERS:
        assert re.fullmatch(r"strangler_[a-z]+(_[a-z]+)*", one.name)
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name
        assert one.kind != "histogram" or one.name.endswith("_seconds")
        assert one.doc.endswith(".")
    assert len({one.name for one in COUNTERS}) == len(COUNTERS)


def test_labels_are_closed_sets_and_never_a_path() -> None:
    """Pain 50."""
    names = {label for one in COUNTERS for label in one.labels}
    names |= {label for labels in FAMILIES.values() for label in labels}
    assert not names & {"path", "url", "client", "host", "id", "method"}
    assert all(values for one in COUNTERS if one.family for values in one.labels.values())


def test_every_label_set_has_a_place_of_its_own() -> None:
    for family in FAMILIES:
        places: list[int] = []
        for one in COUNTERS:
            if one.family == family and one.kind != "histogram":
                places += [LAYOUT.place(one.name, **labels) for labels in one.sets()]
            elif one.family == family:
                first = LAYOUT.first[one.name]
                places += range(first, first + len(one.bounds) + 2)
        assert places == list(range(len(places)))


def test_another_table_is_another_layout() -> None:
    other = (replace(COUNTERS[0], labels={"status": ("200",)}), *COUNTERS[1:])
    assert Layout(other).digest != LAYOUT.digest
    assert Layout(COUNTERS).digest == LAYOUT.digest


def test_bounds_rise_and_the_shown_ones_are_among_them() -> None:
    assert list(FINE) == sorted(set(FINE)) and list(COARSE) == sorted(set(COARSE))
    assert set(SHOWN) <= set(FINE)
    assert all(b / a < 1.15 for a, b in pairwise(FINE))


# -------------------------------------------------------------------- lanes


def test_a_killed_workers_counts_stay_and_its_successor_goes_on(lane_fds: list[int]) -> None:
    totals = Totals(Reader(lane_fds))
    for _ in range(2):
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            arm = Counts(Lane.take(lane_fds)).arm("/a/**", "service")
            for _ in range(1000):
                end(arm)
            os.write(told, b"!")
            signal.pause()
        assert os.read(ready, 1) == b"!"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)
    found = totals.numbers()["/a/**"]["service"]
    assert found.requests == 2000
    # Both had the same lane: a row is not made twice, and a new reader finds the same sums.
    assert sum(os.fstat(fd).st_size > 0 for fd in lane_fds) == 1
    assert Totals(Reader(lane_fds)).numbers()["/a/**"]["service"].requests == 2000


def test_two_living_workers_never_share_a_lane(lane_fds: list[int]) -> None:
    pids = []
    pipes = [os.pipe(), os.pipe()]
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            arm = Counts(Lane.take(lane_fds)).arm("/a", "legacy")
            end(arm)
            os.write(pipes[0][1], b"!")
            os.read(pipes[1][0], 1)
            for _ in range(5000):
                end(arm)
            os._exit(0)
        pids.append(pid)
    for _ in pids:
        os.read(pipes[0][0], 1)
    os.write(pipes[1][1], b"!!")
    for pid in pids:
        os.waitpid(pid, 0)
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)
    assert Totals(Reader(lane_fds)).numbers()["/a"]["legacy"].requests == 10_002


def test_what_was_under_way_in_a_dead_worker_is_no_more(lane_fds: list[int]) -> None:
    counts = Counts(Lane(lane_fds[0]))
    arm = counts.arm("/a", "legacy")
    end(arm)
    counts.under_way([arm, arm])
    totals = Totals(Reader(lane_fds))
    assert totals.numbers()["/a"]["legacy"].inflight == 2
    Lane(lane_fds[0])
    assert totals.numbers()["/a"]["legacy"].inflight == 0
    assert totals.numbers()["/a"]["legacy"].requests == 1


def test_thousands_of_routes_fit_and_silent_ones_cost_nothing(lane_fds: list[int]) -> None:
    counts = Counts(Lane(lane_fds[0]))
    arms = [counts.arm(f"/route-{n}/{{slug}}/**", "service") for n in range(3000)]
    assert os.fstat(lane_fds[0]).st_size == 0
    for arm in arms[::3]:
        end(arm)
    found = Totals(Reader(lane_fds)).numbers()
    assert len(found) == 1000
    assert sum(one["service"].requests for one in found.values()) == 1000


def test_past_the_most_rows_the_rest_is_counted_together(
    lane_fds: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lanes, "MOST_ROWS", 5)
    counts = Counts(Lane(lane_fds[0]))
    for number in range(9):
        end(counts.arm(f"/{number}", "legacy"))
    found = Totals(Reader(lane_fds)).numbers()
    assert found["(others)"]["(others)"].requests == 4
    assert len(found) == 6
    assert [one.message for one in caplog.records] == ["counts.lost"]


def test_long_keys_keep_apart_and_stay_text(lane_fds: list[int]) -> None:
    counts = Counts(Lane(lane_fds[0]))
    long = ["/" + "ção/" * 400 + end_ for end_ in ("a", "b")]
    for key in long:
        end(counts.arm(key, "legacy"))
    found = Totals(Reader(lane_fds)).numbers()
    assert set(found) == {lanes.shortened(key) for key in long}
    assert len(found) == 2


def test_without_a_free_lane_counting_goes_on_loudly(caplog: pytest.LogCaptureFixture) -> None:
    read_only = os.open("/dev/null", os.O_RDONLY)  # cannot be locked for writing
    arm = Counts(Lane.take([read_only])).arm("/a", "legacy")
    os.close(read_only)
    end(arm)
    assert [one.message for one in caplog.records] == ["counts.lost"]


# -------------------------------------------------------------------- what is counted


@pytest.fixture
def counted(lane_fds: list[int]) -> tuple[Counts, Totals]:
    return Counts(Lane(lane_fds[0])), Totals(Reader(lane_fds))


def test_an_exchange_is_counted_once_in_every_way(counted: tuple[Counts, Totals]) -> None:
    counts, totals = counted
    arm = counts.arm("/a", "service")
    end(arm, 200, received=7)
    end(arm, 404)
    end(arm, 418)
    end(arm, 0, error="client_aborted", start=0)
    end(arm, 504, error="http_response_timeout", start=2.0, duration=2.0)
    end(arm, 200, rung=Rung("legacy"), failure="breaker")
    end(arm, 200, rung=Rung("upstream", "materia-2"), failure=503)
    end(arm, 200, rung=Rung("legacy"), failure=404)
    end(arm, 200, rung=Rung("legacy"), failure="drained")
    end(arm, 501)
    end(arm, 413, error="request body: route /a takes at most 5 bytes", start=0)
    arm.cached("miss")
    found = totals.numbers()["/a"]["service"]
    assert found.requests == 11
    assert found.statuses == {
        "none": 1,
        "200": 5,
        "404": 1,
        "4xx": 1,
        "413": 1,
        "501": 1,
        "504": 1,
    }
    assert found.classes == {"none": 1, "2xx": 5, "4xx": 3, "5xx": 2}
    assert found.failures == {"client_aborted": 1, "http_response_timeout": 1, "other": 1}
    assert found.fallbacks == {
        "legacy/breaker": 1,
        "legacy/4xx": 1,
        "legacy/drained": 1,
        "upstream/5xx": 1,
    }
    assert found.unwell == 3, (
        "the 504, the breaker's fallback, the 503's: not a 404, not a 501, no drain"
    )
    assert found.errors == pytest.approx(3 / 11)
    assert found.samples == 9
    assert found.sent == 1100 and found.received == 7
    assert found.cache == {"miss": 1}
    assert found.get("strangler_requests_total", status="504") == 1


def test_refused_requests_have_no_route(counted: tuple[Counts, Totals]) -> None:
    counts, totals = counted
    counts.refused(404)
    counts.refused(421)
    assert totals.numbers() == {}
    row = totals.rows("refused")[()]
    assert row.by("strangler_refused_requests_total") == {"404": 1, "421": 1}


def test_words_of_other_rooms_have_their_places() -> None:
    [words] = [one.labels for one in COUNTERS if one.name == "strangler_fallbacks_total"]
    assert set(FAILURE_WORDS) <= set(words["why"])
    kinds = get_args(get_type_hints(Rung)["kind"])
    assert set(kinds) == set(words["rung"])


# -------------------------------------------------------------------- windows, percentiles


def test_windows_hold_what_happened_in_them(lane_fds: list[int]) -> None:
    now = [1000.0]
    counts = Counts(Lane(lane_fds[0]))
    arm = counts.arm("/a", "legacy")
    end(arm)
    totals = Totals(Reader(lane_fds), lambda: now[0])
    assert totals.recent(300) == {}, "what was counted before belongs to no window"
    for second in range(1, 601):
        end(arm)
        if second % 2:
            end(arm, 500)
        now[0] += 1
        totals.tick()
    end(arm)
    assert totals.recent(10)["/a"]["legacy"].requests == 16
    assert totals.span(10) == 10
    minute = totals.recent(60)["/a"]["legacy"]
    assert minute.requests == pytest.approx(1.5 * totals.span(60), abs=1.5)
    assert 60 <= totals.span(60) <= 70
    assert 300 <= totals.span(300) <= 310
    assert minute.unwell == pytest.approx(minute.requests / 3, abs=1)
    assert totals.numbers()["/a"]["legacy"].requests == 902
    assert len(totals._coarse) + len(totals._fine) <= 51


def test_two_moments_subtract(counted: tuple[Counts, Totals]) -> None:
    counts, totals = counted
    arm = counts.arm("/a", "service")
    end(arm, 500)
    before = totals.numbers()["/a"]["service"]
    end(arm)
    end(arm)
    after = totals.numbers()["/a"]["service"]
    assert (after - before).statuses == {"200": 2}
    assert isinstance(after - before, ArmNumbers)
    assert before.requests == 1, "numbers that were given away do not move"


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_percentiles_are_within_five_percent(counted: tuple[Counts, Totals], share: float) -> None:
    counts, totals = counted
    arm = counts.arm("/a", "legacy")
    chance = random.Random(7)
    times = sorted(chance.lognormvariate(-3, 1) for _ in range(5000))
    for one in times:
        end(arm, start=one)
    found = totals.numbers()["/a"]["legacy"]
    assert found.percentile(share) == pytest.approx(times[int(share * 5000)], rel=0.05)
    assert found.mean == pytest.approx(sum(times) / 5000, rel=0.01)


def test_percentiles_at_the_ends() -> None:
    assert quantile([0, 0, 0], (1.0, 2.0), 0.5) is None
    assert quantile([0, 0, 3], (1.0, 2.0), 0.5) == 2.0
    assert quantile([4, 0, 0], (1.0, 2.0), 0.5) == 0.5
    assert ArmNumbers().percentile(0.95) is None and ArmNumbers().errors == 0
    assert numbers.Row().by("strangler_failures_total") == {}
