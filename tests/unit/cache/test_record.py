# SPDX-License-Identifier: Apache-2.0
"""Records: read back, or ignored; never misread."""

import base64
import struct
import zlib
from dataclasses import replace

import pytest
from unit.cache.build import cc, date, request, stored

from strangler.cache import record
from strangler.cache.stored import Stored

BODY = b"0123456789"
RICH = replace(
    stored(
        cc(b"max-age=60, stale-if-error=9, public"),
        (b"ETag", b'"a"'),
        (b"Last-Modified", date(-100)),
        (b"Content-Language", b"pt"),
        (b"Vary", b"Foo, Bar, Baz"),
        to=request((b"Foo", b"1, 2"), (b"Bar", b"")),
    ),
    tags=(b"noticia:a", b"", b"b"),
    route=b"/noticia/{slug}.ghtml",
)
PART = stored(
    cc(b"max-age=60"),
    (b"Content-Range", b"bytes 5-14/*"),
    status=206,
    to=request((b"Range", b"bytes=5-")),
)
PLAIN = stored(cc(b"max-age=60"))
STRICT = stored(cc(b"no-cache"), (b"ETag", b'W/"x"'))


@pytest.mark.parametrize("one", [RICH, PART, PLAIN, STRICT])
def test_records_read_back(one: Stored) -> None:
    assert record.load(record.dump(one), one.key) == (one, None)
    assert record.load(record.dump(one, BODY), one.key) == (one, BODY)


@pytest.mark.parametrize("body", [None, BODY])
def test_truncated_records_are_dropped(body: bytes | None) -> None:
    whole = record.dump(RICH, body)
    for size in range(len(whole)):
        assert record.load(whole[:size], RICH.key) is None, size
    assert record.load(whole + b"x", RICH.key) is None


@pytest.mark.parametrize("body", [None, BODY])
def test_altered_records_are_dropped(body: bytes | None) -> None:
    whole = record.dump(RICH, body)
    for at in range(len(whole)):
        for flip in (0x01, 0x80):
            altered = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
            assert record.load(altered, RICH.key) is None, at


def test_another_keys_record_is_dropped() -> None:
    assert record.load(record.dump(RICH), RICH.key + b"x") is None


@pytest.mark.parametrize("junk", [b"", b"SGLR", b"\x80\x04K\x01.", b"{}", b"SGLR" + bytes(200)])
def test_other_things_are_no_records(junk: bytes) -> None:
    assert record.load(junk, b"") is None


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_releases_record_is_as_if_absent(version: int) -> None:
    whole = record.dump(RICH)
    assert record.load(whole[:4] + bytes([version]) + whole[5:], RICH.key) is None


def test_version_1_means_for_ever_what_it_means_today() -> None:
    """These bytes were written by the first release; every later one reads them so, or not."""
    one = Stored(
        key=b"http://h/a", status=200, head=b"HTTP/1.1 200 OK\r\nA: 1\r\n",
        selecting=((b"foo", b"1"), (b"bar", None)), received=2.0, initial_age=1.0, lifetime=60.0,
        while_revalidate=3.0, if_error=4.0, never_stale=False, no_cache=False, authorized=True,
        etag=b'"e"', date=1.0, modified=-5, language=None, length=2, tags=(b"t",), route=b"/a",
    )  # fmt: skip
    written = base64.b64decode(
        "U0dMUgE0iKmPFADIQAAAAAAAAAA/8AAAAAAAAEBOAAAAAAAAQAgAAAAAAABAEAAAAAAAAD/wAAAA"
        "AAAA//////////sAAAAAAAAAAgAAAAAAAAAAAAAAAAAAAACAAAAAAAAAAHnc3UcAAAAKAAAAFwAA"
        "ABgAAAADAAAAAAAAAAAAAAAFAAAAAmh0dHA6Ly9oL2FIVFRQLzEuMSAyMDAgT0sNCkE6IDENCgAA"
        "AANmb28AAAACPTEAAAADYmFyAAAAACJlIgAAAAF0L2Fvaw=="
    )
    assert record.dump(one, b"ok") == written
    assert record.load(written, b"http://h/a") == (one, b"ok")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\x00\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1",
        b"HTTP/1.1 200 OK\r\n folded: 1\r\n",
        b"HTTP/1.1 404 OK\r\nA: 1\r\n",
        b"HTTP/1.1 101 OK\r\nA: 1\r\n",
        b"GET / HTTP/1.1\r\nA: 1\r\n",
        b"",
    ],
)
def test_a_poisoned_head_is_dropped_though_its_check_be_right(head: bytes) -> None:
    status = 101 if b" 101 " in head else 200
    poisoned = record.dump(replace(PLAIN, head=head, status=status))
    assert record.load(poisoned, PLAIN.key) is None


@pytest.mark.parametrize("texts", [b"\x00", b"\x00\x00\x00\x09a", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("which", [2, 6])
def test_texts_that_say_more_than_they_hold_are_dropped(texts: bytes, which: int) -> None:
    assert record.load(_with_text(which, texts), PLAIN.key) is None


def test_a_selecting_name_without_its_value_is_dropped() -> None:
    assert record.load(_with_text(2, b"\x00\x00\x00\x01a"), PLAIN.key) is None


def _with_text(which: int, text: bytes) -> bytes:
    """Return PLAIN's record with one of its (empty) texts put in anew, its check made right."""
    whole = record.dump(PLAIN)
    sizes_at = 10 + struct.calcsize(">HddddddqQqqqI")
    sizes = list(struct.unpack_from(">8I", whole, sizes_at))
    assert sizes[which] == 0
    at = sizes_at + 32 + sum(sizes[:which])
    sizes[which] = len(text)
    rest = whole[10:sizes_at] + struct.pack(">8I", *sizes)
    rest += whole[sizes_at + 32 : at] + text + whole[at:]
    flags = whole[5]
    return whole[:6] + struct.pack(">I", zlib.crc32(rest, flags)) + rest


@pytest.mark.parametrize("at", [0, 9])
def test_what_was_read_before_is_still_judged(at: int) -> None:
    """Heads that come again aren't read again; their bodies and whose they are, always."""
    whole = record.dump(RICH, BODY)
    assert record.load(whole, RICH.key) == (RICH, BODY)
    assert record.load(whole, RICH.key) == (RICH, BODY)
    assert record.load(whole, b"another key") is None
    assert record.load(whole[:-1], RICH.key) is None
    place = len(whole) - len(BODY) + at
    spoilt = whole[:place] + b"x" + whole[place + 1 :]
    assert record.load(spoilt, RICH.key) is None
    apart = record.dump(RICH)
    assert record.load(apart, RICH.key) == record.load(apart, RICH.key) == (RICH, None)
    assert record.load(apart + b"x", RICH.key) is None
