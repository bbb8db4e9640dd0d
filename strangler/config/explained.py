# SPDX-License-Identifier: Apache-2.0
"""What becomes of a request under a snapshot: which route takes it and why, who answers, what is
sent. Nothing is sent; secrets are masked.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, urlsplit

from strangler.config.inline import sent_target, target_name
from strangler.config.snapshot import Endpoint, Route, Snapshot, Upstream
from strangler.errors import StranglerError
from strangler.rollout import Override, Overrides, Stage, bucket, canary_salt, decide, sticky
from strangler.rollout.arm import ARM_COOKIE, forced
from strangler.rollout.override import scope_of, spoken
from strangler.routing import Explanation, Match
from strangler.units import show_percent
from strangler.wire.head import TOKEN, RequestHead
from strangler.wire.request import NOT_SERVED, Edits, Via, compose, reader_lines

_NONE: Final = Overrides()
_SENDABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
"""All that may stand in a request's target as it is."""


class NoRequest(Exception):
    """What was given is no request; the text says why."""


def read_request(
    snapshot: Snapshot, method: str, url: str, fields: Iterable[str], client: str
) -> tuple[RequestHead, str]:
    """Return the request that was typed, and its scheme; raise NoRequest.

    Args:
        snapshot: says whose host it is where the URL names none.
        method: as on the request line.
        url: a path with query, or a whole URL.
        fields: header fields, each `NAME: VALUE`.
        client: the reader's address.
    """
    scheme, authority, target = "http", "", url
    try:
        if "://" in url:
            parts = urlsplit(url)
            scheme, authority = parts.scheme.lower(), parts.netloc
            target = url.split("://", 1)[1].removeprefix(authority)
            if not target.startswith("/"):
                target = "/" + target
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise NoRequest(f"expected an http or https URL, got {url}")
    if "://" not in url and not url.startswith("/") and url != "*":
        raise NoRequest(f"expected a path or a URL, got {url}; write /{url}")
    if "://" in url and not authority:
        raise NoRequest(f"expected a URL with a host, got {url}")
    if not TOKEN.fullmatch(method.encode("utf-8", "replace")):
        raise NoRequest(f"expected a method such as GET, got {method}")
    target = target.partition("#")[0]  # what follows is the browser's own
    sendable = quote(target, safe=_SENDABLE, errors="surrogateescape")
    if sendable != target:
        raise NoRequest(f"expected a path as browsers send it, got {url}; write {sendable}")
    try:
        ipaddress.ip_address(client)
    except ValueError:
        raise NoRequest(f"--from: expected an IP address, got {client}") from None
    if not authority:
        hosts = [host for host in snapshot.site.hosts if not host.startswith("*.")]
        authority = hosts[0] if hosts else "localhost"
    given = [(b"Host", authority.encode())]
    for text in fields:
        name, colon, value = text.partition(":")
        if not colon:
            raise NoRequest(f"-H: expected 'NAME: VALUE', got {text}")
        if name.strip().lower() == "host":
            given[0] = (b"Host", value.strip().encode())
        else:
            given.append((name.strip().encode(), value.strip().encode()))
    try:
        return RequestHead.build(method.encode(), target.encode(), given), scheme
    except (StranglerError, UnicodeEncodeError) as error:
        detail = error.detail if isinstance(error, StranglerError) else "not Unicode"
        raise NoRequest(f"the edge refuses this request: {detail}") from None


def explain_request(
    snapshot: Snapshot,
    head: RequestHead,
    client: str,
    scheme: str,
    overrides: Overrides = _NONE,
    arm_key: bytes = b"",
) -> tuple[Explanation, dict[str, Any] | None]:
    """Return why a route won, and what happens on it: None where none takes the request.

    Args:
        snapshot: the configuration.
        head: the request.
        client: the reader's address.
        scheme: http or https, as the reader came.
        overrides: what operators have chosen over the file.
        arm_key: what testers' cookies are signed with; empty: none is known.

    Raises NoRequest for what the edge answers itself: a host that isn't the site's, a method that
    it doesn't serve.
    """
    host = head.host.decode(errors="replace")
    if not snapshot.site.serves(host):
        raise NoRequest(f"host {host} is none of site.hosts: the edge answers 421")
    if head.method in NOT_SERVED:
        raise NoRequest(f"{head.method.decode()} is not served: the edge answers 405")
    explanation = snapshot.table.explain(head)
    if explanation.winner is None:
        return explanation, None
    match = snapshot.table.match(head)
    if match is None:
        return explanation, None
    return explanation, _tell(snapshot, match, head, client, scheme, overrides, arm_key)


