# SPDX-License-Identifier: Apache-2.0
"""`strangler explain`: which route takes a request, why, who answers and what would be sent."""

from __future__ import annotations

import argparse
import ipaddress
from typing import Any
from urllib.parse import urlsplit

from strangler.cli.output import add_config, answer, complain, load_or_say
from strangler.config import Endpoint, Route, Snapshot, Upstream
from strangler.config.inline import sent_target, target_name
from strangler.errors import StranglerError
from strangler.rollout import bucket, canary_salt, decide, sticky
from strangler.routing import Explanation, Match
from strangler.wire.head import RequestHead
from strangler.wire.request import Edits, Via, compose, reader_lines


def add_commands(commands: Any) -> None:
    """Add explain."""
    one = commands.add_parser(
        "explain",
        help="say which route takes a request, and why",
        description="Say which routes a request could take, which one wins and why, who answers "
        "by its stage, and what would be sent. Nothing is sent. Exit 1: no route takes it.",
    )
    one.add_argument("method", metavar="METHOD", help="for example GET")
    one.add_argument("url", metavar="URL", help="a path with query, or a whole URL")
    one.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header field; may be repeated",
    )
    one.add_argument(
        "--from",
        dest="client",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the client's address; default: 127.0.0.1",
    )
    add_config(one)
    one.set_defaults(run=run_explain)


class _Refused(Exception):
    """What was typed is no request."""


def run_explain(given: argparse.Namespace) -> int:
    """Explain one request; return 1 if no route takes it, 2 if it is no request."""
    snapshot = load_or_say(given)
    if isinstance(snapshot, int):
        return snapshot
    try:
        head, scheme = _request(given, snapshot)
    except _Refused as refused:
        if given.json:
            answer({}, [{"message": str(refused)}])
        else:
            complain(str(refused))
        return 2
    host = head.host.decode(errors="replace")
    if not snapshot.site.serves(host):
        message = f"host {host} is none of site.hosts: the edge answers 421"
        if given.json:
            answer({}, [{"message": message}])
        else:
            complain(message)
        return 1
    explanation = snapshot.table.explain(head)
    told: dict[str, Any] = {"explanation": explanation.as_dict()}
    match = None if explanation.winner is None else snapshot.table.match(head)
    if match is not None:
        told |= _tell(snapshot, match, head, given.client, scheme)
    if given.json:
        errors = [] if match is not None else [{"message": explanation.reason}]
        answer(told, errors)
    else:
        print("\n".join(_lines(explanation, told)))
    return 0 if match is not None else 1


def _request(given: argparse.Namespace, snapshot: Snapshot) -> tuple[RequestHead, str]:
    """Return the request that was typed, and its scheme."""
    url = given.url
    scheme, authority, target = "http", "", url
    if "://" in url:
        parts = urlsplit(url)
        scheme, authority = parts.scheme.lower(), parts.netloc
        target = url.split("://", 1)[1].removeprefix(authority).partition("#")[0]
        if not target.startswith("/"):
            target = "/" + target
        if scheme not in ("http", "https"):
            raise _Refused(f"expected an http or https URL, got {url}")
    elif not url.startswith("/") and url != "*":
        raise _Refused(f"expected a path or a URL, got {url}; write /{url}")
    try:
        ipaddress.ip_address(given.client)
    except ValueError:
        raise _Refused(f"--from: expected an IP address, got {given.client}") from None
    if not authority:
        hosts = [host for host in snapshot.site.hosts if not host.startswith("*.")]
        authority = hosts[0] if hosts else "localhost"
    fields = [(b"Host", authority.encode())]
    for text in given.header:
        name, colon, value = text.partition(":")
        if not colon:
            raise _Refused(f"-H: expected 'NAME: VALUE', got {text}")
        if name.strip().lower() == "host":
            fields[0] = (b"Host", value.strip().encode())
        else:
            fields.append((name.strip().encode(), value.strip().encode()))
    try:
        return RequestHead.build(given.method.encode(), target.encode(), fields), scheme
    except StranglerError as error:
        raise _Refused(f"the edge refuses this request: {error.detail}") from None


def _tell(
    snapshot: Snapshot, match: Match[Route], head: RequestHead, client: str, scheme: str
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
    decision, why = _decide(route, head, client)
    told["decision"] = {"stage": str(route.stage), "target": decision, "why": why}
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


def _decide(route: Route, head: RequestHead, client: str) -> tuple[str, str]:
    """Return who answers by the stage, and why in words."""
    if route.stage.word != "canary":
        decision = decide(route.stage, None)
        return decision.target, f"the stage is {route.stage}"
    by = route.canary.by
    key = sticky(by, head, client.encode())
    share = f"buckets below {route.stage.share} of 10000 get the service"
    if key is None:
        return "legacy", f"{share}; a reader without {by} gets a cookie, and so a bucket"
    number = bucket(key, canary_salt(route.canary.salted_by(route.key)))
    return decide(route.stage, number).target, f"bucket {number}; {share}"


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


def _lines(explanation: Explanation, told: dict[str, Any]) -> list[str]:
    """Return the explanation for people."""
    lines = [f"{explanation.method} {explanation.host}{explanation.path}"]
    if explanation.reading != explanation.path:
        lines.append(f"  read as    {explanation.reading}")
    for candidate in explanation.candidates:
        mark = "*" if explanation.winner == candidate else " "
        lines.append(f"  {mark} {candidate.key}  ({candidate.place})")
        lines.append(f"      {candidate.why}")
    lines.append(f"  why        {explanation.reason}")
    for name, value in explanation.params.items():
        lines.append(f"  {{{name}}}  {value}")
    if "answer" in told:
        lines.append(f"  answers    {' '.join(str(part) for part in told['answer'].values())}")
    if "decision" in told:
        decision = told["decision"]
        lines.append(f"  stage      {decision['stage']}: {decision['target']} answers")
        lines.append(f"             {decision['why']}")
    if "sends" in told:
        sends = told["sends"]
        lines.append(f"  sends to   {sends['upstream']} at {', '.join(sends['endpoints'])}")
        lines += [f"    {line}" for line in sends["head"]]
    return lines
