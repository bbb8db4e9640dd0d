# SPDX-License-Identifier: Apache-2.0
"""All options of routes.yaml: one row each, from which everything else about it comes.

Validation, `strangler schema` (JSON Schema) and docs/reference/routes-yaml.md are made of these
rows. A new option is a row here, a field in `snapshot` (or in its room's `policy`) of the same
name, and, if it is more than a value, a line in `build`.
"""

from __future__ import annotations

from typing import Any, Final

from strangler.config.kinds import (
    Between,
    Block,
    Day,
    Duration,
    Either,
    Json,
    Many,
    Option,
    OrNone,
    Regex,
    Rejected,
    Share,
    Size,
    Switch,
    Table,
    Text,
    Whole,
    Word,
)
from strangler.config.values import (
    BY,
    NAME,
    TOKEN,
    Address,
    FailureKind,
    FieldName,
    FieldValue,
    Growth,
    HedgeKind,
    Method,
    NetworkKind,
    RungKind,
    Secret,
    SiteHost,
    StageKind,
    StatusKind,
    Step,
    Store,
    TemplateKind,
    Upstreamed,
    Url,
)

VERSION: Final = 1


class Workers(Whole):
    """A number of processes, or auto: one a core."""

    name = "a whole number or auto"

    def parse(self, text: str, plain: bool) -> int | None:
        return None if text == "auto" else super().parse(text, plain)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [{"const": "auto"}, super().schema(defs)]}


class StatusWord(Word):
    """One of a few statuses, as a number."""

    def parse(self, text: str, plain: bool) -> Any:
        if text not in self.words:
            raise Rejected(self.name, code="S106")
        return int(text)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"enum": [int(word) for word in self.words]}


FILE_NAME: Final = Text("the name of a file", r"[^\x00]+", located=True)
OWNER: Final = Text("a team's name", r"[^\x00-\x1f\x7f]{1,100}")
FIELD_VALUES: Final = Table(
    FieldValue(), key="names of header fields", form=TOKEN, placeholder="FIELD"
)

SITE: Final = Block(
    "site",
    "The site as its readers see it.",
    (
        Option(
            name="hosts",
            kind=Many(SiteHost()),
            default="any host",
            example="[www.example.com]",
            doc="The hosts that the site answers for; a request for another is answered 421.",
        ),
        Option(
            name="trust_forwarded_from",
            kind=Many(NetworkKind()),
            default="nobody",
            example="[10.0.0.0/8]",
            doc="Whose X-Forwarded-* and Forwarded are believed; anyone else's are discarded "
            "and rebuilt.",
        ),
        Option(
            name="name",
            kind=Text("a token", TOKEN, length=60),
            default="strangler",
            example="edge-gru",
            doc="The edge's name in Via, Cache-Status and Proxy-Status.",
        ),
    ),
)

LISTEN_TLS: Final = Block(
    "listen-tls",
    "The certificate of a listener; both files are read again when they change.",
    (
        Option(
            name="cert",
            kind=FILE_NAME,
            required=True,
            example="tls/site.pem",
            doc="The certificate and its chain, PEM.",
        ),
        Option(
            name="key",
            kind=FILE_NAME,
            required=True,
            example="tls/site.key",
            doc="The private key, PEM, without a passphrase.",
        ),
    ),
)

LISTEN: Final = Block(
    "listener",
    "One address to listen on, with TLS.",
    (
        Option(
            name="address",
            kind=Address(),
            required=True,
            example='"0.0.0.0:443"',
            doc="`HOST:PORT`, `[IPv6]:PORT`, `:PORT` for every address, or `unix:PATH`.",
        ),
        Option(name="tls", kind=LISTEN_TLS, doc="Speak TLS here.", default="none"),
    ),
)

