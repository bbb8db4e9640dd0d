# SPDX-License-Identifier: Apache-2.0
"""What becomes of a request under a snapshot: which route takes it and why, who answers, what is
sent. Nothing is sent; secrets are masked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from strangler.config.inline import sent_target, target_name
from strangler.config.snapshot import Endpoint, Route, Snapshot, Upstream
from strangler.errors import StranglerError
from strangler.rollout import Stage, bucket, canary_salt, decide, sticky
from strangler.routing import Explanation, Match
from strangler.wire.head import RequestHead
from strangler.wire.request import Edits, Via, compose, reader_lines


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
            target = url.split("://", 1)[1].removeprefix(authority).partition("#")[0]
            if not target.startswith("/"):
                target = "/" + target
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise NoRequest(f"expected an http or https URL, got {url}")
    if "://" not in url and not url.startswith("/") and url != "*":
        raise NoRequest(f"expected a path or a URL, got {url}; write /{url}")
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
    stage: Callable[[Route], Stage] = lambda route: route.stage,
) -> tuple[Explanation, dict[str, Any] | None]:
    """Return why a route won, and what happens on it: None where none takes the request.

    Args:
        snapshot: the configuration.
        head: the request.
        client: the reader's address.
        scheme: http or https, as the reader came.
        stage: what the effective stage of a route is, where it may not be the file's.

    Raises NoRequest for a host that isn't the site's.
    """
    host = head.host.decode(errors="replace")
    if not snapshot.site.serves(host):
        raise NoRequest(f"host {host} is none of site.hosts: the edge answers 421")
    explanation = snapshot.table.explain(head)
    if explanation.winner is None:
        return explanation, None
    match = snapshot.table.match(head)
    if match is None:
        return explanation, None
    return explanation, _tell(snapshot, match, head, client, scheme, stage(match.value))


def _tell(
    snapshot: Snapshot,
    match: Match[Route],
    head: RequestHead,
    client: str,
    scheme: str,
    stage: Stage,
) -> dict[str, Any]:
    """Return what happens on the route that won."""
    route = match.value
    told: dict[str, Any] = {
        "route": {"key": route.key, "place": str(route.place), "to": target_name(route)}
    }
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
    decision, why = _decide(route, head, client, stage)
    told["decision"] = {"stage": str(stage), "target": decision, "why": why}
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


def _decide(route: Route, head: RequestHead, client: str, stage: Stage) -> tuple[str, str]:
    """Return who answers by the stage, and why in words."""
    if stage.word != "canary":
        decision = decide(stage, None)
        return decision.target, f"the stage is {stage}"
    by = route.canary.by
    key = sticky(by, head, client.encode())
    share = f"buckets below {stage.share} of 10000 get the service"
    if key is None:
        return "legacy", f"{share}; a reader without {by} gets a cookie, and so a bucket"
    number = bucket(key, canary_salt(route.canary.salted_by(route.key)))
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
        via=Via.of(snapshot.site.name.encode()),
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
    if "answer" in told:
        said.append(f"  answers    {' '.join(str(part) for part in told['answer'].values())}")
    if "decision" in told:
        decision = told["decision"]
        said.append(f"  stage      {decision['stage']}: {decision['target']} answers")
        said.append(f"             {decision['why']}")
    if "sends" in told:
        sends = told["sends"]
        said.append(f"  sends to   {sends['upstream']} at {', '.join(sends['endpoints'])}")
        said += [f"    {line}" for line in sends["head"]]
    return said
