# SPDX-License-Identifier: Apache-2.0
"""What a tier does, whichever store it is on: one suite, every store, on real servers."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from contract.sites import Site, in_loop, page, until, whole

from strangler.cache import record
from strangler.cache.stored import Stored
from strangler.cache.tiers import BodyLost, Mark, Memory, Purge, Tier
from strangler.cache.tiers.envelope import Envelope, pack, unpack
from strangler.cache.tiers.ladder import Ladder
from strangler.cache.tiers.store import VARIANTS
from strangler.cache.tiers.tier import Copy

BODY = b"0123456789"
HOST = b"http://www.example.com"


async def put(tier: Tier, one: Stored, body: bytes = BODY, stay: float = 60.0) -> None:
    assert await tier.put(one, body, stay=stay, moment=tier.moment)


# Keeping.


@pytest.mark.parametrize("size", [0, 10, 65_536, 65_537, 3_000_000])
@in_loop
async def test_what_is_put_comes_back(site: Site, size: int) -> None:
    one, other = await site.worker(), await site.worker()
    body = os.urandom(size)
    before = time.time()
    kept = page(length=size, tags=(b"a", b""))
    await put(one, kept, body)
    (copy,) = await other.get(kept.key)
    assert copy.stored == kept
    assert await whole(other, copy) == body
    assert before <= copy.entered <= time.time()
    assert (copy.body is None) == (size > other.store.slice_size)
    assert await other.get(kept.key + b"x") == []


@in_loop
async def test_a_key_may_hold_anything_and_be_long(site: Site) -> None:
    tier = await site.worker()
    odd = page(b"/%00%ff{x}$a.b?q=%0a")
    one, other = page(b"/" + b"x" * 9000 + b"1"), page(b"/" + b"x" * 9000 + b"2")
    for kept in (odd, one, other):
        await put(tier, kept)
    for kept in (odd, one, other):
        assert [copy.stored for copy in await tier.get(kept.key)] == [kept]


@in_loop
async def test_variants_stand_side_by_side(site: Site) -> None:
    tier = await site.worker()
    pages = [page(vary=b"1"), page(vary=b"2"), page(vary=b"x" * 5000)]
    for number, kept in enumerate(pages):
        await put(tier, kept, b"%010d" % number)
    found = {copy.stored.selecting: copy for copy in await tier.get(pages[0].key)}
    assert [found[kept.selecting].stored for kept in pages] == pages
    assert found[pages[2].selecting].body == b"0000000002"
    await put(tier, pages[1], b"a new body")
    found = {copy.stored.selecting: copy for copy in await tier.get(pages[0].key)}
    assert len(found) == 3
    assert found[pages[1].selecting].body == b"a new body"
    await tier.delete(pages[1])
    assert {copy.stored.selecting for copy in await tier.get(pages[0].key)} == {
        pages[0].selecting,
        pages[2].selecting,
    }


@in_loop
async def test_variants_of_one_key_are_bounded(site: Site) -> None:
    tier = await site.worker()
    for number in range(VARIANTS + 10):
        await put(tier, page(vary=b"%d" % number))
    assert VARIANTS - 5 <= len(await tier.get(page().key)) <= VARIANTS


@in_loop
async def test_lives_end_actively(site: Site) -> None:
    tier = await site.worker()
    await put(tier, page(b"/short", vary=b"1"), stay=600.0)
    await put(tier, page(b"/long"), stay=600.0)
    found, late = 0, True
    while late:  # a busy machine may need longer than it lives
        began = time.monotonic()
        await put(tier, page(b"/short"), stay=0.4)
        found = len(await tier.get(page(b"/short").key))
        late = time.monotonic() - began >= 0.4
    assert found == 2
    await asyncio.sleep(0.5)
    assert [c.stored.selecting != () for c in await tier.get(page(b"/short").key)] == [True]
    assert len(await tier.get(page(b"/long").key)) == 1

    gone = page(b"/gone")
    await put(tier, gone, stay=0.2)

    async def rows() -> bool:
        await tier.store.upkeep()
        return not (await tier.store.read(gone.key)).rows

    await until(rows)


@in_loop
async def test_many_at_once(site: Site) -> None:
    tier = await site.worker(deadline=20.0)
    pages = [page(b"/%d" % n) for n in range(300)]
    for at in range(0, 300, 50):
        some = enumerate(pages[at : at + 50], at)
        await asyncio.gather(*[put(tier, kept, b"%010d" % n) for n, kept in some])
    found = await asyncio.gather(*[tier.get(kept.key) for kept in pages])
    assert [[copy.body for copy in copies] for copies in found] == [
        [b"%010d" % n] for n in range(300)
    ]


@in_loop
async def test_a_body_may_come_in_pieces(site: Site) -> None:
    tier = await site.worker()
    body = os.urandom(700_001)
    upload = tier.upload(stay=60.0)
    for at in range(0, len(body), 10_007):
        assert await upload.add(body[at : at + 10_007])
    moment = tier.moment
    assert await upload.finish(page(length=len(body)), moment=moment)
    (copy,) = await tier.get(page().key)
    assert await whole(tier, copy) == body

    small = tier.upload(stay=60.0)
    await small.add(BODY)
    assert await small.finish(page(b"/small"), moment=moment)
    assert [copy.body for copy in await tier.get(page(b"/small").key)] == [BODY]

    dropped = tier.upload(stay=60.0)
    await dropped.add(os.urandom(3_000_000))
    await dropped.abandon()
    assert not await dropped.finish(page(b"/dropped"), moment=moment)
    assert await tier.store.read_slice(dropped._blob, 0) is None
    assert await tier.get(page(b"/dropped").key) == []


@in_loop
async def test_a_lost_or_spoilt_slice_is_never_delivered(site: Site) -> None:
    tier = await site.worker()
    size = tier.store.slice_size * 3
    await put(tier, page(length=size), os.urandom(size))
    (copy,) = await tier.get(page().key)
    got = []
    await tier.store.remove_slices(copy.blob, copy.slices)
    with pytest.raises(BodyLost):
        got += [piece async for piece in tier.body(copy)]
    for number, data in enumerate([b"", b"1234", b"1234 of another body"]):
        await tier.store.write_slice(77 + number, 0, data, 60.0)
        with pytest.raises(BodyLost):
            got += [piece async for piece in tier.body(copy._replace(blob=77 + number))]
    assert got == []


@in_loop
async def test_what_cannot_be_read_is_dropped_and_deleted(site: Site) -> None:
    """Poisoned, cut, of another key, of a later release: absent, and gone at once."""
    tier = await site.worker()
    one = page()
    now = time.time()
    good = pack(Envelope(tier.moment, now, now + 60, 0, 0, record.dump(one, BODY)))
    other = record.dump(page(b"/other"), BODY)
    bad = [
        b"",
        b"poison",
        good[:-1],
        good[:20],
        b"\x02" + good[1:],
        good[:3] + b"\xff" + good[4:],
        pack(Envelope(tier.moment, now, now + 60, 0, 0, other)),
        pack(Envelope(tier.moment, now, now + 60, 0, 0, b"SGLR\x63" + other[5:])),
    ]
    for number, data in enumerate(bad):
        await tier.store.write(one.key, b"%d" % number, data, 60.0)
    await tier.store.write(one.key, b"good", good, 60.0)
    assert [copy.stored for copy in await tier.get(one.key)] == [one]

    async def deleted() -> bool:
        return len((await tier.store.read(one.key)).rows) == 1

    await until(deleted)
    assert tier.up


# Purging.

PURGES = [
    (Purge.tags(b"t1"), {b"/noticia/a?x", b"/noticia/b"}),
    (Purge.tags(b"none", b"t3"), {b"/c"}),
    (Purge.routes(b"/c"), {b"/c"}),
    (Purge.urls(HOST + b"/noticia/b"), {b"/noticia/b"}),
    (Purge.prefixes(HOST + b"/noticia/"), {b"/noticia/a?x", b"/noticia/b"}),
    (Purge.prefixes(HOST + b"/noticia/a", HOST + b"/c"), {b"/noticia/a?x", b"/c"}),
    (Purge.everything(), {b"/noticia/a?x", b"/noticia/b", b"/c"}),
    (Purge.tags(b""), set()),
]


def pages() -> list[Stored]:
    return [
        page(b"/noticia/a?x", tags=(b"t1", b"t2"), route=b"/noticia/{slug}"),
        page(b"/noticia/a?x", vary=b"1", tags=(b"t1", b"t2"), route=b"/noticia/{slug}"),
        page(b"/noticia/b", tags=(b"t1",), route=b"/noticia/{slug}"),
        page(b"/c", tags=(b"t2", b"t3"), route=b"/c"),
    ]


def replace_host(one: Stored) -> Stored:
    from dataclasses import replace

    return replace(
        one, key=HOST + one.key.partition(b"//")[2][one.key.partition(b"//")[2].index(b"/") :]
    )


@pytest.mark.parametrize("number", range(len(PURGES)))
@in_loop
async def test_a_purge_is_seen_by_the_next_get_of_any_worker(site: Site, number: int) -> None:
    purge, gone = PURGES[number]
    one, other = await site.worker(), await site.worker(poll=60.0)
    kept = [replace_host(each) for each in pages()]
    for each in kept:
        await put(one, each)
        assert await other.get(each.key)
    assert await one.purge(purge)
    for tier in (other, one, await site.worker()):
        for each in kept:
            found = await tier.get(each.key)
            assert (not found) == (each.key.removeprefix(HOST) in gone), (each.key, found)
    # What is fetched afterwards stays.
    for each in kept:
        await put(one, each)
        assert await other.get(each.key)


@in_loop
async def test_a_purge_while_a_fetch_is_under_way_keeps_the_old_answer_out(site: Site) -> None:
    one, other = await site.worker(), await site.worker(poll=60.0)
    kept = page(tags=(b"t1",))
    began = one.moment, other.moment
    await one.purge(Purge.tags(b"t1"))
    # The worker who has heard of the purge knows; the other learns when it asks.
    assert not await one.put(kept, BODY, stay=60.0, moment=began[0])
    await other.put(kept, BODY, stay=60.0, moment=began[1])
    assert await one.get(kept.key) == []
    assert await other.get(kept.key) == []
    assert await one.put(kept, BODY, stay=60.0, moment=one.moment)
    assert len(await other.get(kept.key)) == 1


@in_loop
async def test_a_large_body_purged_on_its_way_is_not_kept(site: Site) -> None:
    tier = await site.worker()
    moment = tier.moment
    upload = tier.upload(stay=60.0)
    await upload.add(os.urandom(3_000_000))
    await tier.purge(Purge.everything())
    assert not await upload.finish(page(length=3_000_000), moment=moment)
    assert await tier.store.read_slice(upload._blob, 0) is None


@in_loop
async def test_a_soft_purge_makes_stale(site: Site) -> None:
    one, other = await site.worker(), await site.worker()
    kept = page(tags=(b"t1",))
    await put(one, kept)
    await one.purge(Purge.tags(b"t1", soft=True))
    for tier in (one, other, await site.worker()):
        (copy,) = await tier.get(kept.key)
        age = copy.stored.age(time.time())
        assert copy.stored.lifetime <= age
        # Its grace begins with the purge, not before.
        assert copy.stored.lifetime - age > -5.0
        assert copy.stored.while_revalidate == 30.0
        assert copy.body == BODY
    await put(one, kept)
    (copy,) = await other.get(kept.key)
    assert copy.stored == kept
    await one.purge(Purge.tags(b"t1", soft=True))
    await one.purge(Purge.tags(b"t1"))
    assert await other.get(kept.key) == []


@in_loop
async def test_edge_tiers_hear_of_a_purge_within_a_second(site: Site) -> None:
    one = await site.worker()
    edges = []
    for _ in range(3):
        edge = Memory[bytes](1 << 20)
        Ladder(edge, await site.worker(poll=0.2))
        edge.put(b"k", BODY, 100, moment=edge.moment, tags=(b"t1",))
        edge.put(b"other", BODY, 100, moment=edge.moment, tags=(b"t2",))
        edges.append(edge)
    began = time.monotonic()
    await one.purge(Purge.tags(b"t1"))
    await until(lambda: not any(edge.get(b"k") for edge in edges))
    assert time.monotonic() - began < 5.0
    assert all(edge.get(b"other") == (BODY,) for edge in edges)


@in_loop
async def test_a_hundred_thousand_with_one_tag_go_in_under_a_second(site: Site) -> None:
    """Written as they lie in the store; how many there are is nothing that a purge looks at."""
    count = 100_000 if site.kind in ("sqlite", "redis") else 2_000
    one, other = await site.worker(deadline=30.0), await site.worker(deadline=30.0)
    kept = page(b"/0000000", tags=(b"editoria:mundo",), length=0)
    now = time.time()
    template = record.dump(kept, b"")
    written = 0

    async def write() -> None:
        nonlocal written
        while written < count:
            written += 1
            key = kept.key.replace(b"0000000", b"%07d" % written)
            # A record's checks make each a record of its own only for those that are read below.
            some = written % (count // 50) == 0 or written == 1
            data = record.dump(_at(kept, key), b"") if some else template
            await one.store.write(
                key, b"", pack(Envelope(one.moment, now, now + 600, 0, 0, data)), 600
            )

    await asyncio.gather(*[write() for _ in range(64)])
    keys = [kept.key.replace(b"0000000", b"%07d" % n) for n in range(1, count + 1)]
    some = [key for n, key in enumerate(keys, 1) if n % (count // 50) == 0 or n == 1]
    assert all([await other.get(key) for key in some])
    began = time.monotonic()
    await one.purge(Purge.tags(b"editoria:mundo"))
    found = await asyncio.gather(*[tier.get(key) for key in some for tier in (one, other)])
    assert time.monotonic() - began < 5.0
    assert not any(found)


def _at(one: Stored, key: bytes) -> Stored:
    from dataclasses import replace

    return replace(one, key=key)


@in_loop
async def test_purges_at_once_by_many_are_all_heard_by_all(site: Site) -> None:
    tiers = [await site.worker() for _ in range(4)]
    kept = [page(b"/%d" % n, tags=(b"t%d" % n,)) for n in range(40)]
    for each in kept:
        await put(tiers[0], each)
    purges = [tiers[n % 4].purge(Purge.tags(b"t%d" % n)) for n in range(40)]
    assert all(await asyncio.gather(*purges))
    for tier in (*tiers, await site.worker()):
        for each in kept:
            assert await tier.get(each.key) == []
    assert len({tier.moment for tier in tiers}) == 1


@in_loop
async def test_the_log_is_bounded_and_forgetting_brings_nothing_back(site: Site) -> None:
    tier = await site.worker()
    tier.store._most = 64  # type: ignore[attr-defined]
    if site.kind == "memory":
        tier.store._marks._most = 64  # type: ignore[attr-defined]
    purged, never = page(b"/1", tags=(b"t-1",)), page(b"/2")
    await put(tier, purged)
    await put(tier, never)
    await tier.purge(Purge.tags(b"t-1"))
    for number in range(200):
        assert await tier.purge(Purge.tags(b"t%d" % number))
    await tier.store.upkeep()
    late = await site.worker()
    assert len(late.marks) <= 64
    assert late.marks.floor > 0
    # It is older than what the log remembers: nobody can tell, so it is gone.
    assert await late.get(purged.key) == []
    assert await late.get(never.key) == []
    await put(late, never)
    assert await late.get(never.key)


@in_loop
async def test_a_log_that_has_lost_its_end_gets_it_back(site: Site) -> None:
    """A failover may lose the last purges; whoever has heard of them writes them again."""
    tier = await site.worker(poll=60.0)
    kept = page(tags=(b"t1",))
    await put(tier, kept)
    # As if a purge had been written to a primary that is gone with it.
    lost = Mark(tier.moment + 60_000_000, b"t:t1", False)
    tier.marks.add(lost.label, lost.seq)
    assert await tier.get(kept.key) == []

    async def restored() -> bool:
        return await tier.store.last() == lost.seq

    await until(restored)
    other = await site.worker()
    assert await other.get(kept.key) == []
    assert other.moment >= lost.seq
    await other.purge(Purge.tags(b"t2"))
    assert other.moment > lost.seq


# Leases.


@in_loop
async def test_one_of_many_gets_the_lease(site: Site) -> None:
    tiers = [await site.worker() for _ in range(4)]
    leases = await asyncio.gather(*[tiers[n % 4].lease(b"k", 10.0) for n in range(20)])
    (lease,) = [lease for lease in leases if lease]
    assert leases.count(None) == 19
    assert await tiers[0].lease(b"other", 10.0)
    waiting = [asyncio.create_task(tier.wait(b"k", 20.0)) for tier in tiers]
    tiers[1].release(b"k", b"not the token")
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in waiting)
    owner = tiers[leases.index(lease) % 4]
    await put(owner, page())
    owner.release(b"k", lease.token)
    began = time.monotonic()
    assert all(await asyncio.gather(*waiting))
    assert time.monotonic() - began < 5.0
    assert await tiers[3].lease(b"k", 10.0)


@in_loop
async def test_a_lease_ends_by_itself(site: Site) -> None:
    one, other = await site.worker(), await site.worker()
    while True:
        began = time.monotonic()
        old = await one.lease(b"k", 0.3)
        assert old is not None
        second = await other.lease(b"k", 10.0)
        free = await other.wait(b"k", 0.05)
        if time.monotonic() - began < 0.3:
            break
        # A busy machine has taken so long that it had ended; once more.
        if second is not None:
            other.release(b"k", second.token)
        await until(lambda: ended(one, b"k"))
    assert second is None
    assert not free
    assert await other.wait(b"k", 10.0)
    assert await other.lease(b"k", 10.0)
    # The old owner can't end the new one's.
    one.release(b"k", old.token)
    await asyncio.sleep(0.1)
    assert await one.lease(b"k", 10.0) is None


@in_loop
async def test_whoever_gets_a_lease_hears_whether_something_is_kept_by_now(site: Site) -> None:
    tells = site.kind != "mongodb"  # there it would be a question of its own
    one, other = await site.worker(), await site.worker()
    kept = page()
    for there in (False, True):
        lease = await other.lease(kept.key, 10.0)
        assert lease is not None
        assert lease.kept is (there and tells)
        other.release(kept.key, lease.token)
        await put(one, kept)
        await until(lambda: ended(one, kept.key))


@in_loop
async def test_what_the_taker_of_a_lease_has_seen_does_not_count_as_kept(site: Site) -> None:
    tells = site.kind != "mongodb"
    one, other = await site.worker(), await site.worker()
    kept = page(vary=b"x" * 5000)
    await put(one, kept)
    (old,) = await other.get(kept.key)
    assert await leased(other, old) is False
    await put(one, page(vary=b"1"))
    assert await leased(other, old) is False
    await put(one, kept)
    assert await leased(other, old) is tells
    new = next(c for c in await other.get(kept.key) if c.stored.selecting == kept.selecting)
    assert await leased(other, new) is False
    await one.delete(kept)
    assert await leased(other, new) is tells


async def leased(tier: Tier, seen: Copy) -> bool:
    """Tell what the lease says of what is kept, by whoever has *seen* that copy."""
    lease = await tier.lease(seen.stored.key, 10.0, seen)
    assert lease is not None
    tier.release(seen.stored.key, lease.token)
    await until(lambda: ended(tier, seen.stored.key))
    return lease.kept


async def ended(tier: Tier, key: bytes) -> bool:
    """Tell whether nobody has the lease of *key*."""
    return not await tier.store.taken(key)


@in_loop
async def test_envelopes_say_when_what_they_hold_ends(site: Site) -> None:
    tier = await site.worker()
    before = time.time()
    await put(tier, page(), stay=50.0)
    after = time.time()
    ((_, data),) = (await tier.store.read(page().key)).rows
    envelope = unpack(data)
    assert envelope is not None
    assert before + 49.0 < envelope.until < after + 50.1
    assert envelope.moment == tier.moment
