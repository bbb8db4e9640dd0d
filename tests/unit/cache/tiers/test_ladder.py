# SPDX-License-Identifier: Apache-2.0
"""The tiers of a site together."""

import asyncio
import time
from pathlib import Path

import pytest
from contract.sites import page

from strangler.cache.policy import Tier as Said
from strangler.cache.tiers import Purge
from strangler.cache.tiers.ladder import Ladder


def said(folder: Path) -> dict[str, Said]:
    return {
        "edge": Said(name="edge", store="memory", size=1 << 20),
        "shared": Said(name="shared", store=f"sqlite:{folder / 'shared.db'}", timeout=20.0),
        "archive": Said(name="archive", store=f"sqlite:{folder / 'archive.db'}", timeout=20.0),
    }


def test_a_purge_goes_through_all_tiers_and_all_workers(tmp_path: Path) -> None:
    async def run() -> None:
        one, other = Ladder.of(said(tmp_path)), Ladder.of(said(tmp_path))
        await asyncio.gather(one.start(), other.start())
        kept = page(tags=(b"t",))
        for ladder in (one, other):
            moments = ladder.moments
            assert ladder.edge is not None
            ladder.edge.put(kept.key, b"v", 100, moment=moments.edge, tags=kept.tags)
            for tier, moment in zip(ladder.tiers, moments[1:], strict=True):
                assert await tier.put(kept, b"0123456789", stay=60.0, moment=moment)
        before = other.moments
        done = await one.purge(Purge.tags(b"t"))
        assert done == {"archive": True, "shared": True, "edge": True}
        assert next(iter(done)) == "archive"
        began = time.monotonic()
        while other.edge is not None and other.edge.get(kept.key):
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 5.0
        for ladder in (one, other):
            assert ladder.edge is not None
            assert ladder.edge.get(kept.key) == ()
            for tier in ladder.tiers:
                assert await tier.get(kept.key) == []
        assert other.edge is not None
        assert not other.edge.put(kept.key, b"v", 100, moment=before.edge, tags=kept.tags)
        await asyncio.gather(one.close(), other.close())

    asyncio.run(run())


def test_a_tier_may_be_absent(tmp_path: Path) -> None:
    async def run() -> None:
        tiers = said(tmp_path)
        del tiers["shared"], tiers["edge"]
        ladder = Ladder.of(tiers)
        await ladder.start()
        assert ladder.moments[:2] == (0, 0)
        assert ladder.moments.archive > 0
        assert await ladder.purge(Purge.everything()) == {"archive": True}
        await ladder.close()

    asyncio.run(run())


def test_the_edge_tier_lives_in_the_process(tmp_path: Path) -> None:
    tiers = said(tmp_path) | {"edge": Said(name="edge", store="redis://h")}
    with pytest.raises(ValueError, match="memory"):
        Ladder.of(tiers)
