# SPDX-License-Identifier: Apache-2.0
"""What operators ask of one worker's cache: purge, refresh, look, count.

An order comes from the control process, an answer goes back to it; both are JSON and small. A
purge is two orders: one worker writes it into the stores that all share (`purge`), then every
worker takes it into its own memory (`forget`). In that order, or a copy could climb from a store
that has not been purged into a memory that has been.

What a worker has purged by itself, for a reader's write, the others `heed`; it hears when that is
`heeded`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from strangler.cache.freshness import stay, usable_until
from strangler.cache.storable import bypass
from strangler.cache.stored import Stored
from strangler.cache.tiers.purges import Purge
from strangler.cache.vary import select
from strangler.errors import RequestRejected
from strangler.exchange.caching.refreshing import Refreshing, refreshing
from strangler.exchange.plan import Plan, View
from strangler.rollout import bucket, decide, sticky
from strangler.routing import AmbiguousPath
from strangler.wire.head import RequestHead

if TYPE_CHECKING:
    from strangler.exchange.edge import Edge

#: Seconds that a worker looks for the end of a purge log that another has written.
_REACH: Final = 1.0
#: Seconds that a refresh waits for its upstream, and then for the stores to have taken it.
_FETCHED: Final = 10.0
_KEPT: Final = 0.5
#: Bytes of an answer's JSON; a channel takes no more than 64 KiB.
MOST_BYTES: Final = 48 << 10
_MOST_VARIANTS: Final = 32
_MOST_TAGS: Final = 50
_URL: Final = re.compile(r"(?i)(?:(https?):)?(?://([^/?#\s]+))?(/[^#]*|\?[^#]*)?(?:#.*)?")
#: What stands in a URL as it is; the rest is escaped as a browser does.
_SAFE: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


class Refused(Exception):
    """An order makes no sense; the text is for who gave it."""


class Desk:
    """Takes orders for *edge*."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def answer(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one order; what makes no sense is answered with `refused`."""
        try:
            match order.get("do"):
                case "purge":
                    return await self._purge(self._meant(order))
                case "forget":
                    return await self._forget(self._meant(order), order.get("known", {}))
                case "heed":
                    labels = tuple([label.encode("latin-1") for label in order["labels"]])
                    return await self._forget(Purge(labels, order["soft"]), order["known"])
                case "heeded":
                    self._edge.neighbours.heeded(int(order["number"]))
                    return {}
                case "refresh":
                    return await self._refresh(order["values"])
                case "show":
                    return await self._show(order["url"], order.get("fields", ()))
                case "tally":
                    return self._tally(int(order.get("after", 0)))
                case "tail":
                    self._edge.tail(order)
                    return {}
                case "errors":
                    return self._errors(order.get("route"), int(order.get("after", 0)))
                case "parity":
                    return self._parity(order.get("route"), int(order.get("after", 0)))
                case "parity.reset":
                    self._edge.shadows.reset(str(order["route"]))
                    return {"reset": True}
            raise Refused(f"no such order: {order.get('do')}")
        except Refused as refused:
            return {"refused": str(refused)}

    # Purging.

    def _meant(self, order: Mapping[str, Any]) -> Purge:
        """Return the purge that *order* asks for, its URLs as they are keyed."""
        values: list[str] = order.get("values", [])
        soft = bool(order.get("soft"))
        match order.get("of"):
            case "all":
                return Purge.everything(soft=soft)
            case "tag":
                return Purge.tags(*[value.encode() for value in values], soft=soft)
            case "route":
                return Purge.routes(*[value.encode() for value in values], soft=soft)
            case "prefix":
                found = [each for value in values for each in self._prefixes(value)]
                return Purge.prefixes(*dict.fromkeys(found), soft=soft)
            case "url":
                found = [each for value in values for each in self._keyed(value)]
                return Purge.urls(*dict.fromkeys(found), soft=soft)
        raise Refused("expected url, prefix, route, tag or all")

    async def _purge(self, purge: Purge) -> dict[str, Any]:
        """Write *purge* into the stores; tell which have it, and what their logs are at then."""
        copies = self._edge.cache.copies
        done = await copies.purge(purge)
        done.pop("edge", None)
        return {"stores": done, "known": copies.followed(done)}

    async def _forget(self, purge: Purge, known: Mapping[str, int]) -> dict[str, Any]:
        """Take *purge* into this worker's memory, and in what it has seen of the stores' logs.

        Afterwards no mark of this purge is still on its way here, to hit what is fetched anew.
        """
        copies = self._edge.cache.copies
        copies.memory.purge(purge)

        async def catch_up(tier: Any) -> None:
            if tier.store.kind == "memory":  # this worker's own, whoever wrote to another's
                await tier.purge(purge)
            elif tier.name in known:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(_REACH):
                        await tier.reach(known[tier.name])

        await asyncio.gather(*map(catch_up, copies.ladder.tiers))
        return {"edge": True}

    async def _refresh(self, urls: Sequence[str]) -> dict[str, Any]:
        """Fetch *urls* anew, in the variants that are held; the old ones serve meanwhile.

        Return how many were, and the URLs of those that were not. What has been fetched is in
        the stores when this returns, or they have had their time for it.
        """
        done = 0
        failed: list[str] = []
        for url in urls:
            said = "://" in url
            for place, (scheme, authority, target) in enumerate(self._places(url)):
                head = self._head(target, [(b"Host", authority)])
                held = await self._copies_of(head, scheme)
                if not held and (place or not said):
                    continue  # nobody has asked for it by this scheme and name
                began = time.time()
                fetches = self._fetches(head, scheme, held)
                renewed = await asyncio.gather(*[each.renewed(_FETCHED) for each in fetches])
                done += sum(renewed)
                if not all(renewed):
                    failed.append(url)
                elif renewed:
                    await self._kept(head, scheme, began)
        return {"refreshed": done, "failed": failed}

    def _fetches(self, head: RequestHead, scheme: bytes, held: list[Stored]) -> list[Refreshing]:
        edge = self._edge
        try:
            match = edge.view.table.match(head)
        except AmbiguousPath as error:
            raise Refused(error.detail) from None
        plan = None if match is None else edge.view.plans[match.value]
        if match is None or plan is None or plan.cached is None:
            return []
        decisions = [plan.decision] if plan.decision is not None else []
        if not decisions:  # a canary: both sides have copies of their own
            both = [decide(plan.stage, number) for number in (0, 9999)]
            decisions = list({each.target: each for each in both}.values())
        secure = scheme == b"https"
        return [
            refreshing(edge, plan, decision, match, asked, secure)
            for decision in decisions
            for asked in _variants(head, held)
        ]

    async def _kept(self, head: RequestHead, scheme: bytes, began: float) -> None:
        """Wait until the stores have what was fetched since *began*; nobody told them to hurry."""
        until = time.monotonic() + _KEPT
        while time.monotonic() < until:
            found = await self._copies_of(head, scheme, below=True)
            if all(stored.received >= began for stored in found):
                return
            await asyncio.sleep(0.01)

    async def _copies_of(
        self, head: RequestHead, scheme: bytes, *, below: bool = False
    ) -> list[Stored]:
        """Return what any tier holds for *head*, whichever side's; *below*: but the edge tier."""
        plan = self._plan(head)
        if plan is None or plan.cached is None:
            return []
        copies = self._edge.cache.copies
        found: list[Stored] = []
        for arm in dict.fromkeys((b"", plan.cached.arm)):
            key = plan.cached.keying.key(head, scheme=scheme, arm=arm)
            if not below:
                found += [ready.stored for ready in copies.held(key)]
            for _, tier in copies.below:
                found += [copy.stored for copy in await tier.get(key)]
        return found

    # Looking.

    async def _show(self, url: str, fields: Iterable[Sequence[str]]) -> dict[str, Any]:
        """Tell all that is known of *url*: its key, copies by tier, and why there are none."""
        for scheme, authority, target in self._places(url)[:1]:
            given = [(b"Host", authority), *((n.encode(), v.encode()) for n, v in fields)]
            head = self._head(target, given)
            plan = self._plan(head)
            if plan is None:
                return {"url": _text(b"%b://%b%b" % (scheme, authority, target)), "route": None}
            return await self._shown(head, scheme, plan)
        raise Refused("expected a URL")

    async def _shown(self, head: RequestHead, scheme: bytes, plan: Plan) -> dict[str, Any]:
        edge, cached = self._edge, plan.cached
        told: dict[str, Any] = {"route": plan.key, "mode": plan.route.cache.mode}
        if cached is None:
            return told | {"why": "cache-none"}
        arm = b""
        decision = plan.decision
        if decision is None:
            by = sticky(plan.route.canary.by, head, b"")
            decision = decide(plan.stage, None if by is None else bucket(by, plan.salt))
        if decision.target == "service":
            arm = cached.arm
        key = cached.keying.key(head, scheme=scheme, arm=arm)
        told |= {"key": _text(key), "answers": decision.target}
        reason = bypass(head, cached.policy)
        if reason is not None:
            told["why"] = str(reason)
        last = cached.tally.reason(key) or cached.tally.last_reason()
        if last is not None:
            told["not_kept"] = {
                "reason": last[1],
                "ago": round(time.time() - last[0], 1),
                "of": "this URL" if cached.tally.reason(key) else "another URL of the route",
            }
        copies = edge.cache.copies
        now = time.time()
        held = copies.held(key)
        chosen = select([ready.stored for ready in held], head.fields)
        tiers: dict[str, Any] = {
            "edge": [
                _variant(one.stored, one.usable_until, now, chosen=one.stored is chosen)
                for one in held[-_MOST_VARIANTS:]
            ]
        }
        for name, tier in copies.below:
            if not tier.up:
                tiers[name] = "down"
                continue
            below = await tier.get(key)
            chosen = select([copy.stored for copy in below], head.fields)
            tiers[name] = [
                _variant(
                    copy.stored,
                    usable_until(
                        copy.stored.fresh_until,
                        entered=copy.entered,
                        stay=stay(cached.policy, name, copy.stored.status),
                    ),
                    now,
                    chosen=copy.stored is chosen,
                )
                for copy in below[-_MOST_VARIANTS:]
            ]
        return _fitting(told | {"tiers": tiers})

    def _tally(self, after: int) -> dict[str, Any]:
        """Return the counts of the routes that cache, from number *after* on, as many as fit."""
        self._edge.counts.settle()
        tallies = list(self._edge.counts.tallies.items())
        routes: dict[str, Any] = {}
        size = 0
        for number in range(after, len(tallies)):
            key, tally = tallies[number]
            routes[key] = tally.json()
            size += len(json.dumps([key, routes[key]]))
            if size > MOST_BYTES // 2:
                return {"routes": routes, "next": number + 1}
        memory = self._edge.cache.copies.memory
        told = {"routes": routes, "next": None}
        return told | {"memory": {"used": memory.used, "size": memory.size, "keys": len(memory)}}

    def _parity(self, route: str | None, after: int) -> dict[str, Any]:
        """Return what became of copies: *route*'s with its last mismatches, else all counts.

        All from number *after* on, as many as fit.
        """
        ledgers = self._edge.shadows.ledgers
        if route is not None:
            ledger = ledgers.get(route)
            told = {} if ledger is None else ledger.json(samples=True)
            while len(json.dumps(told)) > MOST_BYTES and told["samples"]:
                told["samples"].pop()
            return {"routes": {route: told} if told else {}, "next": None}
        routes: dict[str, Any] = {}
        size = 0
        for number, (key, ledger) in enumerate(list(ledgers.items())[after:], start=after):
            routes[key] = ledger.json()
            size += len(json.dumps([key, routes[key]]))
            if size > MOST_BYTES // 2:
                return {"routes": routes, "next": number + 1}
        return {"routes": routes, "next": None}

    def _errors(self, route: str | None, after: int) -> dict[str, Any]:
        """Return the bad requests that are kept, from number *after* on, as many as fit."""
        found: list[dict[str, Any]] = []
        size = 0
        every = self._edge.kept.read(route)
        for number in range(after, len(every)):
            told = every[number].json()
            size += len(json.dumps(told))
            if found and size > MOST_BYTES:
                return {"errors": found, "next": number}
            found.append(told)
        return {"errors": found, "next": None}

    # What a URL means.

    def _places(self, url: str) -> list[tuple[bytes, bytes, bytes]]:
        """Return (scheme, Host, target) of *url*: each scheme and host that it leaves open."""
        matched = _URL.fullmatch(url.strip())
        if matched is None or not (matched[2] or (matched[3] and not matched[1])):
            raise Refused(f"expected a URL such as https://HOST/PATH, got {url[:200]}")
        schemes = (matched[1].lower(),) if matched[1] else ("http", "https")
        if not matched[2] and matched[3].startswith("//"):
            raise Refused(f"expected //HOST/PATH, got {url[:200]}")
        target = quote(matched[3] or "/", safe=_SAFE)
        if target.startswith("?"):
            target = "/" + target
        view = self._edge.view
        if matched[2]:
            hosts = [matched[2].lower().encode("idna" if not matched[2].isascii() else "ascii")]
        else:
            hosts = sorted(view.hosts)
            if not hosts and self._is_hostless(target):
                hosts = [b"localhost"]
        if not hosts:
            raise Refused("say the host as readers ask it: http://HOST:PORT/PATH")
        return [(s.encode(), host, target.encode()) for host in hosts for s in schemes]

    def _keyed(self, url: str) -> list[bytes]:
        """Return the URLs under which the route that *url* has, or its twins, keep it."""
        found = []
        for scheme, authority, target in self._places(url):
            head = self._head(target, [(b"Host", authority)])
            plan = self._plan(head)
            found.append(b"%b://%b%b" % (scheme, authority, target))
            if plan is None:
                continue
            for other in self._edge.view.plans.values():
                # Routes that differ in method, host or conditions alone share their URLs.
                if other.cached is not None and other.route.pattern == plan.route.pattern:
                    keying = other.cached.keying
                    found.append(keying.url_key(scheme=scheme, host=authority, target=target))
        return list(dict.fromkeys(found))

    def _prefixes(self, url: str) -> list[bytes]:
        found = []
        for scheme, authority, target in self._places(url):
            found.append(b"%b://%b%b" % (scheme, authority, target))
            if self._ignores_host(self._edge.view):
                found.append(b"%b://%b" % (scheme, target))
        return found

    def _is_hostless(self, target: str) -> bool:
        """Tell whether the route that *target* has keeps one copy for all hosts."""
        plan = self._plan(self._head(target.encode(), ()))
        return plan is not None and plan.cached is not None and not plan.cached.policy.key.host

    @staticmethod
    def _ignores_host(view: View) -> bool:
        return any(
            plan.cached is not None and not plan.cached.policy.key.host
            for plan in view.plans.values()
        )

    def _requests(self, url: str) -> list[tuple[RequestHead, bytes]]:
        return [
            (self._head(target, [(b"Host", authority)]), scheme)
            for scheme, authority, target in self._places(url)
        ]

    def _head(self, target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> RequestHead:
        try:
            return RequestHead.build(b"GET", target, fields)
        except RequestRejected as error:
            raise Refused(f"no request has this URL: {error.detail}") from None

    def _plan(self, head: RequestHead) -> Plan | None:
        try:
            match = self._edge.view.table.match(head)
        except AmbiguousPath as error:
            raise Refused(error.detail) from None
        return None if match is None else self._edge.view.plans[match.value]


def _variants(head: RequestHead, held: Iterable[Stored]) -> list[RequestHead]:
    """Return *head*, and *head* with what selects each of the variants *held* (RFC 9111 §4.1)."""
    made: dict[tuple[tuple[bytes, bytes], ...], RequestHead] = {(): head}
    for stored in held:
        fields = tuple([(name, value) for name, value in stored.selecting if value is not None])
        if fields and len(made) < _MOST_VARIANTS:
            given = [(b"Host", head.authority), *fields]
            made[fields] = RequestHead.build(b"GET", head.rest, given)
    return list(made.values())


def _variant(stored: Stored, until: float, now: float, *, chosen: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "status": stored.status,
        "age": round(stored.age(now), 1),
        "ttl": round(until - now, 1),
        "size": stored.length,
        "chosen": chosen,
    }
    if stored.selecting:
        told["vary"] = {
            _text(name): None if value is None else _text(value) for name, value in stored.selecting
        }
    if stored.tags:
        told["tags"] = [_text(tag) for tag in stored.tags[:_MOST_TAGS]]
    if stored.etag is not None:
        told["etag"] = _text(stored.etag)
    if stored.while_revalidate or stored.if_error:
        told["grace"] = {"refresh": stored.while_revalidate, "error": stored.if_error}
    if stored.span is not None:
        told["part"] = f"{stored.span.first}-{stored.span.last}/{stored.span.complete or '*'}"
    return told


def _text(data: bytes) -> str:
    return data[:2000].decode("utf-8", "backslashreplace")


def _fitting(told: dict[str, Any]) -> dict[str, Any]:
    """Return *told* with as many variants as fit into a message."""
    most = _MOST_VARIANTS
    while len(json.dumps(told)) > MOST_BYTES and most:
        most //= 2
        for name, variants in told["tiers"].items():
            if isinstance(variants, list):
                told["tiers"][name] = variants[-most:] if most else []
        told["cut"] = True
    return told
