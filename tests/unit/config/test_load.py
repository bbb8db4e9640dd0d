# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from strangler.config import (
    ConfigRejected,
    Listen,
    Route,
    Snapshot,
    accept,
    bundle,
    gather,
    guard_shrink,
    load,
    load_bundle,
    write_bundle,
)
from strangler.config.blocks import Block
from strangler.config.document import read_document
from strangler.config.kinds import MAX_PROBLEMS, Kind
from strangler.config.load import Gathered, digest
from strangler.config.reference import sections
from strangler.config.snapshot import Source
from strangler.wire.head import RequestHead

HEAD = 'version: 1\nupstreams: {legacy: "http://127.0.0.1:8100", a: "http://127.0.0.1:8101"}\n'
GOLDEN = Path(__file__).parents[2] / "golden"


def write(folder: Path, routes: str, head: str = HEAD) -> Path:
    path = folder / "routes.yaml"
    path.write_text(f"{head}routes:\n{routes}")
    return path


def codes(path: Path, **kwargs: Any) -> list[str]:
    with pytest.raises(ConfigRejected) as rejected:
        load(path, {}, **kwargs)
    return [diagnostic.code for diagnostic in rejected.value.diagnostics]


def described(route: Route) -> dict[str, Any]:
    return {f.name: getattr(route, f.name) for f in dataclasses.fields(route)}


def alike(one: Snapshot, other: Snapshot) -> bool:
    """Tell whether two snapshots mean the same; routes are objects of their own."""
    names = [f.name for f in dataclasses.fields(one) if f.name not in ("routes", "table")]
    same = all(getattr(one, name) == getattr(other, name) for name in names)
    return same and list(map(described, one.routes)) == list(map(described, other.routes))


def test_no_file(tmp_path: Path) -> None:
    assert codes(tmp_path / "none.yaml") == ["S001"]
    assert codes(tmp_path) == ["S001"]


def test_table_leads_to_routes(tmp_path: Path) -> None:
    snapshot = load(write(tmp_path, "  /**: legacy\n  /n/{slug}.html: a\n"), {})
    match = snapshot.table.match(RequestHead.build(b"GET", b"/n/x.html"))
    assert match is not None
    assert match.value is snapshot.routes[1]
    assert match.params == {"slug": b"x"}


def test_own_address_of_the_command_line(tmp_path: Path) -> None:
    """Pain 3: a proxy that forwards to itself for ever."""
    path = write(tmp_path, "  /**: legacy\n  /a: a\n")
    assert load(path, {}).warnings == ()
    assert codes(path, listen=[Listen(host="127.0.0.1", port=8100)]) == ["S205"]
    assert codes(path, listen=[Listen(host="", port=8100)]) == ["S205"]
    assert codes(path, listen=[Listen(host="localhost", port=8101)]) == ["S205"]
    load(path, {}, listen=[Listen(host="127.0.0.2", port=8100), Listen(unix="/x")])


def test_own_address_by_default_is_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, "  /**: legacy\n  /a: a\n")
    assert [w.code for w in load(path, {"EDGE_PORT": "8101"}).warnings] == ["S205"]


def test_pain_54_until_warns_and_serves(tmp_path: Path) -> None:
    """Pain 54: flags and routes never cleaned up."""
    path = write(tmp_path, "  /**: legacy\n  /a: {to: a, until: 2026-05-01}\n")
    assert load(path, {}, today=date(2026, 5, 1)).warnings == ()
    late = load(path, {}, today=date(2026, 5, 2))
    assert [w.code for w in late.warnings] == ["S306"]
    assert len(late.routes) == 2


def test_pain_32_on_is_no_boolean_and_a_second_key_no_silent_winner(tmp_path: Path) -> None:
    with pytest.raises(ConfigRejected) as rejected:
        load(write(tmp_path, "  /**: {to: legacy, cache: {client_steers: on}}\n"), {})
    [problem] = rejected.value.diagnostics
    assert (problem.code, problem.place.line, problem.hint) == ("S111", 4, "write true")

    with pytest.raises(ConfigRejected) as rejected:
        load(write(tmp_path, "  /**: legacy\n  /a: {gone: 410}\n  /a: legacy\n"), {})
    [problem] = rejected.value.diagnostics
    assert (problem.code, problem.place.line) == ("S006", 6)
    assert "first in line 5" in problem.message

    # In quotes, what YAML 1.1 took for true is the word that was written.
    head = HEAD.replace(", a:", ', "on":')
    _, route = load(write(tmp_path, '  /**: legacy\n  /a: "on"\n', head), {}).routes
    assert route.upstream == "on"


def test_ties_name_both_lines(tmp_path: Path) -> None:
    """Pain 23: equal-priority rules, where the winner is undefined."""
    path = write(tmp_path, "  /{a}: legacy\n  /{b}: a\n")
    with pytest.raises(ConfigRejected, match=r"routes\.yaml:5:3: S302 .*routes\.yaml:4:3"):
        load(path, {})