LIMITS: Final = Block(
    "limits",
    "What one client may ask of the edge.",
    (
        Option(
            name="line",
            kind=Size("1KB", "1MB"),
            default="16KB",
            doc="The longest request line; a longer one is answered 414.",
        ),
        Option(
            name="head",
            kind=Size("1KB", "4MB"),
            default="64KB",
            doc="The largest request head; a larger one is answered 431.",
        ),
        Option(
            name="fields",
            kind=Whole(8, 10_000, "fields"),
            default="256",
            doc="The most header fields; more are answered 431.",
        ),
        Option(
            name="connections",
            kind=Whole(1, 1_000_000, "connections"),
            default="20000",
            doc="The most connections of one worker; further ones wait in the system's queue.",
        ),
        Option(
            name="head_timeout",
            kind=Duration("100ms", "10m"),
            default="10s",
            doc="From the first byte of a head to its last; 408 after it.",
        ),
        Option(
            name="body_timeout",
            kind=Duration("100ms", "1h"),
            default="30s",
            doc="Between two reads of a request's body; 408 after it.",
        ),
        Option(
            name="idle_timeout",
            kind=Duration("1s", "1d"),
            default="75s",
            doc="Between two requests of a connection; it is closed after it.",
        ),
        Option(
            name="write_timeout",
            kind=Duration("1s", "1d"),
            default="60s",
            doc="How long a reader may take nothing of a response before it is given up.",
        ),
        Option(
            name="tunnel_idle",
            kind=Duration("1s", "30d"),
            default="1h",
            doc="Silence both ways after which an upgraded connection is closed.",
        ),
        Option(
            name="drain",
            kind=Duration("0s", "1d"),
            default="30s",
            doc="How long running exchanges may go on after a stop or an upgrade.",
        ),
    ),
)

TIMEOUT: Final = Block(
    "timeout",
    "Limits of a fetch's steps. A bare duration in place of the mapping is `first_byte`.",
    (
        Option(
            name="connect",
            kind=Duration("1ms", "10m"),
            default="1s",
            doc="Until an endpoint has accepted a connection, TLS included.",
        ),
        Option(
            name="first_byte",
            kind=Duration("1ms", "1d"),
            default="20s",
            doc="From the request's end to the response's first byte; 504 after it.",
        ),
        Option(
            name="between",
            kind=Duration("1ms", "30d"),
            default="60s",
            doc="Between two reads of a response's body.",
        ),
        Option(
            name="total",
            kind=OrNone(Duration("1ms", "30d")),
            default="none",
            doc="All attempts of a fetch together, their waits included.",
        ),
    ),
)

EXPECT: Final = Block(
    "expect",
    "What a healthy answer looks like; all that is said has to hold.",
    (
        Option(
            name="status",
            kind=Many(StatusKind()),
            default="200",
            example="2xx",
            doc="The statuses that are healthy.",
        ),
        Option(
            name="json",
            kind=Table(Json(), key="JSON members", placeholder="MEMBER"),
            example="{status: success}",
            doc="Members that the JSON body must have, with these values.",
        ),
        Option(
            name="body",
            kind=Regex(),
            example="'status.*ok'",
            doc="A regular expression that must occur in the body.",
        ),
    ),
)

HEALTH_PATH: Final = Text(
    "a path such as /healthcheck, or tcp", r"/[!-~]*|tcp", hint="begin with /"
)

HEALTH: Final = Block(
    "health",
    "How an upstream's endpoints are probed. A path in place of the mapping is `path`.",
    (
        Option(
            name="path",
            kind=HEALTH_PATH,
            default="tcp",
            example="/healthcheck",
            doc="What to ask for; `tcp` only connects.",
        ),
        Option(
            name="every",
            kind=Duration("100ms", "1h"),
            default="5s",
            doc="Between two probes of an endpoint, jittered.",
        ),
        Option(
            name="timeout",
            kind=Duration("10ms", "5m"),
            default="2s",
            doc="A probe that takes longer has failed.",
        ),
        Option(name="expect", kind=EXPECT, doc="What the answer must be."),
        Option(
            name="rise",
            kind=Whole(1, 100, "probes"),
            default="2",
            doc="Good probes in a row until a sick endpoint is healthy.",
        ),
        Option(
            name="fall",
            kind=Whole(1, 100, "probes"),
            default="3",
            doc="Bad probes in a row until a healthy endpoint is sick.",
        ),
    ),
)

