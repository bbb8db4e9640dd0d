# SPDX-License-Identifier: Apache-2.0
"""What holds of the cache's rooms for any input."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import http_sf
from hypothesis import assume, example, given
from hypothesis import strategies as st
from unit.cache.build import NOW, ORIGIN, STEERED, cc, fields, plan, request, response

from strangler.cache import dates, directives, freshness, ranges, record, store, update
from strangler.cache.deliver import assemble, deliver, undecided_until
from strangler.cache.fields import members
from strangler.cache.key import Keying, canonical, url_of
from strangler.cache.lookup import decide
from strangler.cache.plain import how_plain
from strangler.cache.policy import CachePolicy, KeyPolicy, QueryKey
from strangler.cache.status_field import cache_status, of_hit
from strangler.cache.steering import steering
from strangler.cache.storable import bypass
from strangler.cache.stored import Span, Stored
from strangler.cache.vary import normalised, select, selecting, variant_key
from strangler.wire.head import RequestHead, ResponseHead


def plain(request: RequestHead, policy: CachePolicy) -> bool:
    """Tell what the hot path asks: nothing but the key and a simple Vary matters."""
    enough = 2 if policy.client_steers else 1
    return request.method in (b"GET", b"HEAD") and how_plain(request.fields) >= enough


#: What a validated head may hold as a value, trimmed.
value = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40
).map(lambda text: "".join(c for c in text if c < "\x80" or c > "\x9f").strip().encode("latin-1"))
token = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
target = st.from_regex(rb"/[!\"$-~]{0,30}", fullmatch=True)
clock = st.floats(min_value=0, max_value=4e9, allow_nan=False)

directive = st.sampled_from(
    [
        b"max-age=60", b"max-age=0", b"s-maxage=5", b"max-age=x", b"public", b"private",
        b"no-store", b"no-cache", b"must-revalidate", b"proxy-revalidate", b"must-understand",
        b"stale-while-revalidate=30", b"stale-if-error=90", b'private="x-a"', b"foo",
    ]
)  # fmt: skip
cache_control = st.lists(directive, max_size=4).map(b", ".join)
date_value = st.one_of(
    st.integers(-10_000, 10_000).map(lambda delta: dates.write(NOW + delta)),
    st.sampled_from([b"0", b"x", b""]),
)
response_fields = st.lists(
    st.one_of(
        st.tuples(st.just(b"Cache-Control"), cache_control),
        st.tuples(st.just(b"CDN-Cache-Control"), st.one_of(cache_control, value)),
        st.tuples(st.sampled_from([b"Date", b"Expires", b"Last-Modified"]), date_value),
        st.tuples(st.just(b"Age"), st.one_of(st.just(b"30"), value)),
        st.tuples(st.just(b"ETag"), st.sampled_from([b'"a"', b'W/"a"', b"a"])),
        st.tuples(st.just(b"Vary"), st.sampled_from([b"Foo", b"Accept-Language", b"Cookie", b"*"])),
        st.tuples(st.just(b"Set-Cookie"), st.just(b"secret=1")),
        st.tuples(st.just(b"Content-Range"), st.just(b"bytes 0-9/20")),
        st.tuples(st.sampled_from([b"X-A", b"Content-Language"]), value),
    ),
    max_size=8,
)
status = st.sampled_from([200, 200, 200, 203, 204, 206, 301, 302, 404, 500, 503, 599])
request_fields = st.lists(
    st.one_of(
        st.tuples(st.just(b"Cache-Control"), value),
        st.tuples(st.just(b"Cache-Control"), st.sampled_from(
            [b"no-cache", b"max-age=5", b"max-stale", b"min-fresh=9", b"only-if-cached"])),
        st.tuples(st.just(b"If-None-Match"), st.one_of(st.just(b'"a"'), value)),
        st.tuples(st.just(b"If-Modified-Since"), date_value),
        st.tuples(st.just(b"Range"), st.one_of(st.just(b"bytes=2-4"), st.just(b"bytes=-3"), value)),
        st.tuples(st.just(b"If-Range"), st.one_of(st.just(b'"a"'), date_value)),
        st.tuples(st.sampled_from([b"Foo", b"Accept-Language", b"Authorization"]), value),
    ),
    max_size=6,
)  # fmt: skip
policies = st.sampled_from(
    [
        ORIGIN,
        STEERED,
        CachePolicy(mode="tiers", edge=10.0, shared=300.0, archive=86400.0, grace=60.0),
        CachePolicy(mode="tiers", shared=5.0, client_steers=True, stale_if_error=1e6),
        CachePolicy(mode="origin", ignore=frozenset({"set-cookie", "vary", "no-store"})),
    ]
)


def any_stored(
    pairs: list[tuple[bytes, bytes]], code: int, policy: CachePolicy, asked: RequestHead, size: int
) -> Stored | None:
    found = plan(response(*pairs, status=code), to=asked, policy=policy)
    sealed = store.seal(found, size) if isinstance(found, Stored) else None
    return sealed if isinstance(sealed, Stored) else None


@given(st.integers(min_value=-62135596800, max_value=253402300799))
def test_written_dates_read_back(seconds: int) -> None:
    assert dates.parse(dates.write(seconds), now=NOW) == seconds


@given(st.integers(min_value=0, max_value=253402300799))
def test_dates_are_written_as_the_library_writes_them(seconds: int) -> None:
    assert dates.write(seconds).decode() == formatdate(seconds, usegmt=True)


@given(st.binary(max_size=60), st.floats(allow_nan=False))
def test_no_bytes_break_the_date_reader(junk: bytes, now: float) -> None:
    dates.parse(junk, now=now)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_members_lose_nothing_but_commas_and_space(lines: list[bytes]) -> None:
    kept = b"".join(members(lines)).translate(None, b", \t")
    assert kept == b"".join(lines).translate(None, b", \t")


@given(st.lists(st.one_of(value, cache_control), max_size=3), value)
def test_any_field_gives_directives_in_range(lines: list[bytes], targeted: bytes) -> None:
    pairs = [cc(line) for line in lines]
    for found in (
        directives.of_response(fields(*pairs)),
        directives.of_response(fields((b"CDN-Cache-Control", targeted), *pairs)),
    ):
        for seconds in (
            found.max_age, found.s_maxage, found.stale_while_revalidate, found.stale_if_error
        ):  # fmt: skip
            assert seconds is None or 0 <= seconds <= directives.MAX_SECONDS


@given(value)
@example(b"a=@99999999999999")
@example(b'a=%"%ff"')
@example(b"a=:!:")
def test_a_targeted_field_is_heeded_exactly_where_it_parses(targeted: bytes) -> None:
    try:
        parsed: Any = http_sf.parse(targeted, tltype="dictionary")
    except (http_sf.StructuredFieldError, ValueError, OverflowError):
        parsed = {}
    found = directives.of_response(fields((b"CDN-Cache-Control", targeted)))
    if not parsed:
        assert found.source == "none"


@given(cache_control, st.booleans())
def test_a_prohibition_survives_any_company(rest: bytes, first: bool) -> None:
    for word in (b"no-store", b"private", b"no-cache", b"must-revalidate"):
        parts = [word, rest] if first else [rest, word]
        found = directives.of_response(fields(cc(b", ".join(parts))))
        assert getattr(found, word.decode().replace("-", "_"))


@given(response_fields, status, policies, clock, st.floats(0, 1e6))
def test_lifetimes_and_ages_are_never_negative(
    pairs: list[tuple[bytes, bytes]], code: int, policy: CachePolicy, now: float, delay: float
) -> None:
    head = fields(*pairs)
    found = directives.of_response(head)
    limit = freshness.bound(policy, code)
    life = freshness.lifetime(head, code, found, received=now, default=limit, cap=limit)
    assert 0 <= life.seconds <= directives.MAX_SECONDS
    assert limit is None or life.seconds <= limit
    assert freshness.initial_age(head, requested=now, received=now + delay) >= 0
    stale = freshness.windows(found, policy)
    assert stale.while_revalidate >= 0
    assert stale.if_error >= 0
    assert not stale.never or stale.while_revalidate == stale.if_error == 0


keyings = st.builds(
    lambda headers, cookies, query: Keying.compile(
        KeyPolicy(headers=tuple(sorted(headers)), cookies=tuple(sorted(cookies)), query=query)
    ),
    st.sets(st.sampled_from([b"x-a", b"x-b"])),
    st.sets(st.sampled_from([b"a", b"b"])),
    st.builds(
        QueryKey,
        mode=st.sampled_from(["all", "allow", "drop"]),
        names=st.frozensets(st.sampled_from([b"a", b"b", b"c"])),
        tracking=st.booleans(),
        sort=st.booleans(),
    ),
)
keyed = st.tuples(
    target,
    st.lists(
        st.tuples(
            st.sampled_from([b"X-A", b"X-B", b"Cookie"]),
            st.one_of(value, st.sampled_from([b"a=1", b"a=1; b=2", b"b=; a=1", b"a=1\tb"])),
        ),
        max_size=4,
    ),
    st.sampled_from([b"", b"legacy", b"service"]),
    st.sampled_from([b"http", b"https"]),
)


@given(keyings, keyed, keyed)
def test_equal_keys_mean_equal_requests(
    keying: Keying,
    one: tuple[bytes, list[tuple[bytes, bytes]], bytes, bytes],
    two: tuple[bytes, list[tuple[bytes, bytes]], bytes, bytes],
) -> None:
    """Nothing that a stranger writes into one part of a request can pass for another part."""

    def parts(asked: RequestHead) -> tuple[object, ...]:
        named = [asked.fields.combined(name) for name in keying.policy.headers]
        jar = [
            (name, pair.strip(b" \t").partition(b"=")[2])
            for name in keying.policy.cookies
            for line in asked.all(b"cookie")
            for pair in line.split(b";")
            if pair.strip(b" \t").partition(b"=")[0] == name
        ]
        return keying.target(asked), named, jar

    heads = [request(*pairs, target=where) for where, pairs, _, _ in (one, two)]
    keys = [
        keying.key(head, scheme=x[3], arm=x[2]) for head, x in zip(heads, (one, two), strict=True)
    ]
    same = one[2:] == two[2:] and parts(heads[0]) == parts(heads[1])
    assert (keys[0] == keys[1]) is same
    assert url_of(keys[0]) == one[3] + b"://localhost" + keying.target(heads[0])
    found = keying.url_key(scheme=one[3], host=b"localhost", target=one[0])
    assert found == url_of(keys[0])


@given(
    st.lists(st.from_regex(rb"[!\"$%'-~]{0,6}", fullmatch=True), max_size=6).map(b"&".join),
    keyings,
)
def test_a_canonical_query_is_canonical(query: bytes, keying: Keying) -> None:
    rules = keying.policy.query
    once = canonical(query, rules)
    assert canonical(once, rules) == once
    assert set(once.split(b"&")) - {b""} <= set(query.split(b"&"))


@given(st.permutations([b"a=1", b"b=2", b"c=3", b"d=4"]))
def test_a_sorted_query_has_one_order(parts: list[bytes]) -> None:
    assert canonical(b"&".join(parts), QueryKey(sort=True)) == b"a=1&b=2&c=3&d=4"


names = st.sampled_from([b"accept-encoding", b"accept-language", b"foo"])


@example(b"accept-encoding", [b"0", b";"])
@example(b"accept-encoding", [b'"', b'"', b'"'])
@given(names, st.lists(value, min_size=1, max_size=3))
def test_normal_forms_are_normal(name: bytes, lines: list[bytes]) -> None:
    once = normalised(name, lines)
    assert once is not None
    assert b"\n" not in once
    assert normalised(name, [b", ".join(lines)]) == once
    if name != b"accept-language":  # whose weights are written in thousandths
        assert normalised(name, [once]) == once


@given(response_fields, request_fields, request_fields)
def test_variants_match_exactly_where_their_keys_are_equal(
    pairs: list[tuple[bytes, bytes]],
    one: list[tuple[bytes, bytes]],
    two: list[tuple[bytes, bytes]],
) -> None:
    first, second = request(*one), request(*two)
    kept = any_stored([cc(b"max-age=60, public"), *pairs], 200, ORIGIN, first, 10)
    assume(kept is not None)
    assert kept is not None
    assert select([kept], first.fields) is kept
    keys = {
        variant_key(selecting(asked.fields, [name for name, _ in kept.selecting]))
        for asked in (first, second)
    }
    if kept.language is None:
        assert (select([kept], second.fields) is kept) is (len(keys) == 1)


@given(response_fields, status, policies, request_fields, request_fields, clock, clock)
def test_what_is_served_is_allowed(
    pairs: list[tuple[bytes, bytes]],
    code: int,
    policy: CachePolicy,
    first: list[tuple[bytes, bytes]],
    then: list[tuple[bytes, bytes]],
    after: float,
    entered: float,
) -> None:
    """Any response, any request, any time: no forbidden answer, and no Set-Cookie of a stranger."""
    asked, again = request(*first), request(*then)
    kept = any_stored([*pairs], code, policy, asked, 10)
    if kept is None:
        return
    now = NOW + after
    assert b"secret=1" not in kept.head
    found = decide([kept], again, now=now, steering=steering(again, policy))
    if found.outcome in ("hit", "stale"):
        assert not kept.no_cache
        if kept.never_stale:
            assert kept.age(now) < kept.lifetime
        if not kept.authorized:
            assert again.get(b"authorization") is None
    if found.may_stand_in:
        assert not kept.never_stale
    until = undecided_until(kept, policy, "edge", entered=NOW + entered)
    if now < until and plain(again, policy) and select([kept], again.fields) is kept:
        assert found.outcome == "hit"
        sent = deliver(again, kept)
        assert (sent.status, sent.head, sent.start, sent.stop) == (code, kept.head, 0, 10)


@given(response_fields, policies, request_fields)
def test_what_is_delivered_is_a_sound_response(
    pairs: list[tuple[bytes, bytes]], policy: CachePolicy, then: list[tuple[bytes, bytes]]
) -> None:
    again = request(*then)
    kept = any_stored([cc(b"max-age=60, public"), *pairs], 200, policy, request(), 10)
    assume(kept is not None)
    assert kept is not None
    sent = deliver(again, kept)
    head = ResponseHead.parse(assemble(sent.head, kept.age(NOW + 5)))
    assert head is not None
    assert head.status == sent.status
    assert 0 <= sent.start <= sent.stop <= kept.length
    if sent.status == 206:
        assert head.all(b"content-length") == [b"%d" % (sent.stop - sent.start)]
        assert head.all(b"content-range") == [b"bytes %d-%d/10" % (sent.start, sent.stop - 1)]
    elif sent.status == 200:
        assert (sent.start, sent.stop) == (0, 10)


@given(response_fields, status, policies, request_fields, st.binary(max_size=20))
def test_records_read_back(
    pairs: list[tuple[bytes, bytes]],
    code: int,
    policy: CachePolicy,
    first: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    kept = any_stored([cc(b"max-age=60"), *pairs], code, policy, request(*first), len(body))
    assume(kept is not None)
    assert kept is not None
    assert record.load(record.dump(kept, body), kept.key) == (kept, body)
    assert record.load(record.dump(kept), kept.key) == (kept, None)


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_break_the_record_reader(junk: bytes, magic: bool) -> None:
    assert record.load(b"SGLR\x01" + junk if magic else junk, b"k") is None


@example([(b"X-A", b"")], [(b"Cache-Control", b'private="x-a"')], ORIGIN)
@given(response_fields, response_fields, policies)
def test_a_304_keeps_the_body_and_what_belongs_to_it(
    old: list[tuple[bytes, bytes]], new: list[tuple[bytes, bytes]], policy: CachePolicy
) -> None:
    kept = any_stored([cc(b"max-age=60, public"), *old], 200, policy, request(), 10)
    assume(kept is not None)
    assert kept is not None
    head = response(*new, status=304)
    fresh, _ = update.freshened(kept, request(), head, policy, requested=NOW + 9, received=NOW + 9)
    assert fresh.length == 10
    assert fresh.fields.all(b"content-length") == [b"10"]
    assert b"secret=1" not in fresh.head
    assert fresh.lifetime >= 0
    sent = {name.lower() for name, _ in kept.fields.pairs()}
    withdrawn = directives.of_response(fresh.fields).unstored  # by a private="x-a" of the 304
    assert sent - withdrawn <= {name.lower() for name, _ in fresh.fields.pairs()}
    assert record.load(record.dump(fresh), fresh.key) == (fresh, None)


@given(st.one_of(value, st.from_regex(rb"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True)),
       st.integers(0, 50))  # fmt: skip
def test_ranges_stay_inside(asked: bytes, complete: int) -> None:
    found = ranges.asked(asked, complete)
    if isinstance(found, tuple):
        assert 0 <= found[0] <= found[1] < complete


def spans() -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, 19), st.integers(0, 19)).map(lambda p: (min(p), max(p)))


@given(spans(), spans())
def test_joined_parts_are_a_part_of_the_same_whole(
    one: tuple[int, int], two: tuple[int, int]
) -> None:
    whole = bytes(range(20))

    def part(first: int, last: int) -> Stored:
        pairs = [
            cc(b"max-age=60"),
            (b"ETag", b'"a"'),
            (b"Content-Range", b"bytes %d-%d/20" % (first, last)),
        ]
        found = any_stored(pairs, 206, ORIGIN, request(), last - first + 1)
        assert found is not None
        return found

    found = ranges.join(
        part(*one), whole[one[0] : one[1] + 1], part(*two), whole[two[0] : two[1] + 1]
    )
    apart = max(one[0], two[0]) > min(one[1], two[1]) + 1
    assert (found is None) is apart
    if found is not None:
        span, body = found
        assert span == Span(min(one[0], two[0]), max(one[1], two[1]), 20)
        assert body == whole[span.first : span.last + 1]


@given(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20))
def test_cache_status_is_always_a_structured_field(name: str, ttl: float, detail: str) -> None:
    assume(name)
    found: Any = http_sf.parse(cache_status(name, hit=True, ttl=ttl, detail=detail), tltype="list")
    assert len(found) == 1
    assert of_hit(name, ttl, detail) == cache_status(name, hit=True, ttl=ttl, detail=detail)


@given(request_fields, token, value)
def test_bypass_never_raises(pairs: list[tuple[bytes, bytes]], name: bytes, text: bytes) -> None:
    assume(name.lower() not in (b"host", b"content-length", b"transfer-encoding", b"expect"))
    assume(name.lower() not in (b"connection", b"upgrade", b"te", b"max-forwards"))
    bypass(request(*pairs, (name, text)), ORIGIN)
