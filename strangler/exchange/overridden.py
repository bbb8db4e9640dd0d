# SPDX-License-Identifier: Apache-2.0
"""What operators' overrides make of routes and upstreams, but for the stage.

It is worked out where a plan is made, not where a request is answered: a route that nobody has
overridden pays nothing for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic, time
from typing import Final, Literal, cast

from strangler.config.snapshot import Route
from strangler.resilience import chaos
from strangler.resilience.breaker import Mode
from strangler.resilience.policy import Failures, Fallback, Rung
from strangler.resilience.shed import ROUTES, Priority
from strangler.rollout import Override, Overrides
from strangler.rollout.override import is_page
from strangler.upstream import Upstream

_events = logging.getLogger("strangler.events")

Detour = Literal["", "stale_only", "archive_only", "fault"]
"""Another way than the usual: answered from stores alone, or struck by a fault."""

_STORED: Final[Mapping[Detour, tuple[Rung, ...]]] = {
    "stale_only": (Rung("stale"), Rung("archive")),
    "archive_only": (Rung("archive"),),
}
#: The longest page that is read for a maintenance.
_MOST_PAGE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A route that is closed; page: what is shown, empty for our own · until: Unix seconds."""

    page: bytes
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    """What is said of one route.

    detour: `stale_only` or `archive_only` · bypass: its cache is left alone · forced: what its
    breaker is told, until a monotonic instant.
    """

    detour: Detour = ""
    bypass: bool = False
    fault: chaos.Fault | None = None
    maintenance: Maintenance | None = None
    priority: Priority | None = None
    forced: tuple[Mode, float] = ("auto", inf)


NOTHING: Final = Overridden()


def on_route(route: Route, overrides: Overrides, folder: Path) -> Overridden:
    """Return what *overrides* say of *route*; what it can't have is as if not said.

    The site's word counts where none of the route's own does. *folder*: where pages are from.
    """
    if not overrides:
        return NOTHING
    said = {**overrides.site, **overrides.route(route.key)}
    if not said:
        return NOTHING
    said = {kind: one for kind, one in said.items() if not route.cannot_have(kind, one.value)}
    cache = said["cache"].value if "cache" in said else ""
    maintenance = said.get("maintenance")
    priority = said.get("priority")
    return Overridden(
        detour=cast(Detour, cache) if cache in ("stale_only", "archive_only") else "",
        bypass=cache == "bypass",
        fault=_fault(said.get("fault")),
        maintenance=None if maintenance is None else _maintenance(maintenance, folder),
        priority=ROUTES.get(str(priority.value)) if priority is not None else None,
        forced=_forced(said.get("breaker")),
    )


def hold(upstreams: Iterable[Upstream], overrides: Overrides) -> None:
    """Drain, and force breakers, as *overrides* say; what they no longer say is taken back."""
    drained: dict[str, list[str]] = {}
    for one in overrides:
        if one.kind == "drain" and one.subject.startswith("endpoint:"):
            name, _, url = one.subject.removeprefix("endpoint:").partition(" ")
            drained.setdefault(name, []).append(url)
    for upstream in upstreams:
        said = overrides.upstream(upstream.name) if overrides else {}
        upstream.force(*_forced(said.get("breaker")))
        upstream.drain("drain" in said, drained.get(upstream.name, ()))


def ladder_under(fallback: Fallback, detour: Detour) -> Fallback:
    """Return *fallback* as it is walked under overrides.

    What is drained falls as what its breaker refuses. In a cache mode only copies are left, and
    the pages that stand behind them.
    """
    words, statuses = fallback.when.words, fallback.when.statuses
    stored = _STORED.get(detour)
    if stored is not None:
        pages = tuple(rung for rung in fallback.then if rung.kind == "page")
        when = Failures(words | {detour}, statuses)
        return Fallback(when=when, then=stored + pages, writes=fallback.writes)
    if "breaker" not in words:
        return fallback
    when = Failures(words | {"drained"}, statuses)
    return Fallback(when=when, then=fallback.then, writes=fallback.writes)


def _forced(override: Override | None) -> tuple[Mode, float]:
    if override is None or override.value == "auto":
        return "auto", inf
    return cast(Mode, override.value), monotonic() + override.left(time())


def _fault(override: Override | None) -> chaos.Fault | None:
    if override is None or not isinstance(override.value, Mapping):
        return None
    until = min(override.expires, override.created + chaos.LONGEST)
    try:
        return chaos.ordered(override.value, until)
    except chaos.MalformedFault as problem:
        _events.warning("fault.refused", extra={"fields": {"id": override.id, "why": str(problem)}})
        return None


def _maintenance(override: Override, folder: Path) -> Maintenance:
    page = b""
    if isinstance(override.value, Mapping):
        try:
            page = page_file(folder, str(override.value.get("page", ""))).read_bytes()[:_MOST_PAGE]
        except OSError as problem:
            fields = {"id": override.id, "why": str(problem)}
            _events.warning("maintenance.no_page", extra={"fields": fields})
    return Maintenance(page=page, until=override.expires)


def page_file(folder: Path, name: str) -> Path:
    """Return the page *name* inside *folder*; raises OSError where it lies elsewhere.

    An operator may choose among the site's pages, not publish any file of the machine, nor what
    else lies there.
    """
    path = (folder / name).resolve()
    if not is_page(path.name):
        raise FileNotFoundError(f"{name}: no page, whose name ends in .html")
    if not path.is_relative_to(folder.resolve()):
        raise FileNotFoundError(f"{name}: outside of {folder}")
    return path