def test_warnings_do_not_reject_and_errors_come_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "  /b: nobody\n  /a: nobody\n", HEAD + "site: {}\n")
    with pytest.raises(ConfigRejected) as rejected:
        load(path, {})
    lines = [diagnostic.place.line for diagnostic in rejected.value.diagnostics]
    assert lines == sorted(lines)
    assert rejected.value.files == ("routes.yaml",)


# -- the defaults ----------------------------------------------------------------------------------


def test_documented_defaults_are_the_real_ones(tmp_path: Path) -> None:
    """Every default of the schema, spelt out in a file, changes nothing."""
    bare = load(write(tmp_path, "  /**: legacy\n  /a: {to: a, cache: {edge: 1s}}\n"), {})
    blocks = {block.title: block for _, block in sections()}

    def spelt(title: str, only: set[str] | None = None) -> str:
        options = []
        for option in blocks[title].options:
            if only is not None and option.name not in only:
                continue
            if (inner := block_of(option.kind)) and not option.default.startswith(
                ("[", "{", "none")
            ):
                text = spelt(inner.title)
            else:
                text = option.default
            if text and text != "{}" and (" " not in text or text[0] in "[{"):
                options.append(f"{option.name}: {text}")
        return "{" + ", ".join(options) + "}"

    policies = {"fallback", "retry", "timeout", "body", "host", "path", "headers"}
    text = (
        f"limits: {spelt('limits')}\n"
        f"tiers: {spelt('tiers')}\n"
        f"defaults: {spelt('defaults', policies)[:-1]}, breaker: {spelt('breaker')}}}\n"
    )
    head = HEAD.replace(
        '"http://127.0.0.1:8101"',
        '{url: "http://127.0.0.1:8101", queue: 100, '
        f"timeout: {spelt('timeout')}, keepalive: {spelt('keepalive')}}}",
    )
    route = f"  /**: legacy\n  /a: {{to: a, cache: {spelt('cache')[:-1]}, edge: 1s}}}}\n"
    full = load(write(tmp_path, route, head + text), {})
    assert "head_timeout: 10s" in text
    assert "retry_in: 5s..5m" in text
    for name in ("site", "limits", "tiers"):
        assert getattr(full, name) == getattr(bare, name)
    for name, upstream in bare.upstreams.items():
        assert dataclasses.replace(full.upstreams[name], place=upstream.place) == upstream
    for one, other in zip(full.routes, bare.routes, strict=True):
        assert described(one) | {"place": None} == described(other) | {"place": None}


def block_of(kind: Kind) -> Block | None:
    if isinstance(kind, Block):
        return kind
    inner = [block_of(child) for suffix, child in kind.children() if not suffix]
    return next((block for block in inner if block is not None), None)


# -- whatever is in the file -----------------------------------------------------------------------


def take(text: bytes) -> Snapshot | ConfigRejected:
    node, problems = read_document(text, "routes.yaml")
    gathered = Gathered((Source("routes.yaml", text),), problems, (), node)
    try:
        return accept(gathered, "/nowhere/routes.yaml", {"X": "1"}, today=date(2026, 1, 1))
    except ConfigRejected as rejected:
        assert any(diagnostic.severity == "error" for diagnostic in rejected.diagnostics)
        return rejected


def words() -> list[str]:
    names = {option.name for _, block in sections() for option in block.options}
    values = {option.example for _, block in sections() for option in block.options}
    values |= {option.default for _, block in sections() for option in block.options}
    extra = {"legacy", "a", "/**", "none", "5%", "${env:X}", "${env:Y}", "on", "~", "", "'", "*x"}
    return sorted(names | values | extra)


tree = st.recursive(
    st.sampled_from(words()) | st.integers(-1, 70000).map(str) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(words()), inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(words()), tree), max_size=5))
@example([("upstreams", "{a: {url: {url: x}}}"), ("routes", "{/a: {to: a, cache: {key: 1}}}")])
def test_any_options_are_accepted_or_diagnosed(options: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in options)
    take(text.encode(errors="replace"))
    take((HEAD + "routes: {/**: legacy}\n" + text).encode(errors="replace"))


CASES = [case.read_bytes().partition(b"----------\n")[0] for case in GOLDEN.glob("*/*.txt")]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(CASES),
    st.integers(0, 2000),
    st.integers(0, 20),
    st.binary(max_size=3) | st.sampled_from([w.encode() for w in words()]),
)
def test_a_damaged_file_is_accepted_or_diagnosed(
    text: bytes, at: int, cut: int, put: bytes
) -> None:
    take(text[:at] + put + text[at + cut :])


def test_two_thousand_routes_load_in_time(tmp_path: Path) -> None:
    routes = "".join(
        f'  /x{i}/{{slug}}.html: {{to: a, stage: canary 5%, match: {{header: {{X: "a|b"}}}}}}\n'
        for i in range(2000)
    )
    path = write(tmp_path, "  /**: legacy\n" + routes)
    start = time.process_time()
    assert len(load(path, {}).routes) == 2001
    # 0.6 s of CPU on the machine this was written on; the bound is what a save may cost.
    assert time.process_time() - start < 2.0


