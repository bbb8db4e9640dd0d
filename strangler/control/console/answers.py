# SPDX-License-Identifier: Apache-2.0
"""The five questions of the first screen, answered from what is known; pure.

Is the reader hurt? What changed in the last 30 minutes? Which routes are bad? Is legacy safe? Do
all proxies agree? Each answer is a verdict, one sentence and, where it helps, one more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strangler.control.console.seen import FEWEST, Seen, Verdict
from strangler.control.console.words import number, plural, requests, seconds, share

RECENT: Final = 1800.0
"""Seconds of what counts as a change that may be the cause."""
_CROWDED: Final = 0.8


@dataclass(frozen=True, slots=True)
class Answer:
    """One question and its answer."""

    id: str
    question: str
    verdict: Verdict
    say: str
    more: str = ""

    def json(self) -> dict[str, Any]:
        """Return it as the pages have it."""
        return {
            "id": self.id,
            "question": self.question,
            "verdict": self.verdict,
            "say": self.say,
            "more": self.more or None,
        }


def reader(site: Seen, usual: float | None, worst: Sequence[Mapping[str, Any]]) -> Answer:
    """Is the reader hurt? *usual* is the site's p95 of the last half hour; *worst* come first."""
    ask = "Is the reader hurt?"
    bad = [route for route in worst if route["verdict"] == "bad"]
    if not site.requests:
        return Answer("reader", ask, "unknown", "Nobody asks for anything.")
    p95 = site.p95
    times = "" if p95 is None else f"p95 {seconds(p95)}"
    if p95 is not None and usual is not None:
        times += f", usually {seconds(usual)}"
    hurt = (
        f"{share(site.error_share)} of requests fail, {number(site.failed / site.seconds)} a second"
    )
    where = f"Most at {bad[0]['key']}" if bad else ""
    more = "; ".join(part for part in (where, times) if part)
    more = f"{more}." if more else ""
    if site.failed >= FEWEST and site.error_share >= 0.01:
        return Answer("reader", ask, "bad", f"Yes: {hurt}.", more)
    if site.failed >= FEWEST and (site.error_share >= 0.001 or bad):
        return Answer("reader", ask, "warn", f"Some are: {hurt}.", more)
    if p95 is not None and usual is not None and p95 > 2 * usual and p95 > usual + 0.1:
        return Answer("reader", ask, "warn", f"They wait: {times}.")
    said = f"No: {requests(site.rate)}"
    said += f", {share(site.error_share)} fail." if site.failed else ", none fails."
    return Answer("reader", ask, "good", said, more)


def changes(recent: Sequence[Mapping[str, Any]], now: float) -> Answer:
    """What changed in the last 30 minutes? *recent*: the newest first, with `say` and `time`."""
    ask = "What changed in the last 30 minutes?"
    if not recent:
        return Answer("changes", ask, "good", "Nothing.")
    newest = recent[0]
    ago = max(now - float(newest["time"]), 1.0)
    said = f"{plural(len(recent), 'change')}, the last {seconds(ago)} ago"
    verdict: Verdict = "info"
    if any(one.get("verdict") == "bad" for one in recent):
        verdict = "warn"
    return Answer("changes", ask, verdict, said, str(newest["say"]))


def routes(worst: Sequence[Mapping[str, Any]], known: int) -> Answer:
    """Which routes are bad? *worst*: the worst first."""
    ask = "Which routes are bad?"
    bad = [route for route in worst if route["verdict"] == "bad"]
    odd = [route for route in worst if route["verdict"] == "warn"]
    if not bad and not odd:
        busy = sum(1 for route in worst if route["rate"])
        return Answer("routes", ask, "good", "None.", f"{busy} of {known} have traffic.")
    shown = (bad or odd)[:3]
    said = ", ".join(route["key"] for route in shown)
    left = len(bad) + len(odd) - len(shown)
    if left:
        said += f" and {left} more"
    first = shown[0]
    why = f"{first['why']}; {requests(first['rate'])}"
    return Answer("routes", ask, "bad" if bad else "warn", said, why)


def legacy(upstream: Mapping[str, Any] | None, seen: Seen, would_add: float) -> Answer:
    """Is legacy safe? *would_add*: requests a second that fall on it if every service fails."""
    ask = "Is legacy safe?"
    if upstream is None:
        return Answer("legacy", ask, "good", "There is none any more.")
    verdict: Verdict = upstream["verdict"]
    troubles = list(upstream["troubles"])
    if seen.unwell >= FEWEST and seen.unwell_share >= 0.01:
        verdict = "bad" if seen.unwell_share >= 0.05 else _worse(verdict, "warn")
        troubles.insert(0, f"{share(seen.unwell_share)} of its answers fail")
    parts = [] if seen.p95 is None else [f"p95 {seconds(seen.p95)}"]
    if upstream["limit"]:
        parts.append(f"{upstream['inflight']} of {upstream['limit']} places taken")
        if upstream["inflight"] >= _CROWDED * upstream["limit"]:
            verdict = _worse(verdict, "warn")
    if troubles:
        parts = [*troubles, *parts]
    more = f"It answers {requests(seen.rate)}"
    if would_add:
        more += f"; {number(would_add)} more if every service failed"
    yes = {"good": "Yes", "warn": "Not quite", "bad": "No"}.get(verdict, "Perhaps")
    said = f"{yes}: {', '.join(parts)}." if parts else f"{yes}."
    return Answer("legacy", ask, verdict, said, more + ".")


def agree(
    instances: Sequence[Mapping[str, Any]], config: Mapping[str, Any], overrides: int
) -> Answer:
    """Do all proxies agree? On the file and on the overrides."""
    ask = "Do all proxies agree?"
    odd = [one for one in instances if one["verdict"] != "good"]
    number_of = plural(len(instances), "proxy", "proxies")
    serving = f"generation {config['generation']}"
    if overrides:
        serving += f", set {overrides} of overrides"
    if odd:
        verdict: Verdict = "bad" if any(one["verdict"] == "bad" for one in odd) else "warn"
        return Answer("agree", ask, verdict, f"No: {odd[0]['name']}: {odd[0]['say']}", serving)
    if config.get("rejected"):
        first = next(iter(config["rejected"]["text"]), "")
        return Answer("agree", ask, "warn", "Yes, but the last edit was rejected.", first)
    return Answer("agree", ask, "good", f"Yes: {number_of}, {serving}.")


def _worse(one: Verdict, other: Verdict) -> Verdict:
    order: tuple[Verdict, ...] = ("good", "info", "unknown", "warn", "bad")
    return max(one, other, key=order.index)
