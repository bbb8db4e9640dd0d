# SPDX-License-Identifier: Apache-2.0
"""Who answers a canary's request: a tester's arm, an asset's page, else the reader's bucket."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from strangler.errors import StranglerError
from strangler.rollout import READER_COOKIE, Decision, Target, bucket, decide, sticky
from strangler.rollout.arm import ARM_COOKIE, forced
from strangler.rollout.asset import is_fingerprinted
from strangler.rollout.decision import FORCED, PAGE_ARM, overridden
from strangler.wire.head import RequestHead

if TYPE_CHECKING:
    from strangler.exchange.edge import Edge
    from strangler.exchange.exchange import Exchange
    from strangler.exchange.plan import Plan

_ARM: Final = ARM_COOKIE + b"="


def decide_canary(edge: Edge, plan: Plan, head: RequestHead, exchange: Exchange) -> Decision:
    """Decide for a reader of a canary; one without a sticky key gets a cookie, and so a bucket."""
    decision = _decide(edge, plan, head, exchange)
    return decision if plan.stage == plan.route.stage else overridden(decision)


def _decide(edge: Edge, plan: Plan, head: RequestHead, exchange: Exchange) -> Decision:
    if head.fields.cookies and _ARM in head.fields.raw:
        arm = _forced(edge, plan, head)
        if arm is not None:
            exchange.private_lines = b"\r\nStrangler-Arm: " + arm.encode()
            return FORCED[arm]
    address = exchange.client.encode()
    if is_fingerprinted(head.path):
        arm = _page_arm(edge, plan, head, address)
        if arm is not None:
            return PAGE_ARM[arm]
    key = sticky(plan.route.canary.by, head, address)
    if key is None:
        key = secrets.token_urlsafe(16).encode()
        exchange.private_lines = (
            b"\r\nSet-Cookie: %b=%b; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax%b"
            % (READER_COOKIE, key, b"; Secure" if exchange.scheme == b"https" else b"")
        )
    return decide(plan.stage, bucket(key, plan.salt))


def _forced(edge: Edge, plan: Plan, head: RequestHead) -> Target | None:
    return forced(edge.arm_key, plan.salt, head.cookie(ARM_COOKIE) or b"", time.time())


def _page_arm(edge: Edge, plan: Plan, head: RequestHead, address: bytes) -> Target | None:
    """Return the arm of the page that names this asset; None where there is none to follow.

    The page is what Referer says, of this host, on a route with the same two sides. A reader who
    makes one up gets an asset of the other side: no secret, and it has its own name for it.
    """
    referer = head.get(b"referer")
    if referer is None:
        return None
    start = referer.find(b"://" + head.authority + b"/")
    if start not in (4, 5):
        return None
    target = referer[start + 3 + len(head.authority) :].partition(b"#")[0]
    try:
        page = RequestHead.build(b"GET", target, [(b"Host", head.authority)])
        match = edge.view.table.match(page)
    except StranglerError:
        return None
    if match is None:
        return None
    other = edge.view.plans[match.value]
    if other is plan or other.service is not plan.service or other.legacy is not plan.legacy:
        return None
    if other.decision is not None:
        return other.decision.target
    if head.fields.cookies and _ARM in head.fields.raw:
        arm = _forced(edge, other, head)
        if arm is not None:
            return arm
    key = sticky(other.route.canary.by, head, address)
    return None if key is None else decide(other.stage, bucket(key, other.salt)).target
