# SPDX-License-Identifier: Apache-2.0
"""Every override that the API knows is given by a button of the console, and taken back by one.

On four workers, by a telephone's width; pains.md 34 (toggles and maintenance belong into a page)
and 52 (a hand on the breaker).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scenarios.o001_overrides import call, listed, post
from selenium.webdriver import Chrome, Keys
from tour.browser import DESKTOP, PHONE, Reader
from tour.keyboard import focused, press, scheme, sign_in

from strangler.resilience import chaos
from strangler.rollout.override import KINDS, SCOPES
from strangler.testing import Edge, RawUpstream, configuration, respond

WORKERS = 4
TOKEN = "the-token-of-this-test"
ROUTE = "/busca/**"
CHECKER = (Path(__file__).parent / "checker.js").read_text()
PAGES = {"route": "/route?key=%2Fbusca%2F**", "upstream": "/", "endpoint": "/", "site": "/"}


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    answers = respond(200, b"well")
    with RawUpstream(answers) as legacy, RawUpstream(answers) as one, RawUpstream(answers) as two:
        text = configuration(
            {"/**": "legacy", ROUTE: {"to": "busca", "stage": "canary 5%", "cache": "origin"}},
            upstreams={"legacy": legacy, "busca": {"url": [one, two]}},
        )
        given = {"STRANGLER_TOKEN": TOKEN}
        with Edge(text, workers=WORKERS, access_log="off", environment=given) as made:
            yield made


@pytest.fixture
def reader(chromium: Chrome, edge: Edge) -> Iterator[Reader]:
    reader = Reader(chromium, f"http://127.0.0.1:{edge.admin_port}")
    reader.screen(PHONE)
    sign_in(reader, TOKEN)
    yield reader
    post(edge, "/overrides/clear", all=True, reason="the test is over")
    assert not reader.complaints()


def begin(reader: Reader, where: str, button: str) -> None:
    """Open the sheet of a button of this name."""
    reader.open(where)
    reader.find(".bar")
    reader.until(lambda: not reader.all(".waiting"), what=f"{where} has come")
    if where == "/" and not button.startswith(("Force", "Drain busca")):
        reader.click("details.me summary")
    press_button(reader, button)
    reader.find("#sheet-title")


def press_button(reader: Reader, name: str) -> None:
    """Press the button whose name begins with *name*, where it can be seen."""
    script = """return [...document.querySelectorAll("button")].find((one) => one.offsetParent
      && (one.ariaLabel || one.innerText).startsWith(arguments[0]))"""
    found = reader.until(
        lambda: reader.browser.execute_script(script, name), what=f"the button {name}"
    )
    reader.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    found.click()


def choose(reader: Reader, name: str, word: str) -> None:
    """Choose a word, or type one where it isn't offered."""
    offered = reader.all(f".sheet input[type=radio][name={name}][value='{word}']")
    if offered:
        offered[0].click()
    else:
        reader.find(f".sheet input.free[name={name}]").send_keys(word)


def give(reader: Reader, where: str, button: str, **chosen: str) -> None:
    """Do what *button* does, with a reason."""
    begin(reader, where, button)
    for name, word in chosen.items():
        choose(reader, name, word)
    reader.find(".sheet [name=reason]").send_keys("an exercise", Keys.ENTER)
    reader.sees(".notice", f"{WORKERS}/{WORKERS} workers")