KEEPALIVE: Final = Block(
    "keepalive",
    "Idle connections that are kept for the next fetch.",
    (
        Option(
            name="connections",
            kind=Whole(0, 10_000, "connections"),
            default="64",
            doc="The most idle connections per endpoint and worker.",
        ),
        Option(
            name="idle",
            kind=Duration("0s", "1h"),
            default="55s",
            doc="How long one is kept; choose less than the upstream's own keepalive time.",
        ),
    ),
)

OAUTH2: Final = Block(
    "oauth2",
    "Client credentials (RFC 6749 section 4.4) that the edge presents to a protected upstream.",
    (
        Option(
            name="token_url",
            kind=Url(unix=False),
            required=True,
            example='"http://127.0.0.1:8120/token"',
            doc="Where tokens are given.",
        ),
        Option(
            name="client_id",
            kind=Text("a client's id", r"[!-~]+"),
            required=True,
            example="edge",
            doc="Who the edge is there.",
        ),
        Option(
            name="client_secret",
            kind=Secret(),
            required=True,
            example='"${env:EDGE_SECRET}"',
            doc="Its secret, always by an environment variable.",
        ),
        Option(
            name="scope",
            kind=Text("a scope", r"[!-~ ]+"),
            default="none",
            example="read",
            doc="The scope to ask for.",
        ),
    ),
)

UPSTREAM_TLS: Final = Block(
    "upstream-tls",
    "How an https endpoint proves who it is.",
    (
        Option(
            name="verify",
            kind=Switch(),
            default="true",
            doc="Check the certificate and its name; false is for tests only.",
        ),
        Option(
            name="ca",
            kind=FILE_NAME,
            default="the system's",
            example="tls/ca.pem",
            doc="The authorities that are believed, PEM.",
        ),
        Option(
            name="server_name",
            kind=SiteHost(),
            default="the URL's host",
            example="materia.internal",
            doc="The name to ask for (SNI) and to find in the certificate.",
        ),
    ),
)

BREAKER: Final = Block(
    "breaker",
    "When an upstream is left alone for a while.",
    (
        Option(
            name="errors",
            kind=Share(1, 100),
            default="50%",
            doc="The share of failed attempts that opens the breaker.",
        ),
        Option(
            name="window",
            kind=Duration("1s", "10m"),
            default="10s",
            doc="How far back attempts are counted.",
        ),
        Option(
            name="min_requests",
            kind=Whole(1, 1_000_000, "attempts"),
            default="20",
            doc="Fewer attempts in the window never open it.",
        ),
        Option(
            name="retry_in",
            kind=Between("100ms", "1d"),
            default="5s..5m",
            doc="The first and the longest time that it stays open; it doubles, with jitter.",
        ),
        Option(
            name="slow",
            kind=OrNone(Duration("1ms", "1h")),
            default="none",
            doc="An attempt that takes longer counts as failed.",
        ),
        Option(
            name="probes",
            kind=Whole(1, 1000, "attempts"),
            default="1",
            doc="Attempts that are let through at once when it is half-open.",
        ),
    ),
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
            default="[GET, HEAD]",
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

_LIFETIME: Final = Duration("0s", "3650d")
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
                Word("set-cookie", "private", "no-store", "no-cache", "authorization", "vary")
            ),
            default="nothing",
            example="[set-cookie]",
            doc="What would forbid storing and is overridden here. Readers may then see each "
            "other's pages: only where the page has nothing of them.",
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
            doc="Routes of one group give a reader the same side: a journey.",
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
            doc="How long a step is kept before the next.",
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
        name="canary",
        kind=CANARY,
        example="{by: user, group: checkout}",
        doc="How a canary goes on.",
    ),
)

