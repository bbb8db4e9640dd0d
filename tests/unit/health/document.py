# SPDX-License-Identifier: Apache-2.0
"""The format of a health check's document, as all parts of a site speak it."""

from __future__ import annotations

from typing import Any

from jsonschema import validate

FORMAT = {
    "type": "object",
    "required": ["status", "results"],
    "properties": {
        "status": {"enum": ["success", "failure"]},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["checker", "output", "passed", "time", "duration", "since"],
                "properties": {
                    "checker": {"type": "string", "minLength": 1},
                    "output": {"type": "string"},
                    "passed": {"type": "boolean"},
                    "time": {"type": "number", "exclusiveMinimum": 1.6e9},
                    "duration": {"type": "number", "minimum": 0},
                    "since": {"type": "number", "exclusiveMinimum": 1.6e9},
                },
            },
        },
    },
}


def follows_the_format(document: dict[str, Any]) -> dict[str, Any]:
    """Return *document* where it follows the format, else raise."""
    validate(document, FORMAT)
    passed = all(one["passed"] for one in document["results"])
    assert document["status"] == ("success" if passed else "failure")
    assert all(one["since"] <= one["time"] for one in document["results"])
    return document
