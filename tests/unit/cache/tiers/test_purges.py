# SPDX-License-Identifier: Apache-2.0
"""Marks: which stored responses a purge hits, in any order of events."""

import time

from hypothesis import given
from hypothesis import strategies as st

from strangler.cache.tiers.purges import Mark, Marks, Purge

KEY = b"http://h/noticia/a?x\nc:lang=pt"


def marks(*purges: Purge) -> Marks:
    made = Marks()
    for number, purge in enumerate(purges, 1):
        for label in purge.labels:
            made.add(label, number, purge.soft)
    return made


def hit(made: Marks, moment: int = 0, tags: tuple[bytes, ...] = (b"t",)) -> tuple[bool, int]:
    return made.verdict(KEY, tags, b"/r", moment)


def test_each_scope_hits_its_own() -> None:
    for purge in (
        Purge.tags(b"x", b"t"),
        Purge.routes(b"/r"),
        Purge.urls(b"http://h/noticia/a?x"),
        Purge.prefixes(b"http://h/noticia/"),
        Purge.prefixes(b"http://h/not"),
        Purge.prefixes(b"http://h/noticia/a?x"),
        Purge.prefixes(b""),
        Purge.everything(),
    ):
        assert hit(marks(purge)) == (True, 0), purge
    for purge in (
        Purge.tags(b"T", b"t2", b"/r", b""),
        Purge.routes(b"t", b"/r2"),
        Purge.urls(b"http://h/noticia/a", KEY),
        Purge.prefixes(b"https://h/noticia/", b"http://h/noticia/a?x&", KEY),
        Purge(()),
    ):
        assert hit(marks(purge)) == (False, 0), purge


def test_a_later_moment_is_not_hit() -> None:
    made = marks(Purge.tags(b"t"), Purge.tags(b"x"), Purge.tags(b"t", soft=True))
    assert [hit(made, moment) for moment in range(5)] == [
        (True, 0),
        (False, 3),
        (False, 3),
        (False, 0),
        (False, 0),
    ]


def test_hard_wins_over_soft_in_either_order() -> None:
    soft, hard = Purge.tags(b"t", soft=True), Purge.routes(b"/r")
    assert hit(marks(soft, hard)) == hit(marks(hard, soft)) == (True, 0)


def test_a_floor_hits_whatever_is_older() -> None:
    made = Marks()
    made.follow(10, 5, [Mark(10, b"t:other", False)])
    assert [hit(made, moment)[0] for moment in (4, 5, 9, 10)] == [True, False, False, False]


def test_marks_are_bounded_and_forget_to_the_safe_side() -> None:
    made = Marks(64)
    for number in range(1, 1001):
        made.add(b"p:%d" % number, number)
        made.add(b"t:%d" % number, number, True)
    assert len(made) <= 66
    assert 900 < made.floor < 1000
    assert hit(made, made.floor - 1) == (True, 0)
    assert hit(made, 999, (b"1000",)) == (False, 1000)
    # Only lengths that are still in use are tried.
    assert made._lengths == (3, 4)


def test_after_gives_back_what_a_log_has_lost() -> None:
    made = marks(Purge.tags(b"a"), Purge.tags(b"b", soft=True), Purge.tags(b"a"))
    assert made.after(0) == [Mark(2, b"t:b", True), Mark(3, b"t:a", False)]
    assert made.after(3) == []


label = st.sampled_from([b"t:a", b"t:b", b"r:/r", b"p:http://h/", b"u:http://h/x", b"*"])


@given(st.lists(st.tuples(label, st.booleans()), max_size=20), st.integers(0, 20))
def test_marks_agree_with_a_list_of_all_purges(
    purges: list[tuple[bytes, bool]], moment: int
) -> None:
    made = Marks()
    for number, (name, soft) in enumerate(purges, 1):
        made.add(name, number, soft)
    later = [(n, name, soft) for n, (name, soft) in enumerate(purges, 1) if n > moment]
    own = {b"t:a", b"r:/r", b"p:http://h/", b"u:http://h/x", b"*"}
    hard = any(name in own and not soft for _, name, soft in later)
    soft = 0 if hard else max([n for n, name, soft in later if name in own and soft], default=0)
    assert made.verdict(b"http://h/x", [b"a"], b"/r", moment) == (hard, soft)


def test_judging_costs_the_same_with_any_number_of_purges() -> None:
    def cost(count: int) -> float:
        made = Marks()
        for number in range(1, count + 1):
            made.add(b"t:%d" % number, number)
            made.add(b"p:http://h/%06d" % number, number)
        best = 1.0
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(200):
                made.verdict(KEY, (b"t",), b"/r", 0)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(30_000) < 5 * cost(30)
