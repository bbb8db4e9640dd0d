# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 1, 4, 5, 6, 10, 12 and 15: what may be stored, and the word for why not."""

from dataclasses import replace
from pathlib import Path

import pytest
from unit.cache.build import NOW, ORIGIN, STEERED, cc, date, plan, request, response

from strangler.cache.policy import CachePolicy, KeyPolicy
from strangler.cache.storable import Uncacheable, bypass
from strangler.cache.stored import Stored
from strangler.wire.head import RequestHead

FRESH = cc(b"max-age=60")
ETAG = (b"ETag", b'"a"')
OLD = (b"Last-Modified", date(-1000))
AUTH = request((b"Authorization", b"Basic eDp5"))
WITH_COOKIE = request((b"Cookie", b"a=b"))
CDN = b"CDN-Cache-Control"


def why_not(found: Stored | Uncacheable) -> str | None:
    return None if isinstance(found, Stored) else found.value


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([FRESH], None),
        ([], "no-freshness"),  # paragraph 1: neither freshness nor a validator
        ([ETAG], None),
        ([OLD], None),
        ([cc(b"max-age=0")], "no-freshness"),
        ([cc(b"max-age=0"), ETAG], None),
        ([cc(b"max-age=0, stale-while-revalidate=9")], None),
        ([cc(b"max-age=0, stale-if-error=9")], None),
        ([(b"Expires", b"0")], "no-freshness"),
        ([cc(b"public")], "no-freshness"),
        ([cc(b"public"), ETAG], None),
        ([cc(b"private, max-age=60")], "private"),
        ([cc(b"Private"), (b"Expires", date(60))], "private"),
        ([cc(b'private="x", max-age=60')], None),
        ([cc(b"max-age=60, No-StOrE")], "no-store"),
        ([cc(b"no-cache, max-age=60")], "no-freshness"),
        ([cc(b"no-cache"), ETAG], None),
        ([cc(b"max-age=60, must-revalidate")], None),
        ([cc(b"no-store"), (CDN, b"max-age=60")], None),  # paragraph 14
        ([FRESH, (CDN, b"no-store")], "no-store"),
        ([FRESH, (CDN, b"private")], "private"),
        ([FRESH, (b"Set-Cookie", b"a=b")], "set-cookie"),
        ([FRESH, (b"Vary", b"*")], "vary-any"),
        ([FRESH, (b"Vary", b"Accept"), (b"Vary", b", *")], "vary-any"),
        ([FRESH, (b"Vary", b"Cookie")], None),
        ([FRESH, (b"Pragma", b"no-cache")], None),
    ],
)
def test_what_the_origin_says(pairs: list[tuple[bytes, bytes]], reason: str | None) -> None:
    assert why_not(plan(response(*pairs))) == reason


@pytest.mark.parametrize("status", [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 401, 403, 404,
                                    410, 499, 500, 502, 503, 504, 599])  # fmt: skip
def test_paragraph_5_any_final_status_with_explicit_freshness(status: int) -> None:
    assert why_not(plan(response(FRESH, status=status))) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, None), (203, None), (204, None), (404, None), (405, None), (410, None), (414, None),
        (501, None), (201, "no-freshness"), (202, "no-freshness"), (302, "no-freshness"),
        (403, "no-freshness"), (502, "no-freshness"), (503, "no-freshness"),
        (504, "no-freshness"), (599, "no-freshness"),
    ],
)  # fmt: skip
def test_paragraph_5_heuristics_for_some_only(status: int, reason: str | None) -> None:
    assert why_not(plan(response(OLD, status=status))) == reason
    assert why_not(plan(response(OLD, cc(b"public"), status=status))) is None


@pytest.mark.parametrize("status", [102, 103, 304, 412, 416, 417])
def test_paragraph_15_interim_responses_and_answers_to_preconditions(status: int) -> None:
    assert why_not(plan(response(FRESH, ETAG, status=status))) == "status"


@pytest.mark.parametrize(
    ("status", "value", "reason"),
    [
        (200, b"max-age=60, no-store, must-understand", None),
        (404, b"max-age=60, no-store, must-understand", None),
        (599, b"max-age=60, no-store, must-understand", "not-understood"),
        (599, b"max-age=60, must-understand", "not-understood"),
        (200, b"max-age=60, private, must-understand", "private"),
    ],
)
def test_paragraph_4_must_understand(status: int, value: bytes, reason: str | None) -> None:
    assert why_not(plan(response(cc(value), status=status))) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"max-age=60", "authorization"),
        (b"max-age=60, proxy-revalidate", "authorization"),
        (b"max-age=60, public", None),
        (b"max-age=60, must-revalidate", None),
        (b"s-maxage=60", None),
    ],
)
def test_paragraph_12_authorization(value: bytes, reason: str | None) -> None:
    assert why_not(plan(response(cc(value)), to=AUTH)) == reason


def test_paragraph_12_a_cookie_alone_forbids_nothing() -> None:
    assert why_not(plan(response(FRESH), to=WITH_COOKIE)) is None


def test_pain_38_vary_cookie_is_stored_for_nobody_or_by_the_named_cookies() -> None:
    vary = response(FRESH, (b"Vary", b"Cookie"))
    assert why_not(plan(vary, to=WITH_COOKIE)) == "vary-cookie"
    named = replace(ORIGIN, key=KeyPolicy(cookies=(b"sessionid",)))
    assert why_not(plan(vary, to=WITH_COOKIE, policy=named)) is None


