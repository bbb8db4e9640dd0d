# SPDX-License-Identifier: Apache-2.0
"""The page for browsers without scripts: is the reader hurt, what is in force, is the edge well."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from strangler.rollout.override import spoken

_MARKS: Final = {"good": "✓", "warn": "!", "bad": "✗", "info": "i", "unknown": "–"}
_WORDS = ("edge", "shared", "archive", "stale", "confirmed", "miss", "pass", "bypass")
_MOST_ROUTES = 50
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2126;--dim:#5c6670;--paper:#fbfbfa;--card:#fff;
--line:#e3e5e7;--good:#15803d;--bad:#c2261d;--legacy:#8a6d1f;--live:#0b62a8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#98a2ab;--paper:#14171a;--card:#1c2024;
--line:#2c3238;--good:#4ade80;--bad:#ff7b72;--legacy:#e0be5f;--live:#6cb6ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1.25rem 1rem 3rem;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.25rem;margin:0;display:flex;gap:.6rem;align-items:baseline;flex-wrap:wrap}
h2{font-size:.8rem;letter-spacing:.06em;text-transform:uppercase;color:var(--dim);
margin:2rem 0 .5rem}
small,.dim{color:var(--dim)}
.good{color:var(--good)}.bad,.warn{color:var(--bad)}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;overflow:hidden}
.row{display:flex;gap:.25rem 1rem;flex-wrap:wrap;justify-content:space-between;padding:.55rem .9rem;
border-top:1px solid var(--line)}
.row:first-child{border-top:0}
.row>:first-child{flex:1 1 16rem;overflow-wrap:anywhere}
code,pre{font:.9em/1.5 ui-monospace,monospace}
pre{margin:0;padding:.8rem .9rem;white-space:pre-wrap;overflow-wrap:anywhere}
.error{border-color:var(--bad)}
.tag{border:1px solid currentColor;border-radius:1rem;padding:0 .6rem;font-size:.85rem;
white-space:nowrap}
.legacy{color:var(--legacy)}.live{color:var(--live)}
a{color:inherit}
"""


def render(
    state: Mapping[str, Any],
    health: Mapping[str, Any],
    config: Mapping[str, Any],
    routes: Sequence[Mapping[str, Any]],
    cache: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return the page as HTML; every text from a file or a peer is escaped.

    state: the console's document, of which the answers and the overrides are shown.
    """
    failed = sum(not one["passed"] for one in health["results"])
    bad = [one for one in state["answers"] if one["verdict"] == "bad"]
    well = health["status"] == "success" and not bad
    if failed:
        verdict = f"{failed} check{'s' * (failed != 1)} failed"
    else:
        verdict = "not well" if bad else "all is well"
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        "<meta http-equiv=refresh content=5><meta name=robots content=noindex>",
        f"<title>{'✓' if well else '✗'} Strangler</title><style>{_STYLE}</style></head>",
        "<body><main>",
        f"<h1>Strangler <span class={'good' if well else 'bad'} role=status>{verdict}</span>",
        f"<small>generation {config['generation']} · {escape(config['hash'][:12])}</small></h1>",
        "<h2>Now</h2><div class=card>",
        *(_answer(one) for one in state["answers"]),
        "</div>",
        *_in_force(state["overrides"], state["time"]),
        *_rejection(config.get("rejected")),
        "<h2>Health</h2><div class=card>",
        *(_check(one) for one in health["results"]),
        f"</div><h2>Routes ({len(routes)})</h2><div class=card>",
        *(_route(one) for one in routes),
        "</div>",
        *_shares(cache),
        "<p><small>As JSON: ",
        " · ".join(
            f"<a href='/-/{name}'>/-/{name}</a>"
            for name in ("healthcheck", "routes", "config", "cache/counters")
        ),
        "</small></p></main></body></html>",
    ]
    return "".join(parts)


def _answer(one: Mapping[str, Any]) -> str:
    more = f"<br><small>{escape(one['more'])}</small>" if one["more"] else ""
    return (
        f"<div class=row><span><span class={one['verdict']}>{_MARKS[one['verdict']]}</span> "
        f"{escape(one['question'])}</span><span><b>{escape(one['say'])}</b>{more}</span></div>"
    )


def _in_force(overrides: Sequence[Mapping[str, Any]], now: float) -> list[str]:
    """Return what operators have put over the file; nothing where they haven't."""
    if not overrides:
        return []
    lines = [
        f"<div class=row><code>{escape(one['subject'].removeprefix('route:'))}</code>"
        f"<span><b>{escape(one['kind'])} {escape(spoken(one['value']))}</b> <small>"
        f"{escape(one['author'])}: {escape(one['reason'])}, "
        f"{max(round((one['expires'] - now) / 60), 1)} min left</small></span></div>"
        for one in overrides
    ]
    return ["<h2>In force by an operator</h2><div class=card>", *lines, "</div>"]


def _rejection(rejected: Mapping[str, Any] | None) -> list[str]:
    if not rejected:
        return []
    when = time.strftime("%H:%M:%S", time.localtime(rejected["time"]))
    problems = "\n".join(escape(str(one)) for one in rejected["text"])
    return [
        f"<h2 class=bad>The last edit was rejected ({when})</h2>",
        f"<div class='card error'><pre>{problems}</pre></div>",
        "<p><small>The configuration below goes on serving.</small></p>",
    ]


def _shares(cache: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return how the requests of each route that caches were answered, the busiest first."""
    total = {key: sum(counts.get(word, 0) for word in _WORDS) for key, counts in cache.items()}
    busy = sorted((key for key in cache if total[key]), key=lambda key: -total[key])
    if not busy:
        return []
    lines = ["<h2>Cache, since the workers started</h2><div class=card>"]
    for key in busy[:_MOST_ROUTES]:
        counts = cache[key]
        words = [f"{word} {counts[word] / total[key]:.1%}" for word in _WORDS if counts.get(word)]
        refused = counts.get("refused") or {}
        why = ", ".join(f"{escape(str(reason))} {number}" for reason, number in refused.items())
        said = f"<br><small>not kept: {why}</small>" if why else ""
        lines.append(
            f"<div class=row><span><code>{escape(key)}</code>{said}</span>"
            f"<span class=dim>{total[key]} · {' · '.join(words)}</span></div>"
        )
    return [*lines, "</div>"]


def _check(one: Mapping[str, Any]) -> str:
    mark = "<span class=good>✓</span>" if one["passed"] else "<span class=bad>✗</span>"
    return (
        f"<div class=row><span>{mark} {escape(one['checker'])}</span>"
        f"<span class={'dim' if one['passed'] else 'bad'}>{escape(one['output'])}</span></div>"
    )


def _route(one: Mapping[str, Any]) -> str:
    kind = "legacy" if one["stage"] == "legacy" else "live"
    target = escape(str(one["target"] or one["action"]))
    if one["action"] == "redirect":
        target = f"→ {target}"
    if one["stage"] not in ("legacy", "live") and one["action"] == "proxy":
        target += f" · {escape(one['stage'])}"
    owner = f"<small>{escape(one['owner'])}</small> " if one["owner"] else ""
    until = f"<small>until {escape(one['until'])}</small> " if one["until"] else ""
    return (
        f"<div class=row><code>{escape(one['key'])}</code>"
        f"<span>{owner}{until}<span class='tag {kind}'>{target}</span></span></div>"
    )
