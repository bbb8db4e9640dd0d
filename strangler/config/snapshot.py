# SPDX-License-Identifier: Apache-2.0
"""The immutable result of one accepted configuration.

Durations are seconds, sizes bytes, names of header fields lower-case bytes. None means "no
limit" or "not said", never a default that somebody else has to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, Final, Literal

from strangler.cache.policy import CachePolicy, Tier
from strangler.migrate.policy import Compare
from strangler.resilience.adaptive import Adaptive
from strangler.resilience.policy import Breaker, Fallback, Retry
from strangler.template import Template

if TYPE_CHECKING:
    from strangler.config.diagnostics import Diagnostic
    from strangler.rollout import Canary, Stage
    from strangler.routing import Conditions, Pattern, Table

Network = IPv4Network | IPv6Network

_BREAKER: Final = Breaker()
_CACHE: Final = CachePolicy()
_COMPARE: Final = Compare()
_FALLBACK: Final = Fallback()
_RETRY: Final = Retry()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The site as its readers see it.

    hosts: lower-case, `*.example.com` allowed; empty: any · name: our pseudonym in Via,
    Cache-Status and Proxy-Status.
    """

    hosts: tuple[str, ...] = ()
    trust_forwarded_from: tuple[Network, ...] = ()
    name: str = "strangler"

    def serves(self, host: str) -> bool:
        """Tell whether *host* (lower case, no port) is one of the site's."""
        if not self.hosts or host in self.hosts:
            return True
        return any(host.endswith(known[1:]) for known in self.hosts if known.startswith("*."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenTls:
    """Certificate chain and private key of a listener: absolute paths of PEM files."""

    cert: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """One address: `host` and `port`, or the absolute path of a unix socket.

    An empty host means every address, IPv4 and IPv6.
    """

    host: str = ""
    port: int = 0
    unix: str | None = None
    tls: ListenTls | None = None

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may ask of the edge.

    inflight: requests at work in a worker, near which work is let go · body_timeout: between two
    reads of a request's body · idle_timeout: between two requests ·
    write_timeout: a reader that takes nothing · tunnel_idle: either way of an upgraded
    connection · drain: what runs may go on so long after a stop.
    """

    line: int = 16 << 10
    head: int = 64 << 10
    fields: int = 256
    connections: int = 20_000
    inflight: int = 10_000
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    write_timeout: float = 60.0
    tunnel_idle: float = 3600.0
    drain: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address of an upstream.

    host and port are where to connect; with a unix socket `unix` is its path and host is
    `localhost`. prefix: path put before every request's path, without a final slash, or empty.
    """

    url: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    unix: str | None = None
    prefix: bytes = b""

    @property
    def host_field(self) -> bytes:
        """Return what Host says of this endpoint where it is asked by its own name."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        if self.unix is not None or self.port == default:
            return host.encode()
        return f"{host}:{self.port}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Limits of one fetch's steps in seconds.

    attempt: one attempt from its beginning to its end · total: all attempts together.
    """

    connect: float = 1.0
    first_byte: float = 20.0
    between: float = 60.0
    attempt: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an endpoint is probed; path None means that a TCP connection is enough.

    json: members that the answer must have, nested mappings compared member by member · body:
    regular expression that must occur · rise, fall: answers in a row that change the verdict.
    """

    path: str | None
    every: float = 5.0
    timeout: float = 2.0
    status: frozenset[int] = frozenset({200})
    json: Mapping[str, Any] | None = None
    body: str | None = None
    rise: int = 2
    fall: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """Idle connections kept per endpoint, and for how long."""

    connections: int = 64
    idle: float = 55.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """Client credentials (RFC 6749 §4.4) for a protected upstream."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How an https endpoint proves who it is; server_name also goes into SNI."""

    verify: bool = True
    ca: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A named group of endpoints.

    max_inflight: attempts at a time (None: no bound), or how that follows latency · queue:
    exchanges that may wait for a place · breaker None: none. Two are equal if they mean the same,
    wherever they stand: an upstream that an edit only moves keeps its connections.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    role: Literal["legacy", "service"] = "service"
    owner: str = ""
    timeouts: Timeouts = Timeouts()
    health: Health | None = None
    max_inflight: int | Adaptive | None = None
    queue: int = 100
    keepalive: Keepalive = Keepalive()
    breaker: Breaker | None = _BREAKER
    oauth2: OAuth2 | None = None
    tls: Tls | None = None
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """An answer of the edge itself: go elsewhere."""

    location: Template
    status: int = 302
    keep_query: bool = True

    def target(self, params: Mapping[str, bytes], query: bytes = b"") -> bytes:
        """Return the Location for a request with these path parameters and query string."""
        location = self.location.fill(params)
        if not query or not self.keep_query:
            return location
        before, mark, fragment = location.partition(b"#")
        return before + (b"&" if b"?" in before else b"?") + query + mark + fragment


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A file of HTML that the edge itself answers with; path is absolute."""

    path: str
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """Another path for the upstream: a template of parameters, or some first segments less.

    strip counts segments, not bytes: a path that matches may spell its letters as escapes.
    """

    strip: int = 0
    template: Template | None = None

    def apply(self, path: bytes, params: Mapping[str, bytes]) -> bytes:
        """Return the raw path to send; *path* is the raw path received, without its query."""
        if self.template is not None:
            return self.template.fill(params)
        rest = path.split(b"/", self.strip + 1)
        return b"/" + rest[-1] if len(rest) > self.strip + 1 else b"/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Request bodies: max is answered 413 beyond (None: any size); replay is what is kept."""

    max: int | None = 30 << 20
    replay: int = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldEdits:
    """Fields to set (replacing all of that name) and names to remove.

    Names in `set` keep the case of the file; those in `secret` (lower case) have a value from
    the environment, which is never shown.
    """

    set: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    remove: tuple[bytes, ...] = ()
    secret: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderEdits:
    """Edits of the request on its way up and of the response on its way down."""

    request: FieldEdits = FieldEdits()
    response: FieldEdits = FieldEdits()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTest:
    """A question beside the route and the answer that its owner expects.

    goes_to: an upstream's name, or redirect, gone, page · route: the winner's key · sends: the
    path with query that the upstream would see. None: not asked.
    """

    method: bytes
    target: bytes
    host: bytes | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()
    goes_to: str | None = None
    route: str | None = None
    status: int | None = None
    location: str | None = None
    sends: str | None = None
    place: Place = Place("", 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """Match, target and policies. Compared and hashed by identity: one object a snapshot.

    key: as in the file; where several routes share it, those with conditions say them too ·
    upstream: the name of `to`, None for a plain legacy route · legacy: the name of the upstream
    with that role · timeouts: of fetches from `upstream` (or from legacy, if there is none),
    complete; None: as the upstream says. Other upstreams keep their own · breaker: "upstream",
    or a breaker of this route alone, or None: none · max_inflight: the route's own bulkhead ·
    fallback: as `stage` leaves it · unsealed: what it is before the route is sealed, where that is
    something else.
    """

    key: str
    place: Place
    pattern: Pattern
    methods: frozenset[bytes]
    host: bytes | None
    conditions: Conditions
    action: Literal["proxy", "redirect", "gone", "page"]
    stage: Stage
    canary: Canary
    upstream: str | None = None
    legacy: str | None = None
    redirect: Redirect | None = None
    gone: int | None = None
    page: Page | None = None
    rewrite: Rewrite | None = None
    host_mode: str = "keep"
    body: Body = Body()
    timeouts: Timeouts | None = None
    retry: Retry = _RETRY
    breaker: Breaker | Literal["upstream"] | None = "upstream"
    max_inflight: int | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    fallback: Fallback = _FALLBACK
    unsealed: Fallback | None = None
    cache: CachePolicy = _CACHE
    compare: Compare = _COMPARE
    headers: HeaderEdits = HeaderEdits()
    owner: str = ""
    until: date | None = None
    tests: tuple[RouteTest, ...] = ()

    def cannot_be(self, stage: Stage) -> str:
        """Return why this route can't have *stage*, empty where it can."""
        if self.action != "proxy":
            return f"the edge itself answers this route ({self.action})"
        if self.upstream is None and stage.word != "legacy":
            return f"{stage} needs a service, and `to` names none"
        if self.legacy is None and stage.word in ("legacy", "shadow", "canary"):
            return f"{stage} needs an upstream with role legacy, and there is none"
        return ""

    def cannot_have(self, kind: str, value: object) -> str:
        """Return why an override of *kind* with *value* means nothing here, empty where it does."""
        if kind == "maintenance":
            return ""
        if self.action != "proxy" and kind in ("breaker", "cache", "fault", "priority", "stage"):
            return f"the edge itself answers this route ({self.action})"
        if kind == "cache" and value != "bypass" and self.cache.mode == "none":
            return f"{value} needs copies, and nothing of this route is kept (cache: none)"
        return ""

    def asks(self, stage: Stage) -> tuple[str, ...]:
        """Return the upstreams that answer its readers at *stage*; fallbacks aren't counted."""
        if self.action != "proxy":
            return ()
        of_legacy = stage.word in ("legacy", "shadow", "canary")
        of_service = stage.word in ("canary", "live", "sealed", "retired")
        sides = (self.legacy if of_legacy else None, self.upstream if of_service else None)
        return tuple(name for name in sides if name is not None)

    def fallback_at(self, stage: Stage) -> Fallback:
        """Return the ladder while *stage* is the effective one: from sealed on without legacy."""
        if stage == self.stage:
            return self.fallback
        ladder = self.fallback if self.unsealed is None else self.unsealed
        if stage.word not in ("sealed", "retired"):
            return ladder
        return replace(ladder, then=tuple(rung for rung in ladder.then if rung.kind != "legacy"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OverridePolicy:
    """How long an operator's override lasts, and where it is recorded.

    default, max: seconds · changes: how many a second one token may make, None: any · store:
    `file`, `file:PATH` or a redis URL.
    """

    default: float = 1800.0
    max: float = 86_400.0
    changes: int | None = 60
    store: str = field(default="file", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Where traces go. endpoint: a URL · sample: share of new traces, 0 to 1."""

    endpoint: str
    sample: float = 0.01
    service: str = "strangler"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a configuration: its name as diagnostics print it, and its text."""

    name: str
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """Everything that the data plane needs to know, never changed after it is made.

    hash: sha256 in hex over the names and bytes of all files · listen, admin, workers: empty or
    None where the file leaves them to the command line · root: absolute path of the first file.
    """

    generation: int
    hash: str
    root: str
    files: tuple[str, ...]
    site: Site
    limits: Limits
    upstreams: Mapping[str, Upstream]
    tiers: Mapping[str, Tier]
    routes: tuple[Route, ...]
    table: Table[Route]
    listen: tuple[Listen, ...] = ()
    admin: Listen | None = None
    workers: int | None = None
    overrides: OverridePolicy = OverridePolicy()
    tracing: Tracing | None = None
    warnings: tuple[Diagnostic, ...] = ()
    sources: tuple[Source, ...] = field(default=(), repr=False)
