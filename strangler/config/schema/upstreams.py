# SPDX-License-Identifier: Apache-2.0
"""Who answers: endpoints, their timeouts, probes and bulkheads."""

from __future__ import annotations

from typing import Final

from strangler.config.blocks import Block, Either, Json, Many, Option, OrNone, Table
from strangler.config.scalars import (
    Between,
    Duration,
    PlacesKind,
    Regex,
    Share,
    Switch,
    Text,
    Whole,
    Word,
)
from strangler.config.schema.site import FILE_NAME, OWNER
from strangler.config.values import NAME, Secret, SiteHost, StatusKind, Url

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
            doc="From the request's end to the response's first byte, and between two pieces of "
            "an upload that the endpoint takes; 504 after it.",
        ),
        Option(
            name="between",
            kind=Duration("1ms", "30d"),
            default="60s",
            doc="Between two reads of a response's body.",
        ),
        Option(
            name="attempt",
            kind=OrNone(Duration("1ms", "1d")),
            default="none",
            doc="One attempt, from its beginning to the response's last byte; a larger answer than "
            "fits into it is cut.",
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
            kind=Table(Json(), key="a member's name", placeholder="MEMBER"),
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
            kind=OrNone(PlacesKind(1, 1_000_000, "attempts")),
            default="none",
            example="200",
            doc="The most attempts at a time per worker: the bulkhead. `adaptive` (4..1000, or "
            "within bounds of your own) follows latency: fewer as it rises, more as it holds.",
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

UPSTREAMS: Final = Table(
    Either(Many(Url()), sequence=Many(Url()), mapping=UPSTREAM, name="a URL, a list, or a mapping"),
    key="an upstream's name",
    form=NAME,
)
