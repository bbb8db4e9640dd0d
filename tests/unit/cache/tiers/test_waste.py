# SPDX-License-Identifier: Apache-2.0
"""What allocators keep is counted, what others in the process take isn't, and trims are rare."""

import subprocess
import sys

from strangler.cache.tiers.memory import Memory
from strangler.cache.tiers.waste import Waste

MB = 1 << 20


class Process:
    """A process whose memory and clock are set by hand."""

    def __init__(self) -> None:
        self.resident = 50 * MB
        self.keeps = 0
        self.now = 100.0
        self.trims = 0
        self.waste = Waste(
            100 * MB, resident=lambda: self.resident, trim=self.trim, clock=lambda: self.now
        )

    def trim(self) -> None:
        self.trims += 1
        self.resident -= self.keeps
        self.keeps = 0


def test_nothing_is_lost_while_the_process_is_as_large_as_what_is_used() -> None:
    process = Process()
    process.resident += 95 * MB
    assert process.waste.measure(90 * MB, 50_000) == 0
    assert process.trims == 0


def test_what_tiny_objects_left_behind_counts_as_spent() -> None:
    process = Process()
    process.resident += 80 * MB
    assert process.waste.measure(80 * MB, 50_000) == 0
    process.resident += 70 * MB
    lost = process.waste.measure(100 * MB, 500)
    assert lost == (150 - 100 - 10) * MB
    # Less is in use, so more of what is held is lost, but never more than half of the size.
    assert process.waste.measure(60 * MB, 300) == 50 * MB


def test_what_others_have_taken_is_not_the_tiers() -> None:
    process = Process()
    assert process.waste.measure(90 * MB, 1000) == 0
    process.resident += 300 * MB
    assert process.waste.measure(90 * MB, 1000) == 0
    # A tier that was made while a former one still held its memory learns that late.
    process.resident = 20 * MB
    assert process.waste.measure(10 * MB, 1000) == 0
    process.resident = 115 * MB
    assert process.waste.measure(90 * MB, 0) == 2048 * 1000


def test_the_library_is_asked_to_give_back_and_rarely_where_it_has_nothing() -> None:
    process = Process()
    process.resident += 150 * MB
    process.keeps = 50 * MB
    assert process.waste.measure(100 * MB, 10) == 0
    assert process.trims == 1
    process.resident += 50 * MB
    process.waste.measure(100 * MB, 10)
    assert process.trims == 1, "not twice in one instant"
    process.now += 1.5
    process.waste.measure(100 * MB, 10)  # of no use
    assert process.trims == 2
    process.now += 30
    process.waste.measure(100 * MB, 10)
    assert process.trims == 2
    process.resident += 10 * MB
    process.waste.measure(100 * MB, 10)
    assert process.trims == 3, "more has gathered since"
    process.now += 30
    process.waste.measure(100 * MB, 10)
    assert process.trims == 3
    process.now += 31
    process.waste.measure(100 * MB, 10)
    assert process.trims == 4


def test_memory_holds_less_while_something_is_lost() -> None:
    process = Process()
    memory = Memory[bytes](100 * MB, waste=process.waste)
    for number in range(1000):
        memory.put(b"%d" % number, b"v", 64 << 10, moment=memory.moment)
    assert memory.used > 60 * MB
    process.waste.measure(0, 1_000_000)
    process.resident += 150 * MB
    for number in range(1000, 3000):
        memory.put(b"%d" % number, b"v", 64 << 10, moment=memory.moment)
    assert memory.used <= 60 * MB


DRIFT = """
import random, re, sys
sys.path.insert(0, "tests")
from unit.cache.build import cc, stored
from dataclasses import replace
from strangler.cache.tiers.memory import Memory, footprint
from strangler.cache.tiers.waste import Waste, resident_bytes

size = 32 << 20
rnd, page = random.Random(1), stored(cc(b"max-age=60"))
before, worst = resident_bytes(), 0
memory = Memory(size, waste=Waste(size) if sys.argv[1] == "counted" else None)
for number in range(25_000):
    key = b"https://www.example.com/noticia/artigo-%d.ghtml" % number
    body = bytes(rnd.randrange(20, 200) if number < 20_000 else rnd.randrange(20_000, 200_000))
    one = replace(page, key=key, head=page.head + b"X: %d\\r\\n" % number,
                  received=number * 1.5, length=number)
    memory.put(key, (one, body), footprint(one, body) + 64, moment=memory.moment)
    for back in (number, number, max(0, number - rnd.randrange(20))):
        memory.get(b"https://www.example.com/noticia/artigo-%d.ghtml" % back)
    if number % 100 == 0:
        worst = max(worst, resident_bytes() - before)
print(worst / size)
"""


def drift(how: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", DRIFT, how], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_traffic_that_turns_from_tiny_to_large_keeps_to_the_size() -> None:
    assert drift("counted") < 1.3
