# SPDX-License-Identifier: Apache-2.0
"""Judge one piece of hostile input by what the origin and the client saw of it.

Three questions, as in any audit of a proxy: *hygiene* (were bytes forwarded that a MUST forbids),
*desync* (could two readers disagree where a message ends: the origin must see exactly the
requests that were meant, and a request that follows on the same connection must get its own
answer), *interop* (was something valid refused).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from strangler.testing.client import RawClient
from strangler.testing.edge import Edge, until
from strangler.testing.messages import (
    Closed,
    Request,
    Response,
    Truncated,
    Violation,
    _text,
    build,
)
from strangler.testing.origin import Connection, RawUpstream

Outcome = Literal["reject", "clean", "valid"]
Check = Callable[[Request], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One input and the one outcome that is right.

    Attributes:
        id: names the case in test reports.
        sent: the bytes.
        outcome: *reject*: answered with one of *status* (empty: any 4xx or 5xx, or closed without
            an answer) and nothing forwarded. *clean*: rejected likewise, or forwarded so that
            *check* holds. *valid*: must be forwarded, *check* must hold, answered 200.
        status: of a rejection.
        check: raises AssertionError where a request, as the origin saw it, is not as it should be.
        requests: how many requests *sent* holds in the right reading, 0: answered by the edge.
        rfc: where the rule stands.
        methods: method of each request, for the framing of the answers.
    """

    id: str
    sent: bytes
    outcome: Outcome
    status: tuple[int, ...] = ()
    check: Check | None = None
    requests: int = 1
    rfc: str = ""
    methods: tuple[str, ...] = ("GET",)


def reject(id: str, sent: bytes, *status: int, rfc: str, **more: Any) -> Vector:
    """Return a vector that must be refused, with one of *status* if any is given."""
    return Vector(id=id, sent=sent, outcome="reject", status=status, rfc=rfc, **more)


def clean(
    id: str, sent: bytes, *status: int, rfc: str, check: Check | None = None, **more: Any
) -> Vector:
    """Return a vector that may be refused, or else forwarded so that *check* holds."""
    return Vector(id=id, sent=sent, outcome="clean", status=status, rfc=rfc, check=check, **more)


def valid(id: str, sent: bytes, *, rfc: str, check: Check | None = None, **more: Any) -> Vector:
    """Return a vector that must be served."""
    return Vector(id=id, sent=sent, outcome="valid", rfc=rfc, check=check, **more)


# -- checks of a forwarded request


def every(*checks: Check) -> Check:
    """Return a check that all of *checks* hold."""

    def check(request: Request) -> None:
        for each in checks:
            each(request)

    return check


def has(name: str, *values: str | bytes) -> Check:
    """Return a check that field *name* has exactly these lines, in this order."""
    wanted = [_text(value) for value in values]

    def check(request: Request) -> None:
        got = request.all(name)
        assert got == wanted, f"{name}: expected {wanted}, got {got}"

    return check


def lacks(*names: str) -> Check:
    """Return a check that none of these fields was forwarded, nor as a trailer."""
    unwanted = {name.lower().encode() for name in names}

    def check(request: Request) -> None:
        found = [pair for pair in request.fields + request.trailers if pair[0].lower() in unwanted]
        assert not found, f"forwarded: {found}"

    return check


def keeps(*names: str) -> Check:
    """Return a check that each of these fields was forwarded."""

    def check(request: Request) -> None:
        missing = [name for name in names if name not in request]
        assert not missing, f"missing at the origin: {missing} in {request.head!r}"

    return check


def content(body: bytes) -> Check:
    """Return a check of the whole content."""

    def check(request: Request) -> None:
        assert bytes(request.body) == body, f"content: expected {body!r}, got {request.body!r}"

    return check


def line(method: str, target: str | bytes) -> Check:
    """Return a check of method and target."""

    def check(request: Request) -> None:
        got = (request.method, request.target)
        assert got == (_text(method), _text(target)), f"expected {method} {target!r}, got {got}"

    return check


@dataclass(slots=True)
class _Seen:
    """What a judged input led to, for the report."""

    vector: Vector
    responses: list[Response]
    end: str
    origin: bytes

    def report(self, fault: str) -> str:
        vector = self.vector
        answers = [(each.status, dict(each.fields), each.text[:120]) for each in self.responses]
        return (
            f"{fault}\n  vector:   {vector.id} ({vector.outcome} {vector.status or ''})"
            f"\n  sent:     {vector.sent[:600]!r}\n  origin:   {self.origin[:900]!r}"
            f"\n  client:   {answers} then {self.end}\n  expected: RFC {vector.rfc}"
        )


