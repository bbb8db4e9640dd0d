# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

from strangler.rollout import (
    READER_COOKIE,
    By,
    Malformed,
    bucket,
    canary_salt,
    is_reader,
    parse_by,
    shadow_salt,
    sticky,
)
from strangler.wire.head import RequestHead

READER = b"abcdefghijklmnop"


def head(*fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead.build(b"GET", b"/", fields)


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("reader", By()),
        ("address", By("address")),
        ("user", By("user", "sessionid")),
        ("user:JSESSIONID", By("user", "JSESSIONID")),
        ("cookie:ab", By("cookie", "ab")),
        ("header:X-Tenant", By("header", "X-Tenant")),
    ],
)
def test_by(text: str, by: By) -> None:
    assert parse_by(text) == by
    assert parse_by(str(by)) == by


@pytest.mark.parametrize(
    "text", ["", "cookie", "cookie:", "header:a b", "ip", "reader:x", "address:", "user:"]
)
def test_malformed_by(text: str) -> None:
    with pytest.raises(Malformed):
        parse_by(text)


def test_sticky_keys() -> None:
    cookies = b"sessionid=s1; ab=7; " + READER_COOKIE + b"=" + READER
    sent = head((b"Cookie", cookies), (b"X-Tenant", b"acme"))
    assert sticky(parse_by("reader"), sent, b"192.0.2.1") == READER
    assert sticky(parse_by("address"), sent, b"192.0.2.1") == b"192.0.2.1"
    assert sticky(parse_by("user"), sent, b"192.0.2.1") == b"s1"
    assert sticky(parse_by("cookie:ab"), sent, b"192.0.2.1") == b"7"
    assert sticky(parse_by("header:x-TENANT"), sent, b"192.0.2.1") == b"acme"


@pytest.mark.parametrize("by", ["user", "cookie:ab", "header:X-Tenant"])
def test_who_lacks_the_key_goes_by_reader(by: str) -> None:
    cookie = READER_COOKIE + b"=" + READER
    assert sticky(parse_by(by), head((b"Cookie", cookie)), b"") == READER
    assert sticky(parse_by(by), head((b"Cookie", cookie + b"; ab=; sessionid=")), b"") == READER
    assert sticky(parse_by(by), head(), b"") is None


def test_a_made_up_reader_gets_a_new_cookie() -> None:
    for value in (b"", b"short", b"x" * 65, b"a" * 15 + b"\xe9", b'"' + READER + b'"'):
        assert sticky(By(), head((b"Cookie", READER_COOKIE + b"=" + value)), b"") is None
        assert not is_reader(value)


def test_buckets_are_the_same_for_ever() -> None:
    """A release that moves readers would break every canary that runs."""
    assert [bucket(b"%d" % n, canary_salt("checkout")) for n in range(5)] == [
        8341,
        1387,
        9147,
        8359,
        1989,
    ]
    assert bucket(READER, shadow_salt("/busca/**")) == 8947


def test_buckets_are_the_same_in_every_process() -> None:
    code = (
        "from strangler.rollout import bucket, canary_salt\n"
        "print([bucket(b'%d' % n, canary_salt('g')) for n in range(50)])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{[bucket(b'%d' % n, canary_salt('g')) for n in range(50)]}\n"}


def test_names_do_not_run_into_keys() -> None:
    assert bucket(b"bc", canary_salt("a")) != bucket(b"c", canary_salt("ab"))
    assert bucket(b"c", canary_salt("a")) != bucket(b"c", shadow_salt("a"))
