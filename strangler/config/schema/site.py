# SPDX-License-Identifier: Apache-2.0
"""The site, its addresses, what one client may ask, and where the cache lives."""

from __future__ import annotations

from typing import Any, Final

from strangler.config.blocks import Block, Many, Option, OrNone
from strangler.config.scalars import Duration, Share, Size, Text, Whole
from strangler.config.values import (
    TOKEN,
    Address,
    NetworkKind,
    OverrideStore,
    SiteHost,
    Store,
    Url,
)


class Workers(Whole):
    """A number of processes, or auto: one a core."""

    name = "a whole number or auto"

    def parse(self, text: str, plain: bool) -> int | None:
        return None if text == "auto" else super().parse(text, plain)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [{"const": "auto"}, super().schema(defs)]}


FILE_NAME: Final = Text("the name of a file", r"[^\x00]+", located=True)

OWNER: Final = Text("a team's name", r"[^\x00-\x1f\x7f]{1,100}")

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
            name="inflight",
            kind=Whole(1, 1_000_000, "requests"),
            default="10000",
            doc="Requests at work at a time in one worker, tunnels not counted: near it the least "
            "important work is let go, beyond it readers too.",
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
            kind=OrNone(Duration("1ms", "10s")),
            default="none",
            example="5ms",
            doc="The longest that a request waits for it; `none`: what suits its store.",
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

TRACING: Final = Block(
    "tracing",
    "Send traces by OpenTelemetry's OTLP over HTTP; absent: nothing is traced.",
    (
        Option(
            name="endpoint",
            kind=Url(unix=False),
            required=True,
            example='"http://127.0.0.1:4318"',
            doc="The collector; `/v1/traces` is added. `OTEL_EXPORTER_OTLP_HEADERS` gives fields, "
            "such as a token.",
        ),
        Option(
            name="sample",
            kind=Share(),
            default="1%",
            doc="How many of the requests that come without a `traceparent` are traced; one that "
            "has it decides by its sampled flag.",
        ),
        Option(
            name="service",
            kind=Text("a name", r"[^\x00-\x1f\x7f]{1,100}"),
            default="strangler",
            doc="What this edge is called in traces: `service.name`.",
        ),
    ),
)

OVERRIDES: Final = Block(
    "overrides",
    "How long an operator's override of this file lasts, and where it is recorded.",
    (
        Option(
            name="default",
            kind=Duration("1s", "30d"),
            default="30m",
            doc="How long an override lasts where nobody says for how long.",
        ),
        Option(
            name="max",
            kind=Duration("1s", "30d"),
            default="24h",
            doc="The longest that one may last; what is to stay belongs into this file.",
        ),
        Option(
            name="changes",
            kind=OrNone(Whole(1, 100_000, "changes a second")),
            default="60",
            doc="How many changes a second one token may make by the admin API, ten times as many "
            "at once; more are answered 429. Steps back and purges are never refused.",
        ),
        Option(
            name="store",
            kind=OverrideStore(),
            default="file",
            example='"redis://127.0.0.1:6379/0"',
            doc="`file` in the state folder, `file:PATH`, or `redis://`, `rediss://`, "
            "`redis+sentinel://`, `redis+cluster://` for a fleet; `STRANGLER_OVERRIDES` wins. "
            "Changes need a restart.",
        ),
    ),
)