def _tell(
    snapshot: Snapshot,
    match: Match[Route],
    head: RequestHead,
    client: str,
    scheme: str,
    overrides: Overrides,
    arm_key: bytes,
) -> dict[str, Any]:
    """Return what happens on the route that won."""
    route = match.value
    told: dict[str, Any] = {
        "route": {"key": route.key, "place": str(route.place), "to": target_name(route)}
    }
    in_force = list(_about(route, overrides))
    if in_force:
        told["overrides"] = [one.json() for one in in_force]
    if any(one.kind == "maintenance" for one in in_force):
        told["answer"] = {"status": 503, "why": "maintenance"}
        return told
    if route.action == "redirect" and route.redirect is not None:
        location = route.redirect.target(match.params, head.query)
        told["answer"] = {
            "status": route.redirect.status,
            "location": location.decode(errors="replace"),
        }
        return told
    if route.action != "proxy":
        told["answer"] = {"status": route.gone or (route.page.status if route.page else 200)}
        return told
    stage = overrides.stage(route.key, route.stage)
    if route.cannot_be(stage):
        stage = route.stage
    decision, why = _decide(route, head, client, stage, arm_key)
    told["decision"] = {"stage": str(stage), "target": decision, "why": why}
    share = stage.sample if stage.word == "shadow" else route.compare.share
    if (
        share
        and stage.word in ("shadow", "canary", "live")
        and route.upstream is not None
        and route.legacy is not None
        and head.method in (b"GET", b"HEAD", b"OPTIONS")
        and "shadows" not in overrides.site
    ):
        other = route.legacy if decision == "service" else route.upstream
        told["copies"] = {"to": other, "share": show_percent(share / 100)}
    name = route.upstream if decision == "service" else route.legacy
    upstream = snapshot.upstreams.get(name or "")
    if upstream is not None:
        to_service = decision == "service"
        endpoint = upstream.endpoints[0]
        told["sends"] = {
            "upstream": upstream.name,
            "endpoints": [one.url for one in upstream.endpoints],
            "head": _sent(snapshot, match, head, upstream, endpoint, to_service, client, scheme),
        }
    return told


def _about(route: Route, overrides: Overrides) -> Iterator[Override]:
    """Yield what operators have chosen of the route, its upstreams, their endpoints, the site."""
    upstreams = {name for name in (route.upstream, route.legacy) if name}
    for one in overrides:
        scope, name = scope_of(one.subject)
        if (
            scope == "site"
            or (scope == "route" and name == route.key)
            or (scope in ("upstream", "endpoint") and name.partition(" ")[0] in upstreams)
        ):
            yield one


def _decide(
    route: Route, head: RequestHead, client: str, stage: Stage, arm_key: bytes
) -> tuple[str, str]:
    """Return who answers by the stage, and why in words."""
    if stage.word != "canary":
        decision = decide(stage, None)
        return decision.target, f"the stage is {stage}"
    salt = canary_salt(route.canary.salted_by(route.key))
    arm = forced(arm_key, salt, head.cookie(ARM_COOKIE) or b"", time.time())
    if arm is not None:
        return arm, "a tester's cookie says so"
    by = route.canary.by
    key = sticky(by, head, client.encode())
    share = f"buckets below {stage.share} of 10000 get the service"
    if key is None:
        return "legacy", f"{share}; who has none yet gets a cookie, and so a bucket"
    number = bucket(key, salt)
    return decide(stage, number).target, f"bucket {number}; {share}"


def _sent(
    snapshot: Snapshot,
    match: Match[Route],
    head: RequestHead,
    upstream: Upstream,
    endpoint: Endpoint,
    to_service: bool,
    client: str,
    scheme: str,
) -> list[str]:
    """Return the lines of the head that the upstream would see; secrets are masked."""
    route = match.value
    chosen = to_service or route.upstream is None
    edits = route.headers.request
    shown = [(name, b"..." if name.lower() in edits.secret else v) for name, v in edits.set]
    if upstream.oauth2 is not None:
        shown.append((b"Authorization", b"Bearer ..."))
    trusted = any(ipaddress.ip_address(client) in n for n in snapshot.site.trust_forwarded_from)
    reader = reader_lines(
        head,
        peer=client,
        scheme=scheme.encode(),
        trusted=trusted,
        via=Via.of(f"{snapshot.site.name}-...".encode()),  # then the running instance's mark
    )
    request = compose(
        head,
        target=sent_target(route, head, match.params) if chosen else head.rest,
        host_mode=route.host_mode if chosen else "keep",
        trusted=trusted,
        reader=reader + b"...",
        edits=Edits(edits.remove, shown),
    )
    sent = request.head(endpoint.host_field, endpoint.prefix)
    return sent.decode(errors="replace").removesuffix("\r\n\r\n").split("\r\n")


def lines(explanation: Explanation, told: dict[str, Any]) -> list[str]:
    """Return the explanation for people."""
    said = [f"{explanation.method} {explanation.host}{explanation.path}"]
    if explanation.reading != explanation.path:
        said.append(f"  read as    {explanation.reading}")
    for candidate in explanation.candidates:
        mark = "*" if explanation.winner == candidate else " "
        said.append(f"  {mark} {candidate.key}  ({candidate.place})")
        said.append(f"      {candidate.why}")
    said.append(f"  why        {explanation.reason}")
    for name, value in explanation.params.items():
        said.append(f"  {{{name}}}  {value}")
    for one in told.get("overrides", ()):
        said.append(f"  override   {one['kind']} of {one['subject']} is {spoken(one['value'])}")
        said.append(f"             {one['author']}: {one['reason']}")
    if "answer" in told:
        said.append(f"  answers    {' '.join(str(part) for part in told['answer'].values())}")
    if "decision" in told:
        decision = told["decision"]
        said.append(f"  stage      {decision['stage']}: {decision['target']} answers")
        said.append(f"             {decision['why']}")
    if "copies" in told:
        copies = told["copies"]
        said.append(f"  copies     {copies['share']} of such requests, unseen, to {copies['to']}")
    if "sends" in told:
        sends = told["sends"]
        said.append(f"  sends to   {sends['upstream']} at {', '.join(sends['endpoints'])}")
        said += [f"    {line}" for line in sends["head"]]
    return said
