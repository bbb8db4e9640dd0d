# SPDX-License-Identifier: Apache-2.0
"""What an exchange asks its upstream: its request composed, or taken from the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from strangler.exchange.fetching.traced import request_of
from strangler.exchange.plan import Plan
from strangler.upstream import Upstream
from strangler.wire.head import PARSED_BYTES, RequestFields
from strangler.wire.request import Request, Via, compose, reader_lines

if TYPE_CHECKING:
    from strangler.exchange.exchange import Exchange


class Composed(NamedTuple):
    """What an upstream request was composed of, and made to: its fields and who the reader is.

    ``block`` belongs to all who send the same fields, so it costs an idle connection nothing.
    """

    fields: RequestFields
    plan: Plan
    upstream: Upstream
    via: Via
    block: bytes
    host_line: bytes | None
    authority: bytes
    version: int
    reader: bytes


def request(exchange: Exchange, upstream: Upstream) -> Request:
    """Return the upstream request for *upstream*.

    A reader's requests on one connection mostly differ in their target alone: what was
    composed for the one before is kept with the connection.
    """
    head = exchange._head
    fields = head.fields
    connection = exchange._connection
    plan = exchange._plan
    via = exchange._edge.via
    made: Composed | None = connection.told
    if (
        made is not None
        and made.fields is fields
        and made.plan is plan
        and made.upstream is upstream
        and made.via is via
        and head.authority is fields.authority
        and made.version == head.version
        and not exchange._trusted
    ):
        reader = made.reader + exchange.id.encode()
        again = Request(head.method, head.rest, made.block, made.host_line, None, False, reader)
        return again if exchange.trace is None else request_of(exchange, again)
    route = plan.route
    chosen = upstream is plan.target
    target = head.rest
    if route.rewrite is not None and chosen:
        target = route.rewrite.apply(head.path, exchange._match.params)
        if head.query or head.rest.endswith(b"?"):
            target += b"?" + head.query
    # With a body or an upgrade, lines come after the id.
    alike = (
        fields.plain
        and fields.length is None
        and head.authority is fields.authority
        and not exchange._trusted
    )
    if (
        alike
        and made is not None
        and made.via is via
        and made.authority == head.authority
        and made.version == head.version
    ):
        reader = made.reader
    else:
        reader = reader_lines(
            head, peer=connection.peer, scheme=exchange.scheme, trusted=exchange._trusted, via=via
        )
    id_ = exchange.id.encode()
    request = compose(
        head,
        target=target,
        host_mode=route.host_mode if chosen else "keep",
        trusted=exchange._trusted,
        reader=b"" if alike else reader + id_,
        edits=plan.request_edits,
    )
    if not alike:
        return request if exchange.trace is None else request_of(exchange, request)
    host_line = request.host_line
    # A long block is parsed anew each time, so it is never found the same: and ten thousand idle
    # connections must not hold on to theirs.
    if (route.rewrite is None or not chosen) and len(fields.raw) <= PARSED_BYTES:
        connection.told = Composed(
            fields, plan, upstream, via, request.block, host_line,
            head.authority, head.version, reader,
        )  # fmt: skip
    request = Request(head.method, target, request.block, host_line, None, False, reader + id_)
    return request if exchange.trace is None else request_of(exchange, request)
