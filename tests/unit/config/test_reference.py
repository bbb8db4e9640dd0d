# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from strangler.config import diagnostics
from strangler.config.document import read_document
from strangler.config.kinds import BAD, Context
from strangler.config.reference import json_schema, markdown, sections

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"


@pytest.mark.parametrize(
    ("name", "text"),
    [("routes-yaml.md", markdown()), ("diagnostics.md", diagnostics.markdown())],
)
def test_the_pages_are_what_the_code_says(name: str, text: str) -> None:
    assert (ROOT / "docs" / "reference" / name).read_text() == text, "make docs rewrites it"


def test_every_option_is_documented() -> None:
    page = markdown()
    for path, block in sections():
        names = [option.name for option in block.options]
        assert len(set(names)) == len(names), path
        for option in block.options:
            assert option.doc, f"{path}.{option.name}"
            assert f"`{option.name}`" in page


def test_every_example_is_accepted() -> None:
    for path, block in sections():
        for option in block.options:
            if not option.example:
                continue
            node, problems = read_document(option.example.encode(), "example")
            assert node is not None, (path, option.name, problems)
            ctx = Context({"EDGE_SECRET": "x"})
            value = option.kind.read(node, option.name, ctx)
            assert not ctx.diagnostics, (path, option.name)
            assert value is not BAD


def inputs(kind: str) -> list[Path]:
    return sorted((GOLDEN / kind).glob("*.txt"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator.check_schema(json_schema(included=True))
    return Draft202012Validator(schema)


def first_file(case: Path) -> str:
    return case.read_text().partition("----------\n")[0].partition(">>> ")[0]


class Loader(yaml.SafeLoader):
    """YAML 1.2's core booleans, and dates as text: as JSON Schema's users read YAML."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:bool", re.compile("true|false"), list("tf")
)


@pytest.mark.parametrize("case", inputs("config"), ids=lambda case: case.stem)
def test_the_json_schema_takes_what_the_loader_takes(
    case: Path, validator: Draft202012Validator
) -> None:
    data = yaml.load(first_file(case), Loader)  # type: ignore[no-untyped-call]
    assert [error.message for error in validator.iter_errors(data)] == []


@pytest.mark.parametrize(
    "name",
    (
        *("many_at_once", "unknown_key", "no_unit", "unknown_unit", "out_of_range"),
        *("wrong_kinds", "missing_keys", "whole_numbers_quoted", "old_booleans", "stages"),
        *("dates", "headers"),
    ),
)
def test_the_json_schema_refuses_what_the_loader_refuses(
    name: str, validator: Draft202012Validator
) -> None:
    data = yaml.load(first_file(GOLDEN / "errors" / f"{name}.txt"), Loader)  # type: ignore[no-untyped-call]
    assert not validator.is_valid(data)