@pytest.mark.parametrize(
    ("word", "pairs", "to"),
    [
        ("set-cookie", [FRESH, (b"Set-Cookie", b"a=b")], request()),
        ("private", [cc(b"private, max-age=60")], request()),
        ("no-store", [cc(b"no-store, max-age=60")], request()),
        ("no-cache", [cc(b"no-cache, max-age=60")], request()),
        ("authorization", [FRESH], AUTH),
        ("vary", [FRESH, (b"Vary", b"*")], request()),
        ("vary", [FRESH, (b"Vary", b"Cookie")], WITH_COOKIE),
    ],
)
def test_the_route_may_name_what_it_overrides(
    word: str, pairs: list[tuple[bytes, bytes]], to: RequestHead
) -> None:
    assert why_not(plan(response(*pairs), to=to)) is not None
    ignoring = replace(ORIGIN, ignore=frozenset({word}))  # type: ignore[arg-type]
    assert why_not(plan(response(*pairs), to=to, policy=ignoring)) is None
    others = {"set-cookie", "private", "no-store", "no-cache", "authorization", "vary"} - {word}
    unlike = replace(ORIGIN, ignore=frozenset(others))  # type: ignore[arg-type]
    assert why_not(plan(response(*pairs), to=to, policy=unlike)) is not None


def test_pain_37_an_overridden_set_cookie_is_not_stored_with_the_response() -> None:
    ignoring = replace(ORIGIN, ignore=frozenset({"set-cookie"}))  # type: ignore[arg-type]
    found = plan(response(FRESH, (b"Set-Cookie", b"sessionid=1")), policy=ignoring)
    assert isinstance(found, Stored)
    assert b"sessionid" not in found.head


def test_paragraph_17_a_request_may_ask_not_to_be_stored_where_it_may_steer() -> None:
    asked = request(cc(b"no-store"))
    assert why_not(plan(response(FRESH), to=asked)) is None
    assert why_not(plan(response(FRESH), to=asked, policy=STEERED)) == "request-no-store"


HERE = (b"Content-Location", b"/a")


@pytest.mark.parametrize(
    ("pairs", "status", "reason"),
    [
        ([FRESH, HERE], 200, None),
        ([FRESH, (b"Content-Location", b"http://localhost/a")], 200, None),
        ([(b"Expires", date(60)), HERE], 200, None),
        ([OLD, HERE], 200, "method"),
        ([FRESH], 200, "method"),
        ([FRESH, HERE], 201, "method"),
        ([FRESH, HERE, HERE], 200, "method"),
        ([FRESH, (b"Content-Location", b"/b")], 200, "method"),
        ([FRESH, (b"Content-Location", b"http://evil.example/a")], 200, "method"),
        ([FRESH, (b"Content-Location", b"http://localhost.evil/a")], 200, "method"),
        ([FRESH, HERE, (b"Set-Cookie", b"a=b")], 200, "set-cookie"),
    ],
)
def test_paragraph_10_a_post_that_shows_its_own_url_is_stored_for_get(
    pairs: list[tuple[bytes, bytes]], status: int, reason: str | None
) -> None:
    post = request((b"Content-Length", b"3"), method=b"POST")
    assert why_not(plan(response(*pairs, status=status), to=post)) == reason


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"M-SEARCH", b"HEAD"])
def test_no_other_method_is_stored(method: bytes) -> None:
    assert why_not(plan(response(FRESH, HERE), to=request(method=method))) == "method"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(), None),
        (request(method=b"HEAD"), None),
        (request(method=b"POST"), "method"),
        (request(method=b"OPTIONS", target=b"*"), "method"),
        (request((b"Content-Length", b"5")), "request-body"),
        (request((b"Content-Length", b"0")), None),
        (request((b"Transfer-Encoding", b"chunked")), "request-body"),
        (request((b"Connection", b"upgrade"), (b"Upgrade", b"websocket")), "upgrade"),
        (request((b"X-HTTP-Method-Override", b"DELETE")), "unkeyed-override"),
        (request((b"x-http-method", b"DELETE")), "unkeyed-override"),
        (request((b"X-Method-Override", b"DELETE")), "unkeyed-override"),
        (request((b"X-Original-URL", b"/admin")), "unkeyed-override"),
        (request((b"X-Original-URI", b"/admin")), "unkeyed-override"),
        (request((b"X-Rewrite-URL", b"/admin")), "unkeyed-override"),
        (request((b"X-Original-Urn", b"x")), None),
        (request((b"If-Match", b'"a"')), "precondition"),
        (request((b"If-Unmodified-Since", date())), "precondition"),
        (request((b"If-None-Match", b'"a"')), None),
        (request((b"Range", b"bytes=0-1")), None),
        (AUTH, None),
    ],
)
def test_hostile_requests_that_no_key_describes_bypass_the_cache(
    asked: RequestHead, reason: str | None
) -> None:
    found = bypass(asked, ORIGIN)
    assert (None if found is None else found.value) == reason
    if reason is not None and asked.method == b"GET":
        assert why_not(plan(response(FRESH), to=asked)) == reason


def test_cache_none_stores_nothing() -> None:
    assert bypass(request(), CachePolicy()) is Uncacheable.NONE
    assert plan(response(FRESH), policy=CachePolicy()) is Uncacheable.NONE


def test_a_route_with_durations_needs_no_word_of_the_origin() -> None:
    ladder = CachePolicy(mode="tiers", edge=10.0, shared=300.0)
    found = plan(response(), policy=ladder)
    assert isinstance(found, Stored)
    assert found.lifetime == 300
    assert found.received == NOW
    assert why_not(plan(response(status=302), policy=ladder)) == "no-freshness"
    assert why_not(plan(response(cc(b"private")), policy=ladder)) == "private"


def test_the_page_of_rules_lists_every_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "caching-rules.md").read_text()
    assert [reason.value for reason in Uncacheable if f"`{reason.value}`" not in page] == []
