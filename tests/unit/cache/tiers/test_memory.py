# SPDX-License-Identifier: Apache-2.0
"""The edge tier: what it keeps, what it throws out, and what it really weighs."""

import random
import subprocess
import sys

import pytest
from unit.cache.build import cc, stored

from strangler.cache.tiers import Memory, Purge, footprint

SMALL = 1 << 20


def keep(memory: Memory[bytes], key: bytes, size: int = 1000, **options: object) -> bool:
    value = options.pop("value", b"v" + key)
    options.setdefault("moment", memory.moment)
    return memory.put(key, value, size, **options)  # type: ignore[arg-type]


def test_what_is_put_comes_back_until_it_is_deleted() -> None:
    memory = Memory[bytes](SMALL)
    assert memory.get(b"a") == ()
    assert keep(memory, b"a")
    assert memory.get(b"a") == (b"va",)
    assert keep(memory, b"a", value=b"new")
    assert memory.get(b"a") == (b"new",)
    memory.delete(b"a")
    memory.delete(b"a")
    assert memory.get(b"a") == ()
    assert len(memory) == 0


def test_variants_stand_together_and_are_bounded() -> None:
    memory = Memory[bytes](SMALL)
    for number in range(40):
        value = b"%d" % number
        keep(memory, b"a", value=value, replaces=lambda one, value=value: one == value)
    assert memory.get(b"a") == tuple(b"%d" % number for number in range(8, 40))
    keep(memory, b"a", value=b"20 anew", replaces=lambda one: one == b"20")
    assert memory.get(b"a")[-1] == b"20 anew"
    assert b"20" not in memory.get(b"a")
    keep(memory, b"a", value=b"only")
    assert memory.get(b"a") == (b"only",)


def test_it_keeps_to_its_size_and_counts_right() -> None:
    memory = Memory[bytes](SMALL)
    rnd = random.Random(1)
    for _ in range(20_000):
        key = b"%d" % rnd.randrange(3000)
        choice = rnd.random()
        if choice < 0.6:
            keep(memory, key, rnd.randrange(1, 50_000), tags=(b"t%d" % rnd.randrange(50),))
        elif choice < 0.9:
            memory.get(key)
        elif choice < 0.95:
            memory.delete(key)
        else:
            memory.purge(Purge.tags(b"t%d" % rnd.randrange(50)))
        assert memory.used <= SMALL
    alive = list(memory._entries.values())
    assert memory._bytes == [
        sum(entry.size for entry in alive if entry.place == place) for place in (0, 1)
    ]
    queued = [entry for queue in memory._queues for entry in queue]
    assert sorted(id(e) for e in queued if e.place != 2) == sorted(id(e) for e in alive)
    assert len(queued) - len(alive) == memory._gone <= 64 + len(alive)


