# SPDX-License-Identifier: Apache-2.0
"""Who the reader is, and by which name and scheme it came, is ours to say: see pain 49."""

from __future__ import annotations

import pytest

from strangler.testing import Edge, Request, Upstream, Vector, build, configuration, judge
from strangler.testing.vectors import Check, every, has, valid


@pytest.fixture(scope="module")
def trusting(origin: Upstream):
    """Return an edge that believes what 127.0.0.0/8 says of readers."""
    text = configuration(
        upstreams={"legacy": origin},
        site={"trust_forwarded_from": ["127.0.0.0/8", "::1/128"]},
        limits={"drain": "1s"},
    )
    with Edge(text) as made:
        yield made


def sent(*fields: tuple[str, str], host: str = "www.example.com") -> bytes:
    return build("GET", "/trust", fields, host=host)


def nothing_of(*needles: str) -> Check:
    """Return a check that no field carries any of these texts."""

    def check(request: Request) -> None:
        for needle in needles:
            found = [pair for pair in request.fields if needle.encode() in pair[1]]
            assert not found, f"forwarded: {found}"

    return check


SPOOFS = [
    valid(
        f"spoofed-{name}-{index}",
        sent(*[(name, value)] * (index + 1)),
        check=every(
            nothing_of("6.6.6.6", "evil"),
            has("X-Forwarded-For", "127.0.0.1"),
            has("X-Forwarded-Proto", "http"),
            has("X-Forwarded-Host", "www.example.com"),
        ),
        rfc="7239 8.1, pain 49",
    )
    for name, value in (
        ("X-Forwarded-For", "6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6, 127.0.0.1"),
        ("X-FORWARDED-FOR", "evil"),
        ("X-Forwarded-Proto", "evil"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Port", "evil"),
        ("X-Forwarded-Server", "evil"),
        ("Forwarded", "for=6.6.6.6;proto=https;host=evil.test"),
        ("Forwarded", 'for="[evil"'),
        ("X-Real-IP", "6.6.6.6"),
    )
    for index in (0, 1)
]


@pytest.mark.parametrize("vector", SPOOFS, ids=lambda v: v.id)
def test_pain_49_what_a_stranger_says_is_rebuilt(vector: Vector, edge, origin):
    judge(vector, edge, origin)


def test_pain_49_the_port_and_forwarded_are_rebuilt_too(edge, origin):
    vector = valid(
        "rebuilt",
        sent(host=f"www.example.com:{edge.port}"),
        check=every(
            has("X-Forwarded-Port", str(edge.port)),
            has("X-Forwarded-Host", f"www.example.com:{edge.port}"),
            has("Host", f"www.example.com:{edge.port}"),
            forwarded(
                {"for": "127.0.0.1", "proto": "http", "host": f"www.example.com:{edge.port}"}
            ),
        ),
        rfc="7239 5",
    )
    judge(vector, edge, origin)


def forwarded(expected: dict[str, str]) -> Check:
    """Return a check of the last element of Forwarded, `by` left aside."""

    def check(request: Request) -> None:
        element = request.all("forwarded")[-1].decode().split(",")[-1]
        got = {}
        for pair in element.split(";"):
            name, _, value = pair.strip().partition("=")
            got[name.lower()] = value.strip('"')
        got.pop("by", None)
        assert got == expected, f"Forwarded: expected {expected}, got {got}"

    return check


def test_a_trusted_hop_is_believed_and_appended_to(trusting, origin):
    vector = valid(
        "believed",
        sent(
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "www.example.org"),
            ("X-Forwarded-Port", "443"),
        ),
        check=every(
            has("X-Forwarded-For", "203.0.113.7, 127.0.0.1"),
            has("X-Forwarded-Proto", "https"),
            has("X-Forwarded-Host", "www.example.org"),
            has("X-Forwarded-Port", "443"),
        ),
        rfc="7239",
    )
    judge(vector, trusting, origin)


def test_two_lines_from_a_trusted_hop_become_one_list(trusting, origin):
    vector = valid(
        "two-lines",
        sent(("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "198.51.100.2")),
        check=lambda request: assert_list(request, [b"203.0.113.7", b"198.51.100.2", b"127.0.0.1"]),
        rfc="9110 5.3",
    )
    judge(vector, trusting, origin)


def assert_list(request: Request, expected: list[bytes]) -> None:
    assert request.tokens("x-forwarded-for") == expected, request.all("x-forwarded-for")


def test_a_trusted_hop_that_says_nothing(trusting, origin):
    checks = every(has("X-Forwarded-For", "127.0.0.1"), has("X-Forwarded-Proto", "http"))
    judge(valid("silent", sent(), check=checks, rfc="7239"), trusting, origin)


@pytest.mark.parametrize("value", ["gopher", "https, http", "https\t", "HTTPS", "", "x" * 300])
def test_nonsense_for_a_scheme_is_not_passed_on(value, trusting, origin):
    def scheme(request: Request) -> None:
        assert request.get("x-forwarded-proto") in (b"http", b"https"), request.head

    vector = valid("scheme", sent(("X-Forwarded-Proto", value)), check=scheme, rfc="pain 49")
    judge(vector, trusting, origin)


def test_the_shadow_mark_is_ours_alone(edge, origin):
    vector = valid("shadow", sent(("Strangler-Shadow", "1")), check=nothing_of(), rfc="pain 19")
    judge(vector, edge, origin)
    assert "strangler-shadow" not in origin.requests[-2]
