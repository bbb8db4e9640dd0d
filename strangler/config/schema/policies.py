# SPDX-License-Identifier: Apache-2.0
"""What a route says about caching, failure, bodies, fields and canaries."""

from __future__ import annotations

from typing import Any, Final, get_args

from strangler.cache.policy import Override
from strangler.config.blocks import Block, Either, Many, Option, OrNone, Table
from strangler.config.document import Mapping, Node
from strangler.config.kinds import BAD, Context, show
from strangler.config.scalars import Duration, Share, Size, Switch, Text, Whole, Word
from strangler.config.schema.upstreams import BREAKER, TIMEOUT
from strangler.config.values import (
    BY,
    NAME,
    TOKEN,
    FailureKind,
    FieldName,
    FieldValue,
    Growth,
    HedgeKind,
    Ignored,
    Method,
    RungKind,
    SharePart,
    Step,
    TemplateKind,
)

FIELD_VALUES: Final = Table(
    FieldValue(), key="the name of a header field", form=TOKEN, placeholder="FIELD"
)

BACKOFF: Final = Block(
    "backoff",
    "The wait before another attempt: random between 0 and base x 2^n, at most cap.",
    (
        Option(name="base", kind=Duration("0s", "1m"), default="50ms", doc="The first bound."),
        Option(name="cap", kind=Duration("0s", "10m"), default="2s", doc="The last bound."),
    ),
)

FAILURES_DOC: Final = (
    "`connect` (no connection), `timeout` (no first byte in time), `incomplete` (broken before a "
    "whole head), `breaker` (open), `busy` (bulkhead full), a status, `5xx`."
)

RETRY: Final = Block(
    "retry",
    "When a failed attempt is followed by another, on another endpoint if there is one.",
    (
        Option(
            name="tries",
            kind=Whole(0, 10, "attempts"),
            default="1",
            doc="Attempts after the first.",
        ),
        Option(
            name="when",
            kind=Many(FailureKind(), empty=True),
            default="[connect]",
            example="[connect, timeout, 503]",
            doc="After which failures: " + FAILURES_DOC,
        ),
        Option(
            name="methods",
            kind=Many(Method(), empty=True),
            default="[GET, HEAD, OPTIONS]",
            doc="Which methods are safe to repeat.",
        ),
        Option(
            name="budget",
            kind=Share(),
            default="20%",
            doc="The share of an upstream's attempts that may be retries.",
        ),
        Option(name="backoff", kind=BACKOFF, doc="The wait before another attempt."),
        Option(
            name="idempotency_key",
            kind=OrNone(FieldName()),
            default="none",
            example="Idempotency-Key",
            doc="A field whose presence makes any method safe to repeat.",
        ),
        Option(
            name="hedge",
            kind=OrNone(HedgeKind()),
            default="none",
            example="p95",
            doc="When a second attempt starts beside a slow first one, within the budget.",
        ),
    ),
)

FALLBACK: Final = Block(
    "fallback",
    "What answers when the decided target failed. A list in place of the mapping is `then`.",
    (
        Option(
            name="when",
            kind=Many(FailureKind()),
            default="[connect, timeout, incomplete, breaker, busy, 502, 503, 504]",
            example="[connect, breaker, 502, 503, 504]",
            doc="After which failures: " + FAILURES_DOC,
        ),
        Option(
            name="then",
            kind=Many(RungKind(), empty=True),
            default="[legacy]",
            example='[stale, legacy, "page:pages/sorry.html"]',
            doc="What is tried, in order: `stale`, `legacy`, `archive`, an upstream, `page:FILE`.",
        ),
        Option(
            name="writes",
            kind=Switch(),
            default="false",
            doc="Also for requests that are not safe to repeat, even if bytes of them were sent.",
        ),
    ),
)

BODY: Final = Block(
    "body",
    "Request bodies.",
    (
        Option(
            name="max",
            kind=OrNone(Size("0B", "1TB")),
            default="30MB",
            doc="The largest body; a larger one is answered 413.",
        ),
        Option(
            name="replay",
            kind=Size("0B", "64MB"),
            default="256KB",
            doc="How much is kept for another attempt; larger bodies stream and are never "
            "retried, replayed or copied.",
        ),
    ),
)

EDITS: Final = Block(
    "edits",
    "Edits of one side's header fields.",
    (
        Option(
            name="set",
            kind=FIELD_VALUES,
            example="{X-Edge: strangler}",
            doc="Fields to set; they replace all of that name.",
        ),
        Option(
            name="remove",
            kind=Many(FieldName(editable=True), empty=True),
            example="[X-Powered-By]",
            doc="Fields to remove.",
        ),
    ),
)

HEADERS: Final = Block(
    "headers",
    "Edits of header fields on their way.",
    (
        Option(name="request", kind=EDITS, doc="On the way to the upstream."),
        Option(name="response", kind=EDITS, doc="On the way to the reader."),
    ),
)

