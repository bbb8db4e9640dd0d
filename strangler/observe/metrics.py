# SPDX-License-Identifier: Apache-2.0
"""The counts as Prometheus reads them: text format 0.0.4, or OpenMetrics 1.0 where it is asked for.

Only what is not 0 is written of a counter with many label sets; once there, it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from strangler.observe.counters import COUNTERS, FAMILIES, Counter
from strangler.observe.numbers import Row

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Told = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
"""By name: the values of counters that no row holds."""
Rows = Mapping[str, Mapping[tuple[str, ...], Row]]
"""By family, then by the values of its labels."""


def content_type(accept: str) -> str:
    """Return the type to answer with for an Accept field: OpenMetrics where it is named."""
    return OPEN if "application/openmetrics-text" in accept.lower() else TEXT


def render(rows: Rows, told: Told, *, form: str = TEXT) -> str:
    """Return all counters with a value, in the order of the table."""
    parts = []
    for counter in COUNTERS:
        lines = list(_lines(counter, rows, told))
        if lines:
            parts.append(_head(counter, form))
            parts += lines
    if form == OPEN:
        parts.append("# EOF\n")
    return "".join(parts)


def _head(counter: Counter, form: str) -> str:
    name = counter.name
    if form == OPEN and counter.kind == "counter":
        name = name.removesuffix("_total")  # the samples have it, the family has not
    doc = counter.doc.replace("\\", r"\\").replace("\n", r"\n")
    if form == OPEN:
        doc = doc.replace('"', r"\"")
    return f"# HELP {name} {doc}\n# TYPE {name} {counter.kind}\n"


def _lines(counter: Counter, rows: Rows, told: Told) -> Iterator[str]:
    if not counter.family:
        for given, value in told.get(counter.name, ()):
            yield _sample(counter.name, tuple(given.items()), value)
        return
    names = FAMILIES[counter.family]
    sets = [tuple(labels.items()) for labels in counter.sets()]
    for values, row in rows.get(counter.family, {}).items():
        owner = tuple(zip(names, values, strict=True))
        places = row.places(counter)
        if counter.kind == "histogram":
            yield from _histogram(counter, owner, places)
            continue
        alone = len(sets) == 1
        for labels, number in zip(sets, places, strict=True):
            if number or alone:
                yield _sample(counter.name, owner + labels, number * counter.scale)


def _histogram(counter: Counter, owner: Labels, places: Sequence[int]) -> Iterator[str]:
    *counts, total = places
    if not any(counts):
        return
    shown = counter.shown or counter.bounds
    below = 0
    for bound, count in zip(counter.bounds, counts, strict=False):
        below += count
        if bound in shown:
            yield _sample(f"{counter.name}_bucket", (*owner, ("le", repr(bound))), below)
    yield _sample(f"{counter.name}_bucket", (*owner, ("le", "+Inf")), sum(counts))
    yield _sample(f"{counter.name}_sum", owner, total * counter.scale)
    yield _sample(f"{counter.name}_count", owner, sum(counts))


def _sample(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    written = ",".join([f'{label}="{_escaped(text)}"' for label, text in labels])
    number = repr(value) if isinstance(value, float) and value != int(value) else str(int(value))
    return f"{name}{{{written}}} {number}\n" if written else f"{name} {number}\n"


def _escaped(text: str) -> str:
    if "\\" not in text and '"' not in text and "\n" not in text:
        return text
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
