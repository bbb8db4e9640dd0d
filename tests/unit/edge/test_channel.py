# SPDX-License-Identifier: Apache-2.0
"""The channel: messages whole and in order, never blocking, outliving either end's process."""

from __future__ import annotations

import asyncio
import os
import secrets

import pytest

from strangler.edge.channel import MOST_BYTES, pair


@pytest.fixture
def ends():
    one, other = pair()
    yield one, other
    one.close()
    other.close()


def test_messages_keep_their_bounds_and_order(ends):
    one, other = ends
    for number in range(3):
        assert one.send({"kind": "ping", "seq": number})
    assert [m["seq"] for m in other.receive()] == [0, 1, 2]
    assert other.receive() == []
    assert not other.closed


def test_a_full_queue_refuses_instead_of_blocking(ends):
    one, other = ends
    sent = 0
    while one.send({"kind": "x" * 1000}):
        sent += 1
        assert sent < 100_000
    assert not one.closed
    assert len(other.receive()) == sent
    assert one.send({"kind": "again"})


def test_a_message_over_the_limit_is_refused(ends):
    one, _ = ends
    with pytest.raises(ValueError, match="bytes"):
        one.send({"kind": secrets.token_hex(2 * MOST_BYTES)})


def test_what_is_no_json_object_is_passed_over(ends):
    one, other = ends
    one.sock.send(b"{broken")
    one.sock.send(b"[1]")
    one.send({"kind": "good"})
    assert other.receive() == [{"kind": "good"}]


def test_a_gone_peer_is_noticed(ends):
    one, other = ends
    other.close()
    assert not one.send({"kind": "ping"})
    assert one.closed
    assert one.receive() == []


def test_a_pair_outlives_the_process_at_one_end(ends):
    one, other = ends
    pid = os.fork()
    if pid == 0:
        other.send({"kind": "status", "pid": os.getpid()})
        os._exit(0)
    os.waitpid(pid, 0)
    assert one.receive() == [{"kind": "status", "pid": pid}]
    one.send({"kind": "state"})
    assert not one.closed
    assert other.receive() == [{"kind": "state"}]  # as its replacement will read it


def test_attached_it_calls_back_and_tells_of_the_end(ends):
    one, other = ends
    got: list[object] = []

    async def run() -> None:
        closed = asyncio.Event()
        other.attach(got.append, closed.set)
        one.send({"kind": "a"})
        one.send({"kind": "b"})
        one.close()
        await asyncio.wait_for(closed.wait(), 60)

    asyncio.run(run())
    assert got == [{"kind": "a"}, {"kind": "b"}]


def test_a_long_message_that_repeats_itself_arrives_whole(ends):
    one, other = ends
    upstreams = {
        f"service-{n}": {"inflight": 0, "breaker": {"word": "closed"}} for n in range(4000)
    }
    assert one.send({"kind": "status", "upstreams": upstreams})
    assert one.send({"kind": "next"})
    assert other.receive() == [{"kind": "status", "upstreams": upstreams}, {"kind": "next"}]
