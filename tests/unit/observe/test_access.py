# SPDX-License-Identifier: Apache-2.0
"""The access log: what a line says, that it stays one line, and that it never costs a reader."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import threading
import time
import timeit
from typing import NamedTuple

import pytest

from strangler.observe import lines
from strangler.observe.access import AccessLog, AccessRecord, access
from strangler.observe.lines import as_json, as_text, stamp
from strangler.observe.writer import Writer

RECORD = AccessRecord(
    time=1795447633.0625,
    client="192.0.2.7",
    id="5aa4ae878cba00000001",
    method=b"GET",
    host=b"www.example.com",
    target=b"/noticia/x.ghtml?page=2",
    status=200,
    sent=10240,
    received=0,
    duration=0.0123,
    first_byte=0.012,
    route="/noticia/{slug}.ghtml",
    target_name="materia",
    reason="canary",
    endpoint="127.0.0.1:8101",
    attempts=1,
    cache="hit",
    error="",
    retry="",
)


def test_text_says_it_for_people():
    assert as_text(RECORD) == (
        "2026-11-23T15:27:13.062Z 200 GET www.example.com/noticia/x.ghtml?page=2 10240B 12.3ms "
        "materia (canary) route=/noticia/{slug}.ghtml client=192.0.2.7 first=12.0ms "
        "from=127.0.0.1:8101 cache=hit id=5aa4ae878cba00000001\n"
    )


MOMENT = 1795447633.0625
FORMS = {"text": as_text, "json": as_json}


class Copy(NamedTuple):
    status: int
    length: int


COPY = Copy(200, 10240)


def repeated(target: bytes = b'/x"?y=\\&z= ') -> lines.Repeated:
    return lines.Repeated(b"a.example", target, "/{x}", "materia", "live")


def add(hits: lines.Hits, moment: float, client: str, same: lines.Repeated, copy: Copy) -> None:
    if moment >= hits.until:
        hits.tell_time(moment)
    hits.parts += (hits.time, hits.said(same, copy), client)


def taken(hits: lines.Hits, batch: list[tuple]) -> str:
    for hit in batch:
        add(hits, *hit)
    assert len(hits) == len(batch)
    return "".join(hits.take())


def ids_of(text: str) -> list[str]:
    return re.findall(r'\bid(?:=|":")(\w+)', text)


def agree(form: str, batch: list[tuple], text: str) -> None:
    """Check that *text* is what the records of *batch* would say, with ids that follow."""
    ids = ids_of(text)
    first = int(ids[0][12:], 16)
    assert [id_[12:] for id_ in ids] == [f"{first + n:08x}" for n in range(len(batch))]
    records = [
        same.record(moment, client, copy, id_)
        for (moment, client, same, copy), id_ in zip(batch, ids, strict=True)
    ]
    assert text == "".join(map(FORMS[form], records))


@pytest.mark.parametrize("form", FORMS)
def test_hits_say_what_their_records_would(form):
    one, other = repeated(), repeated(b"/")
    batch = [
        (MOMENT, "192.0.2.7", one, COPY),
        (MOMENT, "192.0.2.8", other, COPY),
        (MOMENT + 0.0001, "2001:db8::7", one, COPY),
        (MOMENT + 1.4, "192.0.2.7", one, Copy(404, 0)),
        (MOMENT + 1.4, "unix", one, Copy(404, 10)),
    ]
    hits = lines.Hits(form)
    later = [(MOMENT + 1.4, *hit[1:]) for hit in batch] * 2000  # past the end of a block of ids
    for some in (batch, batch[:1], later, batch):
        agree(form, some, taken(hits, some))
    assert not hits and hits.take() == []
    hits._number = (1 << 32) - 2
    agree(form, batch, taken(hits, batch))


@pytest.mark.parametrize("form", FORMS)
def test_hits_at_the_edges_of_a_millisecond_have_the_stamp_of_a_record(form):
    same = repeated()
    moments = sorted(
        math.nextafter(whole + thousandth / 1000, toward)
        for whole in (1795447633, 1795447999)
        for thousandth in range(1001)
        for toward in (0.0, math.inf, whole + thousandth / 1000)
    )
    batch = [(moment, "192.0.2.7", same, COPY) for moment in moments]
    agree(form, batch, taken(lines.Hits(form), batch))


def test_every_hit_has_an_id_of_its_own():
    batch = [(MOMENT, "192.0.2.7", repeated(), COPY)] * 5000
    one, other = lines.Hits("text"), lines.Hits("text")
    ids = ids_of(taken(one, batch))
    ids += [one.new_id() for _ in range(5000)]
    ids += ids_of(taken(one, batch)) + ids_of(taken(other, batch))
    assert len(set(ids)) == len(ids) == 20_000
    assert {len(id_) for id_ in ids} == {20}


@pytest.mark.parametrize("form", FORMS)
def test_hits_and_records_stand_in_their_order(form, tmp_path):
    file = tmp_path / "access.log"
    log = AccessLog(form, Writer(str(file)))
    heard = []
    same = repeated()

    def log_all(*kinds: str) -> None:
        for kind in kinds:
            if kind == "record":
                log.append(RECORD)
            elif log.hits is not None:
                add(log.hits, MOMENT, "192.0.2.7", same, COPY)
            else:
                log.hit(MOMENT, "192.0.2.7", same, COPY)
        log.flush()

    order = ["hit", "record", "hit", "hit", "record", "record", "hit"]
    log_all(*order)
    log_all("record")
    log.listen(heard.extend)
    log_all(*order)
    log.listen(None)
    log_all(*order)
    log.close()
    ids = ids_of(file.read_text())
    kinds = ["record" if id_ == RECORD.id else "hit" for id_ in ids]
    assert kinds == [*order, "record", *order, *order]
    assert [record[2] for record in heard] == ids[8:15]  # who listens hears of the same ids
    assert [len(record) for record in heard] == [len(RECORD)] * 7
    assert len(set(ids)) == 3 * 4 + 1


def test_text_of_a_failure_names_it():
    line = as_text(RECORD._replace(status=502, error="connection_refused", attempts=2, cache=""))
    assert " 502 " in line
    assert " attempts=2 " in line
    assert " error=connection_refused " in line
    assert " --- " in as_text(RECORD._replace(status=0))


def test_json_has_every_field():
    told = json.loads(as_json(RECORD))
    assert told == {
        "time": "2026-11-23T15:27:13.062Z",
        "client": "192.0.2.7",
        "id": "5aa4ae878cba00000001",
        "method": "GET",
        "host": "www.example.com",
        "path": "/noticia/x.ghtml?page=2",
        "status": 200,
        "sent": 10240,
        "received": 0,
        "duration_ms": 12.3,
        "first_byte_ms": 12.0,
        "route": "/noticia/{slug}.ghtml",
        "target": "materia",
        "reason": "canary",
        "endpoint": "127.0.0.1:8101",
        "attempts": 1,
        "cache": "hit",
        "error": "",
        "retry": "",
    }


@pytest.mark.parametrize("form", [as_text, as_json])
def test_no_input_breaks_out_of_its_line_or_its_field(form):
    nasty = bytes(range(256))
    text = 'a b"\r\n\x1b[31m\\é\u2028\U0001f600'
    record = RECORD._replace(
        method=nasty, host=nasty, target=nasty, client=text, id=text, route=text, endpoint=text,
        cache=text, error=text,
    )  # fmt: skip
    line = form(record)
    assert line.endswith("\n")
    assert line.isascii()
    assert line[:-1].isprintable()
    if form is as_json:
        told = json.loads(line)
        assert told["path"].encode("latin-1") == nasty
        assert told["route"] == text
    else:
        assert "\\x0a" in line and "\\x20" in line and "\\xff" in line


def test_durations_are_rounded_to_tenths_of_a_millisecond_whatever_their_length():
    for seconds in (0.0, 0.00004, 0.00006, 0.0123, 0.49989, 0.4999, 0.5, 12.34567, 86400.0):
        line = as_text(RECORD._replace(duration=seconds))
        assert f" {seconds * 1000:.1f}ms " in line, seconds


def test_strangers_hosts_do_not_fill_the_memory():
    for number in range(20_000):
        as_text(RECORD._replace(host=b"host-%d" % number, client=f"c{number}"))
    as_text(RECORD._replace(host=b"h" * 500))
    assert len(lines._printed) <= 4096 and len(lines._words) <= 4096
    assert b"h" * 500 not in lines._printed


def test_stamps_follow_the_clock_both_ways():
    assert stamp(0.0) == "1970-01-01T00:00:00.000Z"
    assert stamp(86399.9996) == "1970-01-01T23:59:59.999Z"
    assert stamp(1.5) == "1970-01-01T00:00:01.500Z"


def test_a_record_costs_the_hot_path_no_formatting():
    log = AccessLog("text", Writer("/dev/null"))
    append, record = log.append, tuple(RECORD)
    best = min(timeit.repeat(lambda: append(record), number=20_000, repeat=5)) / 20_000
    assert best < 2e-6
    off = AccessLog("off")
    off.append(record)
    off.hit(MOMENT, "::1", repeated(), COPY)
    assert off.hits is None
    assert off.dropped == 0


def read(path) -> list[str]:
    return path.read_text().splitlines()


async def until(true) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


def test_lines_arrive_while_running_and_at_the_end(tmp_path):
    path = tmp_path / "access.log"

    async def run() -> None:
        log = AccessLog("json", Writer(str(path)))
        log.start()
        log.append(RECORD)
        await until(lambda: len(read(path)) == 1)
        for _ in range(1000):
            log.append(RECORD)
        log.close()
        assert len(read(path)) == 1001

    asyncio.run(run())


def test_a_handler_of_yours_gets_the_lines_too(caplog):
    async def run() -> None:
        log = AccessLog("text", Writer("/dev/null"))
        log.append(RECORD)
        log.flush()
        log.close()

    access.addHandler(caplog.handler)
    try:
        asyncio.run(run())
    finally:
        access.removeHandler(caplog.handler)
    assert caplog.messages == [as_text(RECORD)[:-1]]


def test_rotation_opens_the_path_anew_and_loses_nothing(tmp_path):
    path = tmp_path / "access.log"

    async def run() -> None:
        log = AccessLog("text", Writer(str(path)))
        log.start()
        log.append(RECORD)
        await until(lambda: len(read(path)) == 1)
        path.rename(tmp_path / "access.log.1")
        log.append(RECORD)
        log.reopen()
        await until(path.exists)
        log.append(RECORD)
        log.close()

    asyncio.run(run())
    assert len(read(path)) + len(read(tmp_path / "access.log.1")) == 3


@pytest.mark.sources
def test_a_malformed_record_costs_nobody_else(tmp_path):
    path = tmp_path / "access.log"

    async def run() -> None:
        log = AccessLog("text", Writer(str(path)))
        log.start()
        log.append(RECORD)
        log.append((1, 2, 3))  # type: ignore[arg-type]
        log.append(RECORD)
        log.close()

    asyncio.run(run())
    lines = read(path)
    assert len(lines) == 3
    assert "access.malformed" in lines[1]


def test_a_pipe_that_nobody_reads_drops_and_counts_and_says_so():
    r, w = os.pipe()
    told: list[tuple[int, str]] = []
    writer = Writer(f"/proc/self/fd/{w}", most_bytes=100_000, on_trouble=lambda *t: told.append(t))

    async def run() -> None:
        log = AccessLog("text", writer)
        log.start()
        for _ in range(50):
            for _ in range(1000):
                log.append(RECORD)
            began = time.perf_counter()
            log.flush()
            assert time.perf_counter() - began < 5  # the loop never waits for the reader
        assert log.dropped > 40_000
        assert not log._records
        # Somebody reads again: what was kept comes out, whole lines only.
        lines: list[bytes] = []

        def slurp() -> None:
            with os.fdopen(r, "rb") as stream:
                lines.extend(stream)

        reader = threading.Thread(target=slurp)
        reader.start()
        await until(lambda: told)
        log.close()
        os.close(w)
        reader.join(5)
        assert 0 < len(lines) < 10_000
        assert set(lines) == {as_text(RECORD).encode()}

    asyncio.run(run())
    assert told == [(told[0][0], "too slow")]


def test_a_full_disk_is_counted_and_said(tmp_path):
    told: list[tuple[int, str]] = []
    writer = Writer("/dev/full", on_trouble=lambda *t: told.append(t))

    async def run() -> None:
        log = AccessLog("text", writer)
        log.start()
        for _ in range(10):
            log.append(RECORD)
        log.flush()
        await until(lambda: told)
        log.close()

    asyncio.run(run())
    assert told == [(10, "No space left on device")]
    assert writer.dropped == 10


def test_lines_of_several_processes_in_one_pipe_stay_whole():
    r, w = os.pipe()
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            writer = Writer(f"/proc/self/fd/{w}")
            writer.start()
            line = b"%d" % number * 99 + b"\n"
            for _ in range(40):
                writer.write(line * 100, 100)
            writer.close(10)
            os._exit(0)
        children.append(pid)
    os.close(w)
    with os.fdopen(r, "rb") as stream:
        lines = stream.read().splitlines()
    for pid in children:
        os.waitpid(pid, 0)
    assert len(lines) == 3 * 4000
    assert all(len(line) == 99 and len(set(line)) == 1 for line in lines)
