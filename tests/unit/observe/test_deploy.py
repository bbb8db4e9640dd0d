# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/ fits the code: every metric, label and command that it names is there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from strangler.cli import parser
from strangler.observe.counters import COUNTERS, FAMILIES

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana.json").read_text())
RULES = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
SUFFIXES = ("_bucket", "_sum", "_count")
#: What Prometheus adds by itself, or an expression makes.
GIVEN = {"instance", "job", "le", "class"}


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for one in DASHBOARD["annotations"]["list"]:
        yield "annotation", one["expr"]
    for rule in RULES:
        yield rule["alert"], rule["expr"]


def known() -> dict[str, dict[str, tuple[str, ...]]]:
    """Every series' labels with their values; () where any will do."""
    found: dict[str, dict[str, tuple[str, ...]]] = {"up": {}}
    for one in COUNTERS:
        labels = {**dict.fromkeys(FAMILIES.get(one.family, ()), ()), **one.labels}
        for suffix in SUFFIXES if one.kind == "histogram" else ("",):
            found[one.name + suffix] = labels
    return found


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_is_in_the_table(where: str, expression: str) -> None:
    series = known()
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = re.findall(r"\b(?:strangler_\w+|up)\b", bare)
    assert names and not [name for name in names if name not in series], where
    labels = {label for name in names for label in series[name]} | GIVEN
    used = [
        label.strip()
        for group in re.findall(r"\b(?:by|on|without) ?\(([^)]*)\)", bare)
        for label in group.split(",")
    ]
    assert set(used) <= labels, where
    for name, matchers in re.findall(r"\b(strangler_\w+|up)\{([^}]*)\}", expression):
        for label, operator, text in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            assert label in series[name] or label in GIVEN, where
            values = series[name].get(label, ())
            if values and not text.startswith("$"):
                wanted = text.split("|") if "~" in operator else [text]
                assert set(wanted) <= set(values), f"{where}: {label}"
    assert bare.count("(") == bare.count(")") and bare.count("{") == bare.count("}")


def test_the_dashboards_panels_have_room_and_names() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"] and rule["annotations"]["action"]
    for command in re.findall(r"strangler ([a-z-]+)", rule["annotations"]["action"]):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([command, "--help"])
        assert ended.value.code == 0, command


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_the_unit_starts_what_there_is() -> None:
    unit = (DEPLOY / "strangler.service").read_text()
    [start] = re.findall(r"(?m)^ExecStart=(.*)$", unit)
    _, *arguments = shlex.split(start)
    assert parser().parse_args(arguments).run
    assert "Type=notify" in unit and "STRANGLER_STATE=" in unit