QUERY_KEY: Final = Block(
    "query-key",
    "Which query parameters tell two pages apart.",
    (
        Option(
            name="allow",
            kind=Many(Text("a parameter's name"), empty=True),
            example="[page, q]",
            doc="Only these; excludes `drop`.",
        ),
        Option(
            name="drop",
            kind=Many(Text("a parameter's name")),
            example="[tracking, sid]",
            doc="All but these; `tracking` stands for the known tracking parameters.",
        ),
        Option(
            name="sort",
            kind=Switch(),
            default="false",
            doc="Put parameters in order of name; with `allow` and `drop` always.",
        ),
    ),
)

CACHE_KEY: Final = Block(
    "cache-key",
    "What tells two stored responses apart, besides method and path.",
    (
        Option(name="host", kind=Switch(), default="true", doc="The host."),
        Option(
            name="query",
            kind=Either(
                Word("all", "none"),
                sequence=Many(Text("a parameter's name"), empty=True),
                mapping=QUERY_KEY,
            ),
            default="all",
            example="[page, q]",
            doc="Query parameters: `all` as they stand, `none`, a list of those that count, or a "
            "mapping.",
        ),
        Option(
            name="cookies",
            kind=Many(Text("a cookie's name", TOKEN), empty=True),
            default="[]",
            example="[theme]",
            doc="Cookies that count; never the whole Cookie field.",
        ),
        Option(
            name="headers",
            kind=Many(FieldName(), empty=True),
            default="[]",
            example="[accept-language]",
            doc="Header fields that count, besides what the origin's Vary says.",
        ),
    ),
)


class Lifetime(Duration):
    """How long a tier keeps a copy."""

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if isinstance(node, Mapping):
            tier = path.rpartition(".")[2]
            hint = f"write {tier}: 10s; its size stands under tiers, at the top of the file"
            ctx.report(node.place, path, "S103", f"expected {self.name}, got {show(node)}", hint)
            return BAD
        return super().read(node, path, ctx)


_LIFETIME: Final = Lifetime("0s", "3650d")

_LIFETIME_DOC: Final = "where the origin is silent, and a cap where it speaks; absent: not there."

CACHE: Final = Block(
    "cache",
    "How responses are stored and reused. A mapping that names no tier is `origin` with its words.",
    (
        Option(
            name="edge",
            kind=_LIFETIME,
            example="10s",
            doc="The lifetime in the worker's memory " + _LIFETIME_DOC,
        ),
        Option(
            name="shared",
            kind=_LIFETIME,
            example="5m",
            doc="The lifetime in the tier that workers share " + _LIFETIME_DOC,
        ),
        Option(
            name="archive",
            kind=_LIFETIME,
            example="30d",
            doc="The lifetime in the last tier " + _LIFETIME_DOC,
        ),
        Option(name="key", kind=CACHE_KEY, doc="What tells two stored responses apart."),
        Option(
            name="tags",
            kind=Many(TemplateKind("a tag such as noticia:{slug}")),
            example='["noticia:{slug}"]',
            doc="Names to purge by, with the path's parameters.",
        ),
        Option(
            name="grace",
            kind=Duration("0s", "3650d"),
            example="1h",
            doc="How long past its lifetime a copy may serve while the upstream is asked or sick.",
        ),
        Option(
            name="stale_while_revalidate",
            kind=Duration("0s", "3650d"),
            example="30s",
            doc="The same while it is asked only, where the origin says nothing (RFC 5861).",
        ),
        Option(
            name="stale_if_error",
            kind=Duration("0s", "3650d"),
            example="1d",
            doc="The same while it is sick only, where the origin says nothing (RFC 5861).",
        ),
        Option(
            name="ignore",
            kind=Many(
                Word(*get_args(Override)),
                empty=True,
            ),
            default="[]",
            example="[set-cookie]",
            doc="What would forbid storing and is overridden here. Readers may then see each "
            "other's pages: only where the page has nothing of them. `must-revalidate` overrides "
            "the ban on stale answers instead, that of proxy-revalidate and s-maxage too.",
        ),
        Option(
            name="client_steers",
            kind=Switch(),
            default="false",
            doc="Obey a request's own Cache-Control and Pragma.",
        ),
        Option(
            name="collapse",
            kind=Switch(),
            default="true",
            doc="One fetch answers all who wait for the same thing.",
        ),
    ),
)

GATES: Final = Block(
    "gates",
    "What the service may do worse than legacy before a step is refused.",
    (
        Option(
            name="samples",
            kind=Whole(1, 100_000_000, "answers"),
            required=True,
            example="2000",
            doc="Answers that each side must have given; fewer is wait, never pass.",
        ),
        Option(
            name="errors",
            kind=Growth("+0.2pp", "pp"),
            example='"+0.2pp"',
            doc="The most that the share of errors may rise, in percentage points.",
        ),
        Option(
            name="p95",
            kind=Growth("+15%", "%"),
            example='"+15%"',
            doc="The most that the 95th percentile of the time taken may grow.",
        ),
    ),
)

