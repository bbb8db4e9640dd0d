# SPDX-License-Identifier: Apache-2.0
"""The tests that stand beside routes: questions asked of the table, with no server running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from strangler.config.diagnostics import Diagnostic
from strangler.config.kinds import printable
from strangler.config.snapshot import Route, RouteTest, Snapshot
from strangler.errors import StranglerError
from strangler.routing import AmbiguousPath
from strangler.wire.head import RequestHead


def run_tests(snapshot: Snapshot) -> Iterator[Diagnostic]:
    """Yield one diagnostic for each expectation that does not hold, in order of the file."""
    for route in snapshot.routes:
        for number, test in enumerate(route.tests):
            question = f"{test.method.decode()} {printable(test.target.decode())}"
            for message, hint in _ask(snapshot, test):
                yield Diagnostic(
                    place=test.place,
                    code="S307",
                    path=f"routes.{printable(route.key)}.tests[{number}]",
                    message=f"{question}: {message}",
                    hint=hint,
                )


def _ask(snapshot: Snapshot, test: RouteTest) -> Iterator[tuple[str, str | None]]:
    host = (b"Host", test.host or b"localhost")
    try:
        head = RequestHead.build(test.method, test.target, [host, *test.fields])
        match = snapshot.table.match(head)
    except AmbiguousPath as error:
        yield f"the edge refuses this path: {error}", None
        return
    except StranglerError as error:
        yield f"the edge refuses this request: {error.detail}", None
        return
    if match is None:
        yield "no route takes it", "add a catch-all: /**: legacy"
        return
    route = match.value
    hint = f"{printable(route.key)} at {route.place} takes it"
    target = target_name(route)
    if test.goes_to is not None and test.goes_to != target:
        yield f"expected {test.goes_to}, got {target}", hint
    if test.route is not None and test.route != route.key:
        yield f"expected route {test.route}, got {printable(route.key)}", hint
    status = route.redirect.status if route.redirect else route.gone
    status = route.page.status if route.page else status
    if test.status is not None and test.status != status:
        got = "what the upstream says" if status is None else str(status)
        yield f"expected status {test.status}, got {got}", hint
    location = None
    if route.redirect is not None:
        location = route.redirect.target(match.params, head.query).decode(errors="replace")
    if test.location is not None and test.location != location:
        yield f"expected location {test.location}, got {location or 'none'}", hint
    if test.sends is not None:
        sent = None
        if route.action == "proxy":
            sent = sent_target(route, head, match.params).decode(errors="replace")
        if test.sends != sent:
            yield f"expected to send {test.sends}, got {sent or 'nothing'}", hint


def target_name(route: Route) -> str:
    """Return whom a route goes to, its stage apart: an upstream, redirect, gone or page."""
    if route.action != "proxy":
        return route.action
    return route.upstream or route.legacy or ""


def sent_target(route: Route, head: RequestHead, params: Mapping[str, bytes]) -> bytes:
    """Return the path with query that the route's upstream sees, without the endpoint's prefix."""
    path = head.path if route.rewrite is None else route.rewrite.apply(head.path, params)
    return path + b"?" + head.query if head.query else path
