# SPDX-License-Identifier: Apache-2.0
"""Bad requests are kept byte for byte, but for their secrets, and in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.observe import kept
from strangler.observe.kept import EACH, Bad, Kept, masked
from strangler.observe.masking import mask_body, mask_head, mask_target

HEAD = (
    b"POST /login?next=/a&token=abc123&q=caf%C3%A9 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"Cookie: sessionid=deadbeef; theme=dark\r\n"
    b"Authorization: Bearer eyJhbGciOi.J9.x\r\n"
    b"X-Api-Key:  k-1\r\n"
    b"X-CSRFToken: aaa\r\n"
    b"User-Agent: odd \xff agent\r\n"
    b"Referer: https://www.example.com/?password=p%20w&page=2\r\n"
    b"\r\n"
)
MASKED = (
    b"POST /login?next=/a&token=******&q=caf%C3%A9 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"Cookie: sessionid=********; theme=****\r\n"
    b"Authorization: Bearer ***************\r\n"
    b"X-Api-Key:  ***\r\n"
    b"X-CSRFToken: ***\r\n"
    b"User-Agent: odd \xff agent\r\n"
    b"Referer: https://www.example.com/?password=*****&page=2\r\n"
    b"\r\n"
)


def test_a_head_keeps_every_byte_in_its_place() -> None:
    assert mask_head(HEAD) == MASKED
    assert len(MASKED) == len(HEAD)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=abc; Path=/\r\n", b"sid=***; Path=/"),
        (b"GET / HTTP/1.1\r\nCookie: bare\r\n", b"Cookie: ****\r\n"),
        (b"GET / HTTP/1.1\r\nAuthorization: abc\r\n folded secret\r\n", b" ****** ******\r\n"),
        (b"GET / HTTP/1.1\nProxy-Authorization: Basic YTpi\n", b"Basic ****\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x?code=1&access_token=zz#f\r\n", b"code=*&access_t"),
        (b"\x16\x03\x01 not HTTP at all", b"\x16\x03\x01 not HTTP at all"),
        (b"GET /?state=1&monkey=2&author=me HTTP/1.1", b"state=*&monkey=2&author=me"),
    ],
)
def test_what_is_a_secret_and_what_is_not(raw: bytes, wanted: bytes) -> None:
    assert wanted in mask_head(raw)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"user=a&password=hunter2&x=1", b"user=a&password=*******&x=1"),
        (b'{"user": "a", "password": "hunt\\"er", "n": 1}', b'"password": "********", "n": 1'),
        (b'{"pin": 1234, "a": [1]}', b'{"pin": ****, "a": [1]}'),
        (b'{"password": "cut off he', b'{"password": "*** *** **'),
        (b"--x\r\nContent-Disposition: form-data", b"***\r\n"),
        (b"plain text", b"plain text"),
    ],
)
def test_bodies(raw: bytes, wanted: bytes) -> None:
    assert wanted in mask_body(raw)
    assert len(mask_body(raw)) == len(raw)


@given(st.binary(max_size=300))
def test_nothing_changes_its_length(raw: bytes) -> None:
    for mask in (mask_head, mask_body, mask_target):
        assert len(mask(raw)) == len(raw)
    assert mask_head(raw).count(b"\n") == raw.count(b"\n")


def bad(number: int, route: str = "/a/**", status: int = 502, size: int = 0) -> Bad:
    return Bad(
        time=float(number), id=str(number), client="192.0.2.1", route=route, target="service",
        reason="live", endpoint="127.0.0.1:1", status=status, error="connection_refused",
        **masked(b"GET / HTTP/1.1\r\n\r\n", b"x" * size, b""),
    )  # fmt: skip


def test_the_last_few_of_a_route_are_kept() -> None:
    shelf = Kept()
    for number in range(10):
        shelf.keep(bad(number))
    shelf.keep(bad(99, "/b"))
    assert [one.id for one in shelf.read("/a/**")] == ["9", "8", "7"]
    assert shelf.read()[0].id == "99"
    assert len(shelf.read()) == EACH + 1


def test_refusals_without_a_route_do_not_push_each_other_out() -> None:
    shelf = Kept()
    for number in range(50):
        shelf.keep(bad(number, "", 404))
    shelf.keep(bad(60, "", 400))
    assert {one.status for one in shelf.read("")} == {400, 404}
    assert len(shelf.read("")) == EACH + 1


def test_of_a_storm_some_are_kept_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Kept()
    now = [100.2]
    monkeypatch.setattr(kept.time, "monotonic", lambda: now[0])
    assert sum(shelf.wants("/a", 502) for _ in range(1000)) == 10
    assert shelf.wants("/b", 502)
    now[0] += 1
    assert sum(shelf.wants("/a", 502) for _ in range(1000)) == 10
    assert shelf.passed == 1980


def test_all_together_stay_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 100_000)
    shelf = Kept()
    for number in range(200):
        shelf.keep(bad(number, f"/{number}", size=4000))
    assert 10 < len(shelf.read()) < 25
    assert shelf.read()[0].id == "199"


def test_a_message_between_processes_is_byte_exact() -> None:
    every = bytes(range(256))
    one = Bad(
        time=1.0, id="1", client="", route="", target="", reason="", endpoint="", status=400,
        error="head: malformed", request=every, body=every, received=999, response=b"",
    )  # fmt: skip
    told = kept.read(one.json())
    assert told["request"].encode("latin-1") == every
    assert told["body"].encode("latin-1") == every
    assert told["received"] == 999