CANARY: Final = Block(
    "canary",
    "How a canary goes on.",
    (
        Option(
            name="by",
            kind=BY,
            default="reader",
            example="user",
            doc="What readers are told apart by: `reader` (the edge's own cookie), `address`, "
            "`user` (the session cookie), `cookie:NAME`, `header:NAME`.",
        ),
        Option(
            name="group",
            kind=Text("a group's name", NAME),
            default="the route alone",
            example="checkout",
            doc="Routes of one group give a reader the same side, and move together: a journey.",
        ),
        Option(
            name="steps",
            kind=Many(Step(), single=False),
            example="[1%, 5%, 25%, 50%, 100%]",
            doc="The shares that `promote` goes through, rising.",
        ),
        Option(
            name="hold",
            kind=Duration("0s", "30d"),
            default="0s",
            example="30m",
            doc="How long a step is kept before the next. With it the clock makes the steps, up to "
            "the last; without it people do.",
        ),
        Option(name="gates", kind=GATES, doc="What has to hold before a step up."),
        Option(
            name="on_fail",
            kind=Word("hold", "back"),
            default="hold",
            doc="What a failed gate does: keep the step, or go back one.",
        ),
    ),
)

COMPARE: Final = Block(
    "compare",
    "How the two sides of a route are compared. A percentage in place of the mapping is `share`.",
    (
        Option(
            name="share",
            kind=SharePart(),
            default="0%",
            example="5%",
            doc="How many safe requests of a `canary` or `live` route are copied to the side that "
            "did not answer; at `shadow N%` it is N.",
        ),
        Option(
            name="ignore",
            kind=Many(Ignored(), empty=True),
            default="[]",
            example='["header:vary", "json:.items[].views", "text:[0-9]+ ms"]',
            doc="Differences that are meant, each as `strangler parity` names it; or `text:` and a "
            "regular expression, taken out of texts.",
        ),
        Option(
            name="body",
            kind=Size("1KB", "4MB"),
            default="256KB",
            doc="The longest body that is compared by what it means; of a longer one, its bytes.",
        ),
    ),
)

POLICIES: Final = (
    Option(
        name="cache",
        kind=Either(Word("none", "origin"), mapping=CACHE),
        default="none",
        example="{edge: 10s, shared: 5m}",
        doc="`none`; `origin`: exactly RFC 9111, in every tier of the site; or tiers.",
    ),
    Option(
        name="fallback",
        kind=OrNone(
            Either(Many(RungKind()), sequence=Many(RungKind(), empty=True), mapping=FALLBACK)
        ),
        default="[legacy]",
        example="[stale, legacy, archive]",
        doc="What answers instead of a failed target, until sealed also legacy.",
    ),
    Option(
        name="retry",
        kind=OrNone(RETRY),
        example="{tries: 2, when: [connect, 503]}",
        doc="When an attempt is repeated.",
    ),
    Option(
        name="breaker",
        kind=OrNone(BREAKER),
        default="the upstream's",
        example="{errors: 30%}",
        doc="A breaker of the route alone; in `defaults`, that of every upstream.",
    ),
    Option(
        name="max_inflight",
        kind=OrNone(Whole(1, 1_000_000, "attempts")),
        default="none",
        example="50",
        doc="A bulkhead of the route alone.",
    ),
    Option(
        name="priority",
        kind=Word("low", "normal", "high"),
        default="normal",
        doc="Whose requests are let go first when the edge itself is short of time or room; after "
        "shadows and crawlers.",
    ),
    Option(
        name="timeout",
        kind=Either(Duration("1ms", "1d"), mapping=TIMEOUT),
        default="the upstream's",
        example="2s",
        doc="Limits of a fetch's steps, over the upstream's own; those of legacy stay.",
    ),
    Option(name="body", kind=BODY, example="{max: 1MB}", doc="Request bodies."),
    Option(
        name="host",
        kind=Text(
            "keep, upstream, or a host",
            r"keep|upstream|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?|[A-Za-z0-9._-]+(:[0-9]{1,5})?",
        ),
        default="keep",
        doc="The Host that the upstream sees: the reader's, the endpoint's own, or this one. "
        "Location and Set-Cookie are repaired only where they name an upstream.",
    ),
    Option(
        name="path",
        kind=Word("raw"),
        default="raw",
        doc="The path goes up as received, to the byte: %2F, //, case and final slash survive.",
    ),
    Option(name="headers", kind=HEADERS, doc="Edits of header fields."),
    Option(
        name="compare",
        kind=OrNone(Either(SharePart(), mapping=COMPARE)),
        default="none",
        example="5%",
        doc="Copies to the other side, and what of the two answers counts.",
    ),
    Option(
        name="canary",
        kind=CANARY,
        example="{by: user, group: checkout}",
        doc="How a canary goes on.",
    ),
)

DEFAULTS: Final = Block(
    "defaults",
    "The policies of a route that says nothing, and of presets that say nothing.",
    POLICIES,
    see="route",
)

PRESET: Final = Block(
    "preset", "Policies under a name, for a route's `use`.", POLICIES, see="route"
)

PRESETS: Final = Table(PRESET, key="a preset's name", form=NAME)
