# SPDX-License-Identifier: Apache-2.0
"""Who gets a free place, who waits, and who is turned away."""

from __future__ import annotations

import asyncio

from strangler.clock import Waits
from strangler.resilience.protection import Guard, Protection
from strangler.upstream.places import IN, WAIT, Guests, Places, no_place


class Entrant:
    def __init__(self, kind="live"):
        self.kind = kind
        self.told = []

    def entered(self):
        self.told.append("entered")

    def no_place(self):
        self.told.append("no_place")


def within(test):
    """Run *test* in a loop, with queues whose clock stands still."""

    async def run():
        await test(Waits(1.0, no_place, lambda: 0.0))

    asyncio.run(run())


def test_readers_are_served_before_guests():
    async def test(waits):
        places = Places(1, 5, waits)
        first, guest, reader = Entrant(), Entrant("fallback"), Entrant()
        assert [places.ask(each) for each in (first, guest, reader)] == [IN, WAIT, WAIT]
        assert places.readers_wait
        places.leave()
        await asyncio.sleep(0)
        assert (reader.told, guest.told) == (["entered"], [])
        places.leave()
        await asyncio.sleep(0)
        assert guest.told == ["entered"]
        places.leave()
        assert places.bulkhead.inflight == places.bulkhead.waiting == 0

    within(test)


def test_a_full_queue_turns_away_and_who_gives_up_makes_room():
    async def test(waits):
        places = Places(1, 1, waits)
        places.ask(Entrant())
        waiting = Entrant()
        assert places.ask(waiting) == WAIT
        assert places.ask(Entrant()) == "busy"
        places.give_up(waiting)
        places.give_up(waiting)
        assert len(waits) == 0
        assert places.ask(Entrant()) == WAIT

    within(test)


def test_guests_wait_for_a_place_or_are_told_why_not():
    async def test(waits):
        places = Places(None, 5, waits)
        guests = Guests(Guard(Protection(initial=1, least=1, queue=1), 0.0), places, waits)
        first, second = Entrant("fallback"), Entrant("fallback")
        assert guests.ask(first) == IN
        assert guests.ask(second) == WAIT
        assert guests.ask(Entrant("fallback")) == "legacy_full"
        assert guests.ask(Entrant("revalidation")) == "legacy_busy"
        guests.leave()
        await asyncio.sleep(0)
        assert second.told == ["entered"]
        guests.leave()
        assert guests.guard.places.inflight == 0

    within(test)