MATCH: Final = Block(
    "match",
    "Conditions besides the key, all of which have to hold: the whole value fits the expression.",
    tuple(
        Option(
            name=name,
            kind=Table(Regex(), key=f"{what}", form=form, placeholder="NAME"),
            example=example,
            doc=doc,
        )
        for name, what, form, example, doc in (
            (
                "header",
                "names of header fields",
                TOKEN,
                '{X-App: "ios|android"}',
                "Header fields; of several of one name the first counts.",
            ),
            ("cookie", "names of cookies", TOKEN, '{beta: "1"}', "Cookies."),
            (
                "query",
                "names of query parameters",
                None,
                '{v: "[0-9]+"}',
                "Query parameters, decoded; of several of one name the first counts.",
            ),
        )
    ),
)

TEST_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

TEST: Final = Block(
    "test",
    "A question beside the route; `strangler check` asks it offline. Exactly one method.",
    (
        *(
            Option(
                name=method,
                kind=Text("a path such as /busca?q=x", r"/[!-\"$-~]*", hint="begin with /"),
                example="/checkout/" if method == "GET" else "",
                doc=f"The path, with query, of a {method} request.",
            )
            for method in TEST_METHODS
        ),
        Option(
            name="host",
            kind=SiteHost(),
            default="the first of `site.hosts`",
            example="www.example.com",
            doc="The request's host.",
        ),
        Option(name="header", kind=FIELD_VALUES, example="{X-App: ios}", doc="Header fields."),
        Option(
            name="cookie",
            kind=Table(
                Text("a cookie's value", r"[!#-+\--:<-\[\]-~]*"),
                key="names of cookies",
                form=TOKEN,
            ),
            example="{beta: '1'}",
            doc="Cookies.",
        ),
        Option(
            name="goes_to",
            kind=Text("an upstream's name, redirect, gone or page", NAME, located=True),
            example="votar",
            doc="Who the route that takes it goes to: its `to`, whatever its stage; or "
            "`redirect`, `gone`, `page`.",
        ),
        Option(
            name="route",
            kind=Text("a route's key"),
            example="/checkout/**",
            doc="The key of the route that takes it.",
        ),
        Option(
            name="status",
            kind=Whole(200, 599),
            example="301",
            doc="The status of a redirect, gone or page.",
        ),
        Option(name="location", kind=Text(), example="/promo/", doc="Where a redirect leads."),
        Option(
            name="sends",
            kind=Text(),
            example="/v2/votar/1",
            doc="The path, with query, that the upstream sees.",
        ),
    ),
)

ROUTE: Final = Block(
    "route",
    "What happens to a request. An upstream's name in place of the mapping is `to`; a list holds "
    "several routes with one key and different `match`.",
    (
        Option(
            name="to",
            kind=Upstreamed(),
            example="materia",
            doc="The upstream. One of `to`, `redirect`, `gone`, `page` is needed.",
        ),
        Option(
            name="stage",
            kind=StageKind(),
            default="live",
            example="canary 5%",
            doc="Where the route is in its life: `legacy`, `shadow N%`, `canary N%`, `live`, "
            "`sealed`, `retired`.",
        ),
        Option(
            name="redirect",
            kind=TemplateKind("a path or URL such as /promo/{name}", location=True),
            example="/promo/",
            doc="Answer with a redirect to here; `{name}` and `{**}` are the path's parameters.",
        ),
        Option(
            name="keep_query",
            kind=Switch(),
            default="true",
            doc="Append the request's query to the redirect.",
        ),
        Option(
            name="gone",
            kind=StatusWord("404", "410", "451"),
            example="410",
            doc="Answer that there is nothing any more.",
        ),
        Option(
            name="page",
            kind=FILE_NAME,
            example="pages/back-soon.html",
            doc="Answer with this file of HTML.",
        ),
        Option(
            name="status",
            kind=Whole(200, 599),
            default="302 of a redirect, 200 of a page",
            example="301",
            doc="The status of a redirect (301, 302, 303, 307, 308) or a page.",
        ),
        Option(
            name="match",
            kind=MATCH,
            example='{header: {X-App: "ios|android"}}',
            doc="Conditions besides the key.",
        ),
        Option(
            name="rewrite",
            kind=TemplateKind("a path such as /v2/{name}", path=True),
            example="/v2/{**}",
            doc="The path to send; `{name}` and `{**}` are the parameters, in their raw bytes.",
        ),
        Option(
            name="strip",
            kind=Text("a path such as /api", r"/[!-~]+", located=True, hint="begin with /"),
            example="/api",
            doc="The first segments of the key, left out of the path that is sent.",
        ),
        Option(
            name="use",
            kind=Text("the name of a preset", NAME, located=True),
            example="news",
            doc="Take the policies of this preset; what the route says itself wins, whole.",
        ),
        *POLICIES,
        Option(
            name="owner",
            kind=OWNER,
            default="the upstream's",
            example="team-checkout",
            doc="Who answers for the route.",
        ),
        Option(
            name="until",
            kind=Day(),
            example="2026-12-31",
            doc="The last day of a temporary route; after it `check` fails and the proxy warns.",
        ),
        Option(
            name="tests",
            kind=Many(TEST, empty=True),
            example="[{GET: /checkout/, goes_to: votar}]",
            doc="Questions that `strangler check` asks.",
        ),
    ),
)