def test_garbage_is_rejected_in_time(tmp_path: Path) -> None:
    """Diagnostics have an end, and each costs little."""
    path = write(tmp_path, "  /**: legacy\n", HEAD + "".join(f"kye{i}: 1\n" for i in range(20_000)))
    start = time.process_time()
    assert len(codes(path)) == MAX_PROBLEMS
    assert time.process_time() - start < 4.0


def test_an_upstream_that_moved_is_the_same(tmp_path: Path) -> None:
    one = load(write(tmp_path, "  /**: legacy\n"), {})
    other = load(write(tmp_path, "  /**: legacy\n", "# a line\n" + HEAD), {})
    assert dict(one.upstreams) == dict(other.upstreams)
    assert one.upstreams["a"].place != other.upstreams["a"].place


# -- bundles ---------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    (tmp_path / "routes.d").mkdir()
    (tmp_path / "routes.d" / "b.yaml").write_text(
        "prefix: /b\nroutes: {/b/**: {to: a, fallback: ['page:pages/x.html']}}\n"
    )
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "x.html").write_text("x")
    secret = (
        '{legacy: "http://127.0.0.1:8100", a: {url: "http://127.0.0.1:8101", oauth2: '
        '{token_url: "http://a/", client_id: b, client_secret: "${env:SECRET}"}}}'
    )
    head = f"version: 1\nupstreams: {secret}\ninclude: routes.d/*.yaml\n"
    return write(tmp_path, "  /**: legacy # ção\n", head)


def test_a_bundle_makes_the_same_snapshot(many: Path, tmp_path: Path) -> None:
    env = {"SECRET": "hunter2"}
    snapshot = load(many, env, generation=7)
    path = write_bundle(snapshot, tmp_path / "var")
    assert b"hunter2" not in path.read_bytes()
    assert "hunter2" not in repr(snapshot)
    many.write_text("broken: [")
    (tmp_path / "routes.d" / "b.yaml").unlink()
    (tmp_path / "pages" / "x.html").unlink()
    again = load_bundle(path, env)
    assert again.generation == 7
    assert alike(again, snapshot)
    assert [p.name for p in (tmp_path / "var").iterdir()] == [path.name]


def test_a_damaged_bundle_is_rejected(many: Path, tmp_path: Path) -> None:
    content = json.loads(bundle(load(many, {"SECRET": "x"})))
    path = tmp_path / "bundle.json"
    damaged: list[Any] = [
        content | {"format": 99},
        content | {"hash": "0" * 64},
        content | {"files": []},
        content | {"files": [1]},
        {},
        [],
        None,
    ]
    for one in damaged:
        path.write_text(json.dumps(one))
        with pytest.raises(ConfigRejected):
            load_bundle(path, {})
    path.write_bytes(b"\xff{")
    with pytest.raises(ConfigRejected):
        load_bundle(path, {})


def test_the_hash_is_over_names_and_bytes(many: Path) -> None:
    one = gather(many, {})
    assert [source.name for source in one.sources] == ["routes.yaml", "routes.d/b.yaml"]
    assert one.digest == load(many, {"SECRET": "x"}).hash
    moved = (one.sources[0], Source("routes.d/c.yaml", one.sources[1].text))
    assert digest(moved) != one.digest
    joined = (Source("routes.yaml", one.sources[0].text + one.sources[1].text),)
    assert digest(joined) != one.digest


def test_an_include_is_read_once_and_hidden_files_never(many: Path) -> None:
    folder = many.parent / "routes.d"
    (folder / ".b.yaml.swp.yaml").write_text("[")
    many.write_text(
        many.read_text().replace("routes.d/*.yaml", "[routes.d/b.yaml, 'routes.d/*.yaml']")
    )
    assert load(many, {"SECRET": "x"}).files == ("routes.yaml", "routes.d/b.yaml")


# -- losing routes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "asks"),
    [(10, 10, False), (10, 5, False), (10, 4, True), (4, 1, False), (9, 4, True), (5, 6, False)],
)
def test_losing_most_routes_asks(tmp_path: Path, before: int, after: int, asks: bool) -> None:
    """Pain 31: the watcher reads a file that has lost its routes, and the site with it."""

    def routes(count: int) -> Snapshot:
        return load(write(tmp_path, "".join(f"  /{i}: legacy\n" for i in range(count))), {})

    told = guard_shrink(routes(before), routes(after))
    assert (told is not None) == asks
    if told is not None:
        assert re.match(rf"{before - after} of {before} routes", told.message)
        assert told.code == "S311"


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    os.mkfifo(tmp_path / "fifo")
    path.symlink_to("routes.yaml")
    assert codes(path) == ["S001"]
