# SPDX-License-Identifier: Apache-2.0
"""Looking over the workers' shoulders: how many may."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from strangler.control.asking import Asking
from strangler.control.handler import Rejected
from strangler.control.watch import MOST_TAILS, Watch
from strangler.edge.channel import pair


def test_a_tail_counts_before_it_is_read_and_no_longer_than_it_is_held():
    async def run() -> None:
        ours, theirs = pair()
        watch = Watch(Asking([ours]), lambda: [0])
        with contextlib.ExitStack() as held:
            for _ in range(MOST_TAILS):
                held.enter_context(watch.tail({}))
            with pytest.raises(Rejected, match="tails run already"), watch.tail({}):
                pass
        with watch.tail({}):
            pass
        ours.close()
        theirs.close()

    asyncio.run(run())
