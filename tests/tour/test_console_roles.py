# SPDX-License-Identifier: Apache-2.0
"""The console offers each role what it may do, and tells whoever may not why (pains.md 51)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from scenarios.o001_overrides import listed, post
from selenium.webdriver import Chrome
from tour.browser import PHONE, Reader
from tour.keyboard import scheme, sign_in

from strangler.control.tokens import Token, hashed, write_named
from strangler.testing import Edge, RawUpstream, configuration, respond

OPERATOR = "the-operator-of-this-test"
ROLES = {
    "bia": Token("bia", "viewer", hashed("the-secret-of-bia-who-looks")),
    "ze": Token("ze", "owner", hashed("the-secret-of-ze-of-search"), frozenset({"team-search"})),
}
SECRETS = {"bia": "the-secret-of-bia-who-looks", "ze": "the-secret-of-ze-of-search"}
MINE, FOREIGN = "/route?key=%2Fbusca%2F**", "/route?key=%2Fvotar%2F**"
CHECKER = (Path(__file__).parent / "checker.js").read_text()
#: Words of buttons that change something.
CHANGES = re.compile(
    r"undo|back|promote|hold|stage|cache mode|purge|priority|maintenance|breaker|drain|fault|freeze"
    r"|shadows",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    tokens = tmp_path_factory.mktemp("tokens") / "admin.tokens"
    write_named(tokens, list(ROLES.values()))
    answers = respond(200, b"well")
    with RawUpstream(answers) as legacy, RawUpstream(answers) as one, RawUpstream(answers) as two:
        text = configuration(
            {
                "/**": "legacy",
                "/busca/**": {"to": "busca", "stage": "canary 5%", "cache": "origin"},
                "/votar/**": {"to": "votar", "stage": "canary 5%", "cache": "origin"},
            },
            upstreams={
                "legacy": legacy,
                "busca": {"url": one, "owner": "team-search"},
                "votar": {"url": two, "owner": "team-votes"},
            },
        )
        given = {"STRANGLER_TOKEN": OPERATOR, "STRANGLER_TOKENS": str(tokens)}
        with Edge(text, workers=1, access_log="off", environment=given) as made:
            for route in ("/busca/**", "/votar/**"):
                status, told = post(made, "/overrides", kind="stage", subject=f"route:{route}",
                                    value="canary 6%", reason="seen by all")  # fmt: skip
                assert status == 201, told
            yield made


@pytest.fixture
def reader(chromium: Chrome, edge: Edge) -> Iterator[Reader]:
    reader = Reader(chromium, f"http://127.0.0.1:{edge.admin_port}")
    reader.screen(PHONE)
    scheme(reader, "dark")
    yield reader
    assert not reader.complaints()


def offered(reader: Reader, where: str) -> set[str]:
    """Return the names of all buttons of a page and its menu that would change something."""
    reader.open(where)
    reader.find("details.me")
    reader.until(lambda: not reader.all(".waiting"), what=f"{where} has come")
    reader.browser.execute_script("document.querySelector('details.me').open = true")
    script = """return [...document.querySelectorAll("button")]
      .map((one) => one.ariaLabel || one.innerText)"""
    return {name for name in reader.browser.execute_script(script) if CHANGES.search(name)}


def test_a_viewer_is_offered_nothing_that_is_refused_and_told_why(
    reader: Reader, edge: Edge, tmp_path: Path
) -> None:
    sign_in(reader, SECRETS["bia"])
    for where in ("/", "/routes", MINE, "/migration", "/audit"):
        assert offered(reader, where) == set()
        assert "bia's token only views" in reader.find(".menu .only-views").text
        reader.picture(tmp_path / f"viewer{where[:4].replace('/', '-')}.png")
        wrong = reader.browser.execute_script(CHECKER)
        assert not wrong, f"{where}: {wrong}"
    # On the page too, where the buttons would be; and what only tells is there.
    for where in ("/", MINE):
        reader.open(where)
        reader.sees("main .only-views", "strangler token add NAME operator")
    reader.click(".only-views + .buttons button")
    reader.sees(".sheet pre.diff", "+    stage: canary 6%")


def test_a_viewer_comes_by_the_buttons_with_another_token(reader: Reader, edge: Edge) -> None:
    sign_in(reader, SECRETS["bia"])
    reader.open(MINE)
    reader.click("main .only-views button")
    reader.fill(token=OPERATOR)
    reader.click(".sheet button[type=submit]")
    reader.sees(".buttons", "Back to legacy")
    assert not reader.all(".only-views")


def test_an_owner_is_offered_what_belongs_to_the_team(reader: Reader, edge: Edge) -> None:
    sign_in(reader, SECRETS["ze"])
    of_all = offered(reader, "/")
    assert {"Undo: route:/busca/** stage canary 6%", "Drain busca"} <= of_all
    assert not [name for name in of_all if "votar" in name or "Freeze" in name]
    mine = offered(reader, MINE)
    assert {"Promote …", "Back to legacy", "Fault …", "Purge …"} <= mine
    assert offered(reader, FOREIGN) == set()
    reader.sees("main .only-views", "ze's token is for what belongs to team-search")


def test_who_has_not_signed_in_is_offered_everything_and_asked_then(
    reader: Reader, edge: Edge
) -> None:
    reader.open(MINE)
    reader.sees(".buttons", "Promote")
    reader.click(".buttons .danger")
    reader.find(".sheet [name=token]")
    owners = {one["subject"]: one["owner"] for one in listed(edge)["overrides"]}
    assert owners == {"route:/busca/**": "team-search", "route:/votar/**": "team-votes"}