GIVEN: list[tuple[str, str, Any, str, dict[str, str]]] = [
    ("stage", f"route:{ROUTE}", "canary 15%", "Set stage", {"value": "canary 15%"}),
    ("breaker", f"route:{ROUTE}", "forced_open", "Breaker", {}),
    ("breaker", f"route:{ROUTE}", "auto", "Breaker", {"value": "auto"}),
    ("breaker", "upstream:busca", "forced_closed", "Force the breaker of busca",
     {"value": "forced_closed"}),
    ("drain", "upstream:busca", True, "Drain busca", {"value": "all of it"}),
    ("drain", "endpoint:busca", True, "Drain busca", {}),
    ("cache", f"route:{ROUTE}", "archive_only", "Cache mode", {"value": "archive_only"}),
    ("cache", "site", "stale_only", "Cache mode", {}),
    ("fault", f"route:{ROUTE}", {"kind": "delay", "share": 0.05, "amount": 0.5}, "Fault",
     {"fault": "delay", "amount": "0.5", "share": "5%"}),
    ("freeze", "site", True, "Freeze", {}),
    ("hold", f"route:{ROUTE}", True, "Hold", {}),
    ("shadows", "site", "stop", "Stop all shadows", {}),
    ("maintenance", f"route:{ROUTE}", {"page": "sorry.html"}, "Maintenance",
     {"page": "sorry.html"}),
    ("maintenance", "site", True, "Maintenance", {}),
    ("priority", f"route:{ROUTE}", "high", "Priority", {"value": "high"}),
]  # fmt: skip


def test_nothing_that_the_api_knows_is_missing_here() -> None:
    tried = {(kind, subject.partition(":")[0]) for kind, subject, *_ in GIVEN}
    assert tried == {(kind, scope) for kind in KINDS for scope in SCOPES[kind]}


@pytest.mark.parametrize(("kind", "subject", "value", "button", "chosen"), GIVEN)
def test_pain_34_each_override_is_given_and_undone_by_a_button(
    reader: Reader, edge: Edge, kind: str, subject: str, value: Any, button: str, chosen: Any
) -> None:
    (edge.folder / "sorry.html").write_text("<h1>Sorry</h1>")
    where = PAGES[subject.partition(":")[0]]
    give(reader, where, button, **chosen)
    [one] = listed(edge)["overrides"]
    assert (one["kind"], one["value"], one["reason"]) == (kind, value, "an exercise")
    assert one["subject"] == subject or one["subject"].startswith(f"{subject} ")
    # The button says what is in force now, and its sheet takes it back.
    begin(reader, where, button)
    reader.sees(".sheet .already", "an exercise")
    reader.click(".sheet .already button")
    reader.sees(".notice", "Undone")
    assert listed(edge)["overrides"] == []


def test_a_drains_sheet_says_who_answers_instead(reader: Reader) -> None:
    begin(reader, "/", "Drain busca")
    choose(reader, "value", "all of it")
    reader.sees(".sheet .preview", f"instead: {ROUTE}")


def test_a_breakers_sheet_says_who_answers_instead(reader: Reader) -> None:
    begin(reader, PAGES["route"], "Breaker")
    reader.sees(".sheet .preview", f"instead: {ROUTE}")


@pytest.mark.parametrize("kind", chaos.KINDS)
def test_each_fault_that_is_offered_is_one(reader: Reader, edge: Edge, kind: str) -> None:
    give(reader, PAGES["route"], "Fault", fault=kind)
    [one] = listed(edge)["overrides"]
    assert one["value"]["kind"] == kind
    assert chaos.ordered(one["value"], until=1.0).share == 0.01
    assert one["expires"] - one["created"] <= chaos.LONGEST
    reader.sees("#layers .drift", f"{kind} 1%")


def test_a_word_that_makes_no_sense_is_told_before_it_is_sent(reader: Reader, edge: Edge) -> None:
    begin(reader, PAGES["route"], "Fault")
    choose(reader, "amount", "500")
    reader.sees(".sheet .preview.trouble", "seconds before the attempt, 0 to 60")
    # What was typed was of a delay; for another fault it isn't there any more.
    choose(reader, "fault", "abort")
    reader.sees(".sheet .preview", "abort 1% 503")
    assert listed(edge)["overrides"] == []
    [complaint] = reader.complaints()
    assert "/-/overrides/preview" in complaint and "400" in complaint


