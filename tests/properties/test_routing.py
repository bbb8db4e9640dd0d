# SPDX-License-Identifier: Apache-2.0
"""The compiled table against the rules of docs/routing.md, written as naively as may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from hypothesis import assume, given
from hypothesis import strategies as st

from strangler.routing import (
    AmbiguousPath,
    Conditions,
    Location,
    Malformed,
    Rule,
    Table,
    TiedRules,
    compile_table,
    parse_key,
)


@dataclass(frozen=True)
class StubHead:
    path: bytes
    method: bytes = b"GET"
    host: bytes = b""
    query: bytes = b""
    app: bytes | None = None

    def get(self, name: bytes) -> bytes | None:
        return self.app if name == b"x-app" else None

    def cookie(self, name: bytes) -> bytes | None:
        return None


SEGMENTS = ["a", "b", "a.x", "{}", "{}.x", "a-{}", "{}-{}", "{}.{}.x", "%41"]
keys = st.builds(
    lambda methods, host, segments, end: (
        f"{methods}{host}/" + "/".join(map(named, segments, "lmn")) + end
    ),
    st.sampled_from(["", "", "", "GET ", "POST ", "HEAD ", "GET,PUT "]),
    st.sampled_from(["", "", "", "h.org", "*.org", "*.h.org"]),
    st.lists(st.sampled_from(SEGMENTS), max_size=3),
    st.sampled_from(["", "/", "/**"]),
).filter(lambda key: not re.search("//", key))
conditions = st.sampled_from(["", "", "", "ios", "web"])
rules = st.builds(
    lambda key, app: Rule(
        parse_key(key), Conditions.of(header={"X-App": app} if app else {}), f"{key} {app}"
    ),
    keys,
    conditions,
)
rule_sets = st.lists(rules, min_size=1, max_size=12)

ATOMS = ["a", "b", "A", "a.x", "a-b", "a-b.x", "1", ".", "..", "", "", "%61", "%2F", "%2f", "%5C"]
ATOMS += ["\\", "%2e", "%2E.", "%zz", "%", "%252F", "%00", "%2Dx", "%2Ex", "a.b.x"]
paths = st.lists(
    st.lists(st.sampled_from(ATOMS), min_size=1, max_size=2).map("".join), min_size=1, max_size=4
).map(lambda segments: ("/" + "/".join(segments)).encode())
heads = st.builds(
    StubHead,
    paths | st.just(b"*"),
    st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT"]),
    st.sampled_from([b"", b"h.org", b"w.h.org", b"x.org"]),
    app=st.sampled_from([None, b"ios", b"web"]),
)


def named(segment: str, letter: str) -> str:
    """Give the captures of a segment names that no other has."""
    return segment.replace("{}", f"{{{letter}1}}", 1).replace("{}", f"{{{letter}2}}", 1)


def untied(candidates: list[Rule[str]]) -> list[Rule[str]]:
    """Leave out each rule that ties with one before it."""
    kept: list[Rule[str]] = []
    for rule in candidates:
        try:
            compile_table([*kept, rule])
        except TiedRules:
            continue
        kept.append(rule)
    return kept


def reads(raw: bytes) -> bytes:
    """Decode all but what would be a slash or NUL; here an encoded slash is an odd word."""
    parts = re.split(rb"(%2[fF]|%00)", raw)
    return b"".join(
        part if part == b"%00" else b"\0" if part.lower() == b"%2f" else unquote_to_bytes(part)
        for part in parts
    )


def expression(rule: Rule[str]) -> re.Pattern[bytes]:
    """A regular expression for the paths of a rule."""
    made = b""
    for segment in rule.key.pattern.segments:
        made += b"/" + rb"([^/]+?)".join(re.escape(part) for part in segment.parts)
    return re.compile(made + (b"/(.*)" if rule.key.pattern.rest else b""), re.S)


def order(rule: Rule[str], method: bytes) -> tuple[object, ...]:
    """Specificity in words of the page."""
    segments: list[tuple[object, ...]] = []
    for segment in rule.key.pattern.segments:
        if not segment.names:
            segments.append((0,))
        elif segment.parts == (b"", b""):
            segments.append((2,))
        else:
            text = len(b"".join(segment.parts))
            ends = len(segment.parts[0]), len(segment.parts[-1])
            segments.append((1, -text, -ends[0], -ends[1], len(segment.names)))
    segments.append((3,) if rule.key.pattern.rest else (4,))
    host = rule.key.host
    hosted = (2, 0) if host is None else (1, -host.count(b".")) if host[:1] == b"*" else (0, 0)
    named = 2 if not rule.key.methods else 0 if method in rule.key.methods else 1
    return (segments, hosted, named, -len(rule.conditions.items))


def winner(rules: list[Rule[str]], reading: bytes, head: StubHead) -> Rule[str] | None:
    def fits(rule: Rule[str]) -> bool:
        key = rule.key
        if reading == b"*":
            path = key.pattern.rest and not key.pattern.segments
        else:
            path = expression(rule).fullmatch(reading) is not None
        methods = key.methods | ({b"HEAD", b"OPTIONS"} if b"GET" in key.methods else set())
        host = key.host
        return (
            path
            and (not methods or head.method in methods)
            and (
                host is None
                or head.host == host
                or (host[:1] == b"*" and head.host.endswith(host[1:]))
            )
            and all(item.pattern.encode() == head.app for item in rule.conditions.items)
        )

    return min(filter(fits, rules), key=lambda rule: order(rule, head.method), default=None)


def resolve(reading: bytes) -> bytes:
    """RFC 3986 section 5.2.4, by its own steps."""
    output = b""
    while reading:
        if reading.startswith(b"/./"):
            reading = reading[2:]
        elif reading == b"/.":
            reading = b"/"
        elif reading.startswith(b"/../") or reading == b"/..":
            reading = b"/" + reading[4:]
            output = output.rpartition(b"/")[0]
        else:
            segment = re.match(rb"/?[^/]*", reading)
            assert segment
            output += segment[0]
            reading = reading[segment.end() :]
    return output


def expected(rules: list[Rule[str]], head: StubHead) -> str | None:
    """The value of the route that wins, or `400`."""
    reading = reads(head.path)
    first = winner(rules, reading, head)
    slashed = reading.replace(b"\0", b"/").replace(b"\\", b"/")
    second = winner(rules, slashed, head)
    if second is not None and (first is None or second.rank < first.rank):
        return "400"
    for dotted in (reading, slashed):
        if {b".", b".."} & set(dotted.split(b"/")):
            merged = re.sub(rb"/+", b"/", dotted)
            if any(winner(rules, resolve(r), head) is not first for r in (dotted, merged)):
                return "400"
    return first.value if first else None


def outcome(table: Table[str], head: StubHead) -> str | None:
    try:
        match = table.match(head)
    except AmbiguousPath:
        return "400"
    return match.value if match else None


@given(rule_sets, heads)
def test_the_table_does_what_the_page_says(candidates: list[Rule[str]], head: StubHead) -> None:
    rules = untied(candidates)
    table = compile_table(rules)
    result = expected(rules, head)
    assert outcome(table, head) == result
    explained = table.explain(head)
    assert (explained.ambiguous is not None) == (result == "400")
    assert (explained.winner.value if explained.winner else None) == (
        None if result == "400" else result
    )


@given(rule_sets, st.randoms(use_true_random=False))
def test_order_never_matters(candidates: list[Rule[str]], random) -> None:
    rules = untied(candidates)
    table = compile_table(rules)
    cut = random.randrange(len(rules) + 1)
    merged = [*rules[cut:], *rules[:cut]]
    random.shuffle(rules)
    assert compile_table(rules) == compile_table(merged) == table
    assert compile_table(rules).rules == table.rules


@given(st.lists(rules, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_ties_do_not_depend_on_the_order(candidates: list[Rule[str]], random) -> None:
    def ties(rules: list[Rule[str]]) -> set[frozenset[str]]:
        try:
            compile_table(rules)
        except TiedRules as error:
            return {frozenset((str(tie.first), str(tie.second))) for tie in error.ties}
        return set()

    before = ties(candidates)
    random.shuffle(candidates)
    assert ties(candidates) == before


@given(rule_sets, heads, st.data())
def test_escaping_more_goes_round_no_route(
    candidates: list[Rule[str]], head: StubHead, data: st.DataObject
) -> None:
    """Pain 6: another spelling of the same characters gets the same answer."""
    assume(head.path != b"*")
    table = compile_table(untied(candidates))
    plain = [m.start() for m in re.finditer(rb"%[0-9A-Fa-f]{2}|%|/|(.)", head.path) if m[1]]
    assume(plain)
    at = data.draw(st.sampled_from(plain))
    assume(not re.search(rb"%[0-9A-Fa-f]?\Z", head.path[:at]))  # a lone % would become an escape
    digits = b"%02x" % head.path[at] if data.draw(st.booleans()) else b"%02X" % head.path[at]
    escaped = head.path[:at] + b"%" + digits + head.path[at + 1 :]
    assert outcome(table, StubHead(escaped, head.method, head.host, b"", head.app)) == outcome(
        table, head
    )


values = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=3).map("".join).filter(bool)


@given(rules, st.data())
def test_captures_put_back_give_the_path(rule: Rule[str], data: st.DataObject) -> None:
    pattern = rule.key.pattern
    path = b""
    for segment in pattern.segments:
        path += b"/" + segment.parts[0]
        for part in segment.parts[1:]:
            path += data.draw(values).encode() + part
    if pattern.rest:
        path += b"/" + b"/".join(text.encode() for text in data.draw(st.lists(values, max_size=2)))
    params = pattern.params(path)
    assert set(params) == set(pattern.names)
    again = b""
    for segment in pattern.segments:
        again += b"/" + segment.parts[0]
        for name, part in zip(segment.names, segment.parts[1:], strict=True):
            assert params[name]
            again += params[name] + part
    again += b"/" + params["**"] if pattern.rest else b""
    # The path may spell the literals around the captures with escapes.
    assert reads(again) == reads(path)
    assert all(value in path for value in params.values())


@given(rule_sets, st.binary(max_size=40))
def test_no_bytes_raise_anything_else(candidates: list[Rule[str]], path: bytes) -> None:
    table = compile_table(untied(candidates))
    for raw in (path, b"/" + path):
        result = outcome(table, StubHead(raw))
        explained = table.explain(StubHead(raw))
        assert (explained.ambiguous is not None) == (result == "400")


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=20))
def test_no_request_turns_a_redirect(name: bytes, rest: bytes, query: bytes) -> None:
    pattern = parse_key("/{x}/**").pattern
    for text in ("/{**}", "/{x}/{**}", "/p?q={x}#{**}", "https://example.com/{x}{**}"):
        made = Location.parse(text, pattern).expand({"x": name, "**": rest}, query)
        assert re.fullmatch(rb"[!-~]+", made)
        assert b"\\" not in made
        if text.startswith("/"):
            assert re.match(rb"/(?!/)", made)
        else:
            assert made.startswith(b"https://example.com/")


@given(st.text(max_size=30) | st.text("/{}*%2F. GETa-.,:", max_size=20))
def test_a_key_is_parsed_or_malformed(text: str) -> None:
    try:
        key = parse_key(text)
    except Malformed as error:
        assert 0 <= error.offset <= len(text)
    else:
        assert str(key) == text
        assert parse_key(str(key)) == key