def judge(vector: Vector, edge: Edge, origin: RawUpstream, *, timeout: float = 40.0) -> None:
    """Send *vector* to *edge*, with *origin* behind it, and assert on what came of it.

    The origin must answer every request with a 200. A probe follows: on the same connection if
    it is still open, else on a new one, so that whatever was forwarded has arrived.
    """
    before = len(origin.requests)
    faults = len(origin.violations)
    marks = [(each, len(each.received)) for each in origin.connections]
    with edge.client(timeout=timeout) as client:
        client.send(vector.sent)
        responses, end = _read(client, vector)
        probe = f"/probe-{vector.id.encode().hex()}"
        probed = _probe(client, probe) if end == "open" else None
    if probed is None:
        edge.get(probe).expect(200)
    _read_all(origin)
    requests = list(origin.requests[before:])
    received = b"".join(bytes(each.received[start:]) for each, start in marks)
    received += b"".join(bytes(each.received) for each in origin.connections[len(marks) :])
    seen = _Seen(vector, responses, end, received)
    try:
        malformed = origin.violations[faults:]
        assert not malformed, f"the origin read a malformed request: {malformed}"
        _verdict(vector, responses, end, probed, requests, probe)
    except AssertionError as fault:
        raise AssertionError(seen.report(str(fault))) from None


def _read_all(origin: RawUpstream) -> None:
    """Wait until *origin* has read what was forwarded, each connection of it in its own thread.

    A request that the edge has cut is read late on a busy machine, and would count as the next
    input's.
    """

    def read(each: Connection) -> bool:
        whole = bool(each.requests) and all(request.complete for request in each.requests)
        return each.gone.is_set() or whole

    def is_last(each: Connection) -> bool:
        with contextlib.suppress(OSError):  # closed meanwhile
            return bool(each.sock.getpeername() == last.getsockname())
        return False

    with socket.create_connection((origin.host, origin.port)) as last:
        # They are accepted in turn: whoever came before has its thread when this one has.
        until(lambda: any(map(is_last, list(origin.connections))), what="the origin to accept")
    until(lambda: all(map(read, list(origin.connections))), what="the origin to read all")


def _read(client: RawClient, vector: Vector) -> tuple[list[Response], str]:
    """Read the answers that are due; return them and the state of the connection after them."""
    responses: list[Response] = []
    try:
        for number in range(max(1, vector.requests)):
            method = vector.methods[min(number, len(vector.methods) - 1)]
            responses.append(client.read(method))
            if b"close" in responses[-1].tokens("connection") or responses[-1].status == 101:
                return responses, "close announced"
    except Closed as fault:
        return responses, str(fault)
    except Truncated as fault:
        return responses, f"truncated {fault.partial!r}"
    except Violation as fault:
        return responses, f"violation: {fault}"
    except TimeoutError:
        return responses, "silence"
    return responses, "open"


def _probe(client: RawClient, path: str) -> Response | str:
    """Ask for *path* on the same connection; return the answer, or how it failed."""
    client.send(build("GET", path))
    try:
        return client.read()
    except Closed:
        return "closed"
    except TimeoutError:
        return "no answer"
    except AssertionError as fault:
        return str(fault)


def _verdict(
    vector: Vector,
    responses: list[Response],
    end: str,
    probed: Response | str | None,
    requests: list[Request],
    probe: str,
) -> None:
    assert end != "silence", "no answer within the time limit"
    assert not end.startswith(("violation", "truncated")), f"the client could not read: {end}"
    forwarded = [each for each in requests if each.path != probe.encode()]
    rejected = bool(responses) and responses[-1].status >= 400
    for response in responses:
        assert not response.violations, response.violations
    if isinstance(probed, Response):
        assert probed.status == 200, f"desync: the probe was answered with {probed!r}"
        assert len(requests) - len(forwarded) == 1, "desync: the origin saw no single probe"
    elif probed == "closed":
        # It races with the client's next request, so RFC 9112 9.6 asks for the option.
        raise AssertionError("closed behind an answer without Connection: close")
    elif probed is not None:
        raise AssertionError(f"desync: the probe on the same connection: {probed}")
    if vector.outcome == "reject":
        _rejection(vector, responses, end, forwarded)
        return
    if vector.outcome == "clean" and (rejected or not responses):
        _rejection(vector, responses, end, forwarded)
        return
    answers = [each.status for each in responses]
    assert answers and all(status == 200 for status in answers), f"refused: {answers}, {end}"
    assert len(forwarded) == vector.requests, (
        f"desync: expected {vector.requests} requests at the origin, got {forwarded}"
    )
    if vector.check is not None:
        for request in forwarded:
            assert request.complete, f"forwarded incomplete: {request!r}"
            vector.check(request)


def _rejection(
    vector: Vector, responses: list[Response], end: str, forwarded: list[Request]
) -> None:
    due = max(1, vector.requests) - 1  # those before the bad one may pass
    whole = [each for each in forwarded if each.complete]
    assert len(forwarded) <= due or not whole[due:], f"forwarded: {[bytes(r.raw) for r in whole]}"
    if not responses:
        assert not vector.status, f"expected {vector.status}, got no answer but: {end}"
        return
    last = responses[-1]
    if vector.status:
        assert last.status in vector.status, f"expected {vector.status}, got {last.status}"
    else:
        assert 400 <= last.status < 600, f"expected a refusal, got {last.status}"
