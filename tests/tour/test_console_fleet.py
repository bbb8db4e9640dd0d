# SPDX-License-Identifier: Apache-2.0
"""Two edges of four workers each that share one Redis: what is done in the console of one counts
on the other, and each console says what the other serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenarios.load import origin
from scenarios.o003_fleet import answers
from selenium.webdriver import Chrome, Keys
from servers.redis import Redis
from tour.browser import PHONE, Reader
from tour.keyboard import focused, press, sign_in, tab_to

from strangler.testing import Edge, configuration, until

TOKEN = "the-token-of-this-test"
WORKERS = 4
SOON = 5.0
"""Seconds for what takes one, on a busy machine."""


@pytest.fixture(scope="module")
def edges() -> Iterator[tuple[Edge, Edge]]:
    with Redis() as redis, origin("legacy") as legacy, origin("busca") as busca:
        text = configuration(
            {"/**": "legacy", "/busca/**": "busca"},
            upstreams={"legacy": legacy, "busca": busca},
            overrides={"store": redis.url},
        )
        given = {"STRANGLER_TOKEN": TOKEN}
        with (
            Edge(text, workers=WORKERS, access_log="off", environment=given) as one,
            Edge(text, workers=WORKERS, access_log="off", environment=given) as other,
        ):
            yield one, other


def test_back_to_legacy_in_one_console_counts_on_both_edges(
    chromium: Chrome, edges: tuple[Edge, Edge]
) -> None:
    one, other = edges
    assert answers(one) == answers(other) == {"busca"}
    reader = Reader(chromium, f"http://127.0.0.1:{one.admin_port}")
    reader.screen(PHONE)
    sign_in(reader, TOKEN)
    reader.open("/route?key=%2Fbusca%2F**")
    tab_to(reader, "Back to legacy", most=60)
    press(reader, Keys.ENTER)
    reader.sees("#sheet-title", "Back to legacy")
    reader.until(lambda: focused(reader) == "reason", what="the reason has the focus")
    press(reader, "p95 of 9 s", Keys.ENTER)
    reader.sees(".notice", f"/busca/** is back on legacy. {WORKERS}/{WORKERS} workers")
    assert answers(one) == {"legacy"}
    until(lambda: answers(other) == {"legacy"}, timeout=SOON)

    # The other's console shows it, says that both agree, and can take it back.
    reader = Reader(chromium, f"http://127.0.0.1:{other.admin_port}")
    reader.screen(PHONE)
    sign_in(reader, TOKEN)
    reader.sees("#overrides", "p95 of 9 s")
    reader.until(
        lambda: "Yes: 2 proxies" in reader.find("ul.answers").text, what="both agree", within=60.0
    )
    tab_to(reader, "Undo: route:/busca/**")
    press(reader, Keys.ENTER)
    reader.sees(".notice", "Undone: /busca/** stage legacy")
    assert answers(other) == {"busca"}
    until(lambda: answers(one) == {"busca"}, timeout=SOON)
    assert not reader.complaints()
