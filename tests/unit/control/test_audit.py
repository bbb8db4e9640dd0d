# SPDX-License-Identifier: Apache-2.0
"""The audit log: only added to, read page by page from its end, never silently without."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from strangler.control.audit import FILE, Audit


def run(story) -> None:
    asyncio.run(story)


async def page(audit: Audit, limit: int = 3, before: int | None = None, wanted=lambda one: True):
    return await audit.read(limit=limit, before=before, wanted=wanted)


def test_pain_52_pages_go_back_to_the_very_first(tmp_path: Path) -> None:
    async def story() -> None:
        audit = Audit(lambda: tmp_path, "here")
        for number in range(7):
            assert await audit.add({"what": "x", "number": number, "text": "ação\n" * 3000})
        found, before = [], None
        while True:
            entries, before = await page(audit, before=before)
            found += [one["number"] for one in entries]
            if before is None:
                break
        assert found == [6, 5, 4, 3, 2, 1, 0]
        entries, _ = await page(audit)
        assert entries[0]["instance"] == "here"
        assert entries[0]["time"] > 1e9
        assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
        audit.close()

    run(story())


def test_what_is_added_meanwhile_shifts_no_page(tmp_path: Path) -> None:
    async def story() -> None:
        audit = Audit(lambda: tmp_path)
        await audit.add(*({"number": number} for number in range(6)))
        first, before = await page(audit)
        await audit.add({"number": 99})
        second, _ = await page(audit, before=before)
        assert [one["number"] for one in first + second] == [5, 4, 3, 2, 1, 0]

    run(story())


def test_only_what_is_wanted(tmp_path: Path) -> None:
    async def story() -> None:
        audit = Audit(lambda: tmp_path)
        await audit.add(*({"number": number} for number in range(100)))
        entries, before = await page(audit, 2, wanted=lambda one: one["number"] % 10 == 0)
        assert [one["number"] for one in entries] == [90, 80]
        entries, before = await page(audit, 50, before, lambda one: one["number"] % 10 == 0)
        assert ([one["number"] for one in entries], before) == (list(range(70, -1, -10)), None)

    run(story())


def test_a_line_that_a_crash_cut_short_costs_itself_alone(tmp_path: Path) -> None:
    async def story() -> None:
        audit = Audit(lambda: tmp_path)
        await audit.add({"number": 1})
        with (tmp_path / FILE).open("ab") as file:
            file.write(b'{"number": 2, "wh')
        await audit.add({"number": 3})
        entries, _ = await page(audit)
        assert [one["number"] for one in entries] == [3, 1]

    run(story())


def test_nothing_yet(tmp_path: Path) -> None:
    async def story() -> None:
        assert await page(Audit(lambda: tmp_path)) == ([], None)

    run(story())


def test_what_cannot_be_written_is_told_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async def story() -> None:
        audit = Audit(lambda: tmp_path / "gone")
        assert not await audit.add({"what": "override.set", "who": "ana"})
        assert audit.trouble
        (tmp_path / "gone").mkdir()
        assert await audit.add({"what": "override.set", "who": "ana"})
        assert not audit.trouble

    run(story())
    [record] = caplog.records
    assert record.message == "audit.unwritable"
    assert json.loads(record.fields["entry"])["who"] == "ana"