ROUTE_VALUE: Final = Either(
    Upstreamed(),
    mapping=ROUTE,
    sequence=Many(Either(Upstreamed(), mapping=ROUTE), single=False),
    name="an upstream's name, a mapping, or a list of these",
)

UPSTREAM: Final = Block(
    "upstream",
    "A named group of endpoints. A URL or a list of them in place of the mapping is `url`.",
    (
        Option(
            name="url",
            kind=Many(Url()),
            required=True,
            example='"http://127.0.0.1:8101"',
            doc="The endpoints: `http://`, `https://` or `unix:PATH`; a path in it is put before "
            "every request's.",
        ),
        Option(
            name="role",
            kind=Word("legacy", "service"),
            default="service; legacy if that is its name",
            doc="Whether it is the monolith; at most one upstream is.",
        ),
        Option(
            name="owner",
            kind=OWNER,
            default="nobody",
            example="team-content",
            doc="Who answers for it.",
        ),
        Option(
            name="timeout",
            kind=Either(Duration("1ms", "1d"), mapping=TIMEOUT),
            example="2s",
            doc="Limits of a fetch's steps.",
        ),
        Option(
            name="health",
            kind=OrNone(Either(HEALTH_PATH, mapping=HEALTH)),
            default="none",
            example="/healthcheck",
            doc="How it is probed.",
        ),
        Option(
            name="max_inflight",
            kind=OrNone(Whole(1, 1_000_000, "attempts")),
            default="none",
            example="200",
            doc="The most attempts at a time per worker: the bulkhead.",
        ),
        Option(
            name="queue",
            kind=Whole(0, 1_000_000, "exchanges"),
            default="100",
            doc="How many may wait for a place; further ones are answered 503.",
        ),
        Option(name="keepalive", kind=KEEPALIVE, doc="Idle connections."),
        Option(
            name="breaker",
            kind=OrNone(BREAKER),
            default="that of `defaults`",
            example="{errors: 30%, window: 10s}",
            doc="When it is left alone.",
        ),
        Option(name="oauth2", kind=OAUTH2, doc="A bearer token that the edge presents."),
        Option(name="tls", kind=UPSTREAM_TLS, doc="How its https endpoints are verified."),
    ),
)

TIER: Final = Block(
    "tier",
    "Where a cache tier lives.",
    (
        Option(
            name="store",
            kind=Store(),
            required=True,
            example='"redis://127.0.0.1:6379/0"',
            doc="`memory`, `sqlite:PATH`, `redis://`, `rediss://`, `redis+sentinel://`, "
            "`redis+cluster://`, `toredis://`, `mongodb://`; a password by `${env:NAME}`.",
        ),
        Option(
            name="size",
            kind=OrNone(Size("1MB", "1000TB")),
            default="none",
            example="1GB",
            doc="The most that it holds before it evicts.",
        ),
        Option(
            name="timeout",
            kind=Duration("1ms", "10s"),
            default="5ms",
            doc="The longest that a request waits for it.",
        ),
    ),
)