@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["telephone", "desk"])
def test_every_sheet_is_for_everybody(
    reader: Reader, edge: Edge, light: str, size: tuple[int, int], tmp_path: Path
) -> None:
    """Names, labels, contrast, nothing wider than the screen, with something in force."""
    scheme(reader, light)
    reader.screen(size)
    for kind, subject, value in (
        ("stage", f"route:{ROUTE}", "canary 25%"),
        ("fault", f"route:{ROUTE}", {"kind": "abort", "share": 0.01, "amount": 503}),
        ("freeze", "site", True),
    ):
        assert post(edge, "/overrides", kind=kind, subject=subject, value=value,
                    reason="seen by everybody")[0] == 201  # fmt: skip
    sheets = {(PAGES["route"], name) for name in ("Fault", "Breaker", "Maintenance", "Cache mode")}
    sheets |= {(PAGES["route"], "Write into the file"), ("/", "Freeze")}
    for where, button in sorted(sheets):
        begin(reader, where, button)
        reader.until(lambda: not reader.all(".sheet [aria-busy=true]"), what="it is whole")
        reader.picture(tmp_path / f"{button}-{light}-{size[0]}.png")
        wrong = reader.browser.execute_script(CHECKER)
        assert not wrong, f"{button} in the {light}: {wrong}"
        press(reader, Keys.ESCAPE)


def test_what_is_in_force_is_written_into_the_file_by_an_edit_to_copy(
    reader: Reader, edge: Edge
) -> None:
    before = edge.config.read_text()
    toggled = {"kind": "stage", "subject": f"route:{ROUTE}", "value": "live", "reason": "for good"}
    assert post(edge, "/overrides", **toggled)[0] == 201
    reader.browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"origin": reader.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    for where, button in ((PAGES["route"], "Write into the file"), ("/", "Into the file")):
        reader.open(where)
        reader.sees("#overrides", "for good")
        press_button(reader, button)
        shown = reader.find(".sheet pre.diff").text
        assert "-    stage: canary 5%" in shown and "+    stage: live" in shown
        reader.click(".sheet button[type=submit]")
        reader.sees(".sheet [role=status]", "Copied.")
        copied = reader.browser.execute_async_script(
            "navigator.clipboard.readText().then(arguments[0], arguments[0])"
        )
        told = call(edge, "GET", "/overrides/patch")[1]
        assert copied.replace("\r\n", "\n") == told["patch"]
        assert told["routes"] == {ROUTE: {"stage": "live"}}
        press(reader, Keys.ESCAPE)
    assert edge.config.read_text() == before
    assert call(edge, "GET", "/overrides/patch?route=/nothing")[0] == 404


def test_a_busy_night_leaves_what_is_below_the_changes_in_reach(reader: Reader, edge: Edge) -> None:
    freeze = {"kind": "freeze", "subject": "site", "value": True, "reason": "to and fro"}
    for _ in range(5):
        assert post(edge, "/overrides", **freeze)[0] == 201
        assert post(edge, "/overrides/undo", reason="to and fro")[0] == 200
    reader.open("/")
    reader.sees("#changes", "to and fro")
    assert len(reader.all("#changes li")) == 6
    reader.click("#changes button")
    reader.until(lambda: len(reader.all("#changes li")) >= 10, what="all of them")
    assert not reader.all("#changes button")


def test_the_menu_is_shut_by_a_tap_beside_it_and_by_escape(reader: Reader) -> None:
    reader.open("/")
    for shut in (lambda: reader.click("#proxies h2"), lambda: press(reader, Keys.ESCAPE)):
        reader.click("details.me summary")
        reader.find("details.me[open] .menu")
        shut()
        reader.until(lambda: not reader.all("details.me[open]"), what="the menu is shut")
    assert focused(reader) == "STRANGLER_TOKEN"


def test_a_route_at_its_beginning_has_no_step_back(reader: Reader, edge: Edge) -> None:
    toggled = {"kind": "stage", "subject": f"route:{ROUTE}", "value": "legacy", "reason": "now"}
    assert post(edge, "/overrides", **toggled)[0] == 201
    reader.open(PAGES["route"])
    reader.sees(".buttons", "Promote")
    assert "back" not in reader.find(".buttons").text.lower()
    reader.sees("#life", "Back: it is at the beginning.")


def test_the_edit_is_for_those_who_may_read_files(edge: Edge) -> None:
    status, told = edge.admin_json("/-/overrides/patch")
    assert (status, told["ok"]) == (401, False)