def test_what_is_too_large_is_refused_and_takes_the_old_one_with_it() -> None:
    memory = Memory[bytes](SMALL)
    keep(memory, b"a")
    keep(memory, b"b")
    assert not keep(memory, b"a", SMALL // 3)
    assert memory.get(b"a") == ()
    assert memory.get(b"b")


def test_a_walk_through_everything_leaves_what_readers_want() -> None:
    """pains: a crawler must not empty the cache, as it does with LRU."""
    memory = Memory[bytes](SMALL)
    popular = [b"popular %d" % n for n in range(100)]
    for _ in range(3):
        for key in popular:
            if not memory.get(key):
                keep(memory, key, 4000)
    for number in range(20_000):
        keep(memory, b"archive %d" % number, 4000)
        if number % 10 == 0:
            memory.get(popular[number // 10 % 100])
    assert sum(bool(memory.get(key)) for key in popular) >= 95


def test_what_comes_back_soon_stays_longer() -> None:
    memory = Memory[bytes](SMALL)
    for number in range(100):
        keep(memory, b"%d" % number, 10_000)
    back = next(b"%d" % n for n in range(100) if not memory.get(b"%d" % n))
    keep(memory, back, 10_000)
    for number in range(1000, 1050):
        keep(memory, b"%d" % number, 10_000)
    assert memory.get(back)


@pytest.mark.parametrize(
    "purge",
    [
        Purge.tags(b"t"),
        Purge.routes(b"/r"),
        Purge.urls(b"http://h/a"),
        Purge.prefixes(b"http://h/"),
        Purge.everything(),
        Purge.tags(b"t", soft=True),
    ],
)
def test_a_purge_is_seen_by_the_next_get(purge: Purge) -> None:
    memory = Memory[bytes](SMALL)
    moment = memory.moment
    keep(memory, b"http://h/a", tags=(b"t",), route=b"/r")
    keep(memory, b"http://other/", tags=(b"t2",), route=b"/r2")
    memory.purge(purge)
    assert memory.get(b"http://h/a") == ()
    assert bool(memory.get(b"http://other/")) == (purge != Purge.everything())
    # The fetch that was under way is too late.
    assert not keep(memory, b"http://h/a", tags=(b"t",), route=b"/r", moment=moment)
    assert keep(memory, b"http://h/a", tags=(b"t",), route=b"/r")


def test_a_soft_purge_may_leave_a_stale_value() -> None:
    memory = Memory[bytes](SMALL, soften=lambda value: None if value == b"x" else value + b" stale")
    keep(memory, b"a", tags=(b"t",), value=b"x", replaces=lambda one: False)
    keep(memory, b"a", tags=(b"t",), value=b"y", replaces=lambda one: False)
    keep(memory, b"b", tags=(b"t",), value=b"x")
    memory.purge(Purge.tags(b"t", soft=True))
    assert memory.get(b"a") == memory.get(b"a") == (b"y stale",)
    assert memory.get(b"b") == ()
    memory.purge(Purge.tags(b"t"))
    assert memory.get(b"a") == ()


def test_the_oldest_variant_decides_what_a_key_is_purged_by() -> None:
    memory = Memory[bytes](SMALL)
    keep(memory, b"a", tags=(b"one",), value=b"1", replaces=lambda one: False)
    keep(memory, b"a", tags=(b"two",), value=b"2", replaces=lambda one: False)
    memory.purge(Purge.tags(b"one"))
    assert memory.get(b"a") == ()


def test_clearing_gives_everything_back() -> None:
    memory = Memory[bytes](SMALL)
    empty = memory.used
    for number in range(500):
        keep(memory, b"%d" % number)
    moment = memory.moment
    memory.clear()
    assert memory.used <= empty + 4096
    assert len(memory) == 0
    assert not keep(memory, b"a", moment=moment)
    assert keep(memory, b"a")


def test_a_stored_response_weighs_more_than_its_texts() -> None:
    one = stored(cc(b"max-age=60"), (b"Vary", b"Foo"))
    assert footprint(one) > sys.getsizeof(one) + len(one.head) + len(one.key)
    assert footprint(b"x" * 1000) > 1033


WEIGH = """
import os, random, sys, time
sys.path.insert(0, "tests")
from unit.cache.build import cc, stored
from dataclasses import replace
from strangler.cache.tiers import Memory, footprint

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")

size, kind, count = int(sys.argv[1]) << 20, sys.argv[2], int(sys.argv[3])
rnd = random.Random(1)
before, memory, worst = rss(), Memory(size), 0
page = stored(cc(b"max-age=60"))
for number in range(count):
    key = b"https://www.example.com/noticia/artigo-%d.ghtml" % number
    tags = (b"noticia:%d" % number, b"editoria:%d" % (number % 20))
    if kind == "small":
        value = bytes(rnd.randrange(20, 400))
        weight = footprint(value)
    else:  # a prebuilt response and what decisions need, as the exchange holds them
        body = bytes(int(rnd.lognormvariate(8.5, 1.2)))
        one = replace(page, key=key, head=page.head + b"X: %d\\r\\n" % number, tags=tags,
                      received=number * 1.5, length=number)
        value = (one, body)
        weight = footprint(one, body) + 64
    memory.put(key, value, weight, moment=memory.moment, tags=tags, route=b"/noticia")
    if number % 3 == 0:
        back = max(0, number - rnd.randrange(2000))
        memory.get(b"https://www.example.com/noticia/artigo-%d.ghtml" % back)
    if number % 5000 == 0:
        worst = max(worst, rss() - before)
print(len(memory), worst / size)
"""


@pytest.mark.parametrize(
    ("size", "kind", "count"), [("64", "small", "250000"), ("64", "pages", "100000")]
)
def test_more_objects_than_fit_weigh_what_the_budget_says(size: str, kind: str, count: str) -> None:
    command = [sys.executable, "-c", WEIGH, size, kind, count]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    held, share = map(float, done.stdout.split())
    assert held > 2000
    assert 0.6 < share < 1.3, done.stdout