TIERS: Final = Block(
    "tiers",
    "Where each cache tier lives; `none` takes a tier away.",
    (
        Option(
            name="edge",
            kind=OrNone(TIER),
            default="{store: memory, size: 256MB}",
            doc="In the worker.",
        ),
        Option(
            name="shared",
            kind=OrNone(TIER),
            default='{store: "sqlite:var/shared.db", size: 1GB}',
            doc="Shared by workers, or by machines.",
        ),
        Option(
            name="archive",
            kind=OrNone(TIER),
            default='{store: "sqlite:var/archive.db"}',
            doc="The last rung.",
        ),
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

_UPSTREAMS: Final = Table(
    Either(Many(Url()), sequence=Many(Url()), mapping=UPSTREAM, name="a URL, a list, or a mapping"),
    key="names of upstreams",
    form=NAME,
)
_PRESETS: Final = Table(PRESET, key="names of presets", form=NAME)
_ROUTES: Final = Table(ROUTE_VALUE, key="route keys", placeholder="KEY")

INCLUDE: Final = Many(
    Text(
        "a pattern such as routes.d/*.yaml",
        r"(?!/)(?!(.*/)?\.\.(/|$))[^\x00]+",
        located=True,
        hint="a path below this file's folder",
    )
)

FILE: Final = Block(
    "file",
    "routes.yaml itself.",
    (
        Option(
            name="version",
            kind=Whole(0, 1_000_000),
            required=True,
            example="1",
            doc="The version of the format.",
        ),
        Option(name="site", kind=SITE, doc="The site as its readers see it."),
        Option(
            name="listen",
            kind=Many(Either(Address(), mapping=LISTEN)),
            default="127.0.0.1:8000",
            example='["127.0.0.1:8000", "[::1]:8000"]',
            doc="Where to listen; `serve --listen` wins. Changes need a restart.",
        ),
        Option(
            name="admin",
            kind=Address(),
            default="127.0.0.1:8010",
            doc="Where admin API and console listen; `serve --admin` wins. Changes need a restart.",
        ),
        Option(
            name="workers",
            kind=Workers(1, 1024, "processes"),
            default="auto",
            doc="How many processes serve; auto is one a core. `serve --workers` wins.",
        ),
        Option(name="limits", kind=LIMITS, doc="What one client may ask."),
        Option(
            name="upstreams",
            kind=_UPSTREAMS,
            example='{legacy: "http://127.0.0.1:8100"}',
            doc="Who answers, by name.",
        ),
        Option(name="tiers", kind=TIERS, doc="Where the cache lives."),
        Option(name="defaults", kind=DEFAULTS, doc="The policies of a route that says nothing."),
        Option(name="presets", kind=_PRESETS, doc="Policies under a name."),
        Option(
            name="include",
            kind=INCLUDE,
            example="routes.d/*.yaml",
            doc="Further files, each with a `prefix` that its routes stay under.",
        ),
        Option(
            name="routes",
            kind=_ROUTES,
            required=True,
            example="{/**: legacy}",
            doc="Who takes which request, by `[METHOD[,METHOD]] [host]/path`.",
        ),
    ),
    name="a mapping of options",
)

INCLUDED: Final = Block(
    "included-file",
    "A file that `include` names.",
    (
        Option(
            name="prefix",
            kind=Many(Text("a path such as /busca", r"/[!-~]*", located=True, hint="begin with /")),
            required=True,
            example="/busca",
            doc="The paths that the file owns: itself and all below. A route outside is an error.",
        ),
        Option(
            name="owner",
            kind=OWNER,
            example="team-search",
            doc="Who answers for its routes and upstreams, unless they say otherwise.",
        ),
        Option(name="upstreams", kind=_UPSTREAMS, doc="Further upstreams, for all files."),
        Option(name="presets", kind=_PRESETS, doc="Further presets, for all files."),
        Option(name="routes", kind=_ROUTES, required=True, doc="The routes under the prefix."),
    ),
    name="a mapping of options",
)
