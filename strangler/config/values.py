# SPDX-License-Identifier: Apache-2.0
"""The kinds of value that belong to a proxy: addresses, URLs, fields, stages, rungs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from strangler.config.diagnostics import did_you_mean
from strangler.config.document import Node, Scalar
from strangler.config.kinds import BAD, Context, Rejected, ScalarKind, printable
from strangler.config.scalars import Duration, Share, Text
from strangler.config.snapshot import Endpoint, Listen, Network
from strangler.migrate.parity import FIELDS
from strangler.resilience.policy import FAILURE_WORDS, Hedge, Rung
from strangler.rollout import LIFE, Malformed, Stage, parse_by, parse_percent, parse_stage
from strangler.template import Template
from strangler.units import UnitError, percent

TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
NAME: Final = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?", re.IGNORECASE | re.ASCII)
_URL: Final = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:([^/@]*)@)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@]+)(?::([0-9]{1,6}))?"
    r"(/[^?#]*)?(\?[^#]*)?(#.*)?",
    re.ASCII,
)
# Framing and routing are the engine's: a route that edits these would break the message or the
# rules by which it was let in (RFC 9112 §6, RFC 9110 §7.6.1).
RESERVED_FIELDS: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
RESERVED_NAMES: Final = frozenset(
    {"none", "stale", "archive", "origin", "redirect", "gone", "page", "service"}
)
# A default in the file would be the secret itself, so here a reference has none.
_SECRET: Final = re.compile(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}")
_PASSWORD: Final = re.compile(r"://[^/@:]*:((?:\$\{[^}]*\}|[^@/])+)@")
STORES: Final = (
    "memory",
    "sqlite:PATH",
    "redis://",
    "rediss://",
    "redis+sentinel://",
    "redis+cluster://",
    "toredis://",
    "mongodb://",
    "mongodb+srv://",
)


def _port(text: str | None, default: int, low: int = 1) -> int:
    if text is None:
        return default
    if not low <= int(text) <= 65535:
        raise Rejected(f"a port {low}-65535", got=text)
    return int(text)


def host_name(text: str) -> str:
    """Return *text* as a lower-case ASCII host name or IP address; raise Rejected."""
    bare = text.removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            raise Rejected("a host name or an IP address") from None
    if not text.isascii():
        try:
            hint = f"write {text.lower().encode('idna').decode()}"
        except UnicodeError:
            hint = None
        raise Rejected("a host name in ASCII", hint)
    if not _HOST.fullmatch(text) or len(text) > 253:
        raise Rejected("a host name or an IP address")
    if re.fullmatch(r"[0-9.]+", text):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise Rejected("a host name or an IP address") from None
    return text.lower().removesuffix(".")


class SiteHost(ScalarKind):
    """A host that the site answers for."""

    name = "a host such as www.example.com or *.example.com"

    def parse(self, text: str, plain: bool) -> str:
        if "://" in text or "/" in text:
            raise Rejected(self.name, "leave out scheme and path")
        if re.search(r":[0-9]+$", text) and text.count(":") == 1:
            raise Rejected(self.name, "hosts are matched without their port")
        if text == "*":
            raise Rejected(self.name, "leave out `hosts` to answer for any")
        return host_name(text)


class NetworkKind(ScalarKind):
    """An address or a range of addresses."""

    name = "a network such as 10.0.0.0/8"

    def parse(self, text: str, plain: bool) -> Network:
        try:
            return ipaddress.ip_network(text)
        except ValueError:
            pass
        try:
            hint = f"write {ipaddress.ip_network(text, strict=False)}"
        except ValueError:
            hint = None
        raise Rejected(self.name, hint)


class Address(ScalarKind):
    """Where to listen."""

    name = "an address such as 127.0.0.1:8000, [::1]:8000, :8000 or unix:/run/edge.sock"
    located = True
    _form: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,6})", re.ASCII)

    def parse(self, text: str, plain: bool) -> Listen:
        return parse_address(text)


def parse_address(text: str) -> Listen:
    """Return the address that *text* names, without TLS; raise Rejected.

    `HOST:PORT`, `[IPv6]:PORT`, `:PORT` or `*:PORT` (every address), `unix:PATH`. Port 0 asks the
    system for a free one.
    """
    if text.startswith("unix:"):
        path = text[5:].removeprefix("//")
        if not path or "\0" in path or len(path.encode()) > 107:
            raise Rejected("unix: and a path of at most 107 bytes")
        return Listen(unix=path)
    found = Address._form.fullmatch(text)
    if found is None:
        hint = None
        if text.isdecimal():
            hint = f'write ":{text}" for every address, 127.0.0.1:{text} for this machine alone'
        elif "://" in text:
            hint = "leave out the scheme; TLS is said by `tls: {cert, key}`"
        elif text.count(":") > 1:
            hint = 'put IPv6 in brackets and quotes: "[::1]:8000"'
        raise Rejected(Address.name, hint)
    host = "" if found[1] in ("", "*") else host_name(found[1])
    return Listen(host=host, port=_port(found[2], 0, 0))


class Url(ScalarKind):
    """An http or https URL, or a unix socket, as an endpoint."""

    located = True

    def __init__(self, *, unix: bool = True) -> None:
        self._unix = unix
        self.name = "a URL such as http://127.0.0.1:8101"
        self.pattern = r"https?://[^\s?#]+" + ("|unix:.+" if unix else "")

    def parse(self, text: str, plain: bool) -> Endpoint:
        if self._unix and text.startswith("unix:"):
            listen = parse_address(text)
            return Endpoint(url=text, scheme="http", host="localhost", port=0, unix=listen.unix)
        found = _URL.fullmatch(text)
        if found is None:
            bare = re.fullmatch(r"[^\s:/@]+(:[0-9]+)?(/.*)?", text)
            raise Rejected(self.name, f"write http://{text}" if bare else None)
        scheme, user, host, port, path, query, fragment = found.groups()
        if scheme not in ("http", "https"):
            raise Rejected("http:// or https://", "an http2 or gRPC upstream is not supported")
        if user is not None:
            raise Rejected("a URL without a user", code="S110", got="one with user@ in it")
        if query is not None or fragment is not None:
            raise Rejected("a URL without query and fragment")
        if "*" in host:
            raise Rejected(self.name)
        path = path or ""
        if re.search(r"[\x00-\x20\x7f]", path):
            raise Rejected("a path without spaces and control characters")
        prefix = quote(path.rstrip("/"), safe="/%!$&'()*+,;=:@~-._").encode()
        return Endpoint(
            url=text,
            scheme="https" if scheme == "https" else "http",
            host=host_name(host),
            port=_port(port, 443 if scheme == "https" else 80),
            prefix=prefix,
        )


class Store(ScalarKind):
    """Where a cache tier lives."""

    name = "memory, sqlite:PATH, or a redis, toredis or mongodb URL"
    located = True

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        found = _PASSWORD.search(node.text) if isinstance(node, Scalar) else None
        if found and not _SECRET.fullmatch(found[1]):
            ctx.report(node.place, path, "S110", "expected ${env:NAME}, got a password")
            return BAD
        return super().read(node, path, ctx)

    def parse(self, text: str, plain: bool) -> str:
        scheme, _, rest = text.partition(":")
        known = {store.partition(":")[0] for store in STORES}
        if scheme not in known or bool(rest) != (scheme != "memory"):
            hint = did_you_mean(scheme, known)
            if text == "memory:":
                hint = "write memory"
            elif text in ("redis", "toredis", "mongodb"):
                hint = f"write {text}://HOST"
            raise Rejected(self.name, hint, got=printable_url(text))
        if scheme not in ("memory", "sqlite") and not rest.startswith("//"):
            raise Rejected(f"{scheme}://HOST", got=printable_url(text))
        return text


class OverrideStore(Store):
    """Where overrides are recorded."""

    name = "file, file:PATH, or a redis URL"
    schemes = ("redis", "rediss", "redis+sentinel", "redis+cluster")

    def parse(self, text: str, plain: bool) -> str:
        scheme, _, rest = text.partition(":")
        if scheme == "file" and text != "file:":
            return text
        if scheme not in self.schemes or not rest.startswith("//"):
            hint = "write file" if text == "file:" else did_you_mean(scheme, self.schemes)
            raise Rejected(self.name, hint, got=printable_url(text))
        return text


def printable_url(text: str) -> str:
    """Return *text* for a message, a password in it masked."""
    return printable(re.sub(r"(://[^/@:]*:)[^/@]*@", r"\1...@", text))


class Secret(ScalarKind):
    """A secret: only as a reference to an environment variable, and never shown."""

    name = "${env:NAME}"
    located = True

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if isinstance(node, Scalar) and node.text and not _SECRET.fullmatch(node.text):
            ctx.report(node.place, path, "S110", "expected ${env:NAME}, got the secret itself")
            return BAD
        return super().read(node, path, ctx)

    def parse(self, text: str, plain: bool) -> str:
        if not text:
            raise Rejected("a secret that is not empty", got="nothing")
        return text

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", "pattern": r"\$\{env:"}


class FieldName(ScalarKind):
    """The name of a header field, lower-case bytes."""

    name = "the name of a header field"
    pattern = TOKEN

    def __init__(self, *, editable: bool = False) -> None:
        self._editable = editable

    def parse(self, text: str, plain: bool) -> bytes:
        if not re.fullmatch(TOKEN, text, re.ASCII):
            raise Rejected(self.name)
        lower = text.lower()
        if self._editable and lower in RESERVED_FIELDS:
            hint = "say `host: upstream` or a name" if lower == "host" else None
            raise Rejected("a field that does not frame the message", hint)
        return lower.encode()


class FieldValue(ScalarKind):
    """The value of a header field: no control characters (RFC 9110 §5.5)."""

    name = "the value of a header field"
    located = True

    def parse(self, text: str, plain: bool) -> bytes:
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text) or text != text.strip():
            raise Rejected("a value in one line, without control characters around or in it")
        return text.encode()

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["string", "number"]}


class Method(ScalarKind):
    """A request method in capitals."""

    name = "a method such as GET"
    pattern = r"[A-Z][A-Z0-9_-]*"

    def parse(self, text: str, plain: bool) -> bytes:
        if not re.fullmatch(r"[A-Z][A-Z0-9_-]*", text, re.ASCII):
            upper = text.upper()
            raise Rejected(
                self.name, f"write {upper}" if re.fullmatch("[A-Z]+", upper, re.ASCII) else None
            )
        return text.encode()


class StageKind(ScalarKind):
    """A stage of a route's life."""

    name = "legacy, shadow N%, canary N%, live, sealed or retired"
    unit = "%"
    range = "0-100 %"
    pattern = r"legacy|(shadow|canary) [0-9]+(\.[0-9]{1,2})? ?%|live|sealed|retired"
    located = True

    def parse(self, text: str, plain: bool) -> Stage:
        word, space, rest = text.partition(" ")
        if word in ("shadow", "canary") and space:
            try:
                value = percent(rest)
            except UnitError:
                value = 0.0
            if not 0 <= value <= 100:
                raise Rejected("0-100 %", code="S104", got=f"{value:g} %")
        try:
            return parse_stage(text)
        except Malformed as error:
            missing = "with its unit" in error.expected
            unknown = word not in LIFE
            raise Rejected(
                error.expected,
                error.hint or (did_you_mean(word, LIFE) if unknown else None),
                code="S105" if missing else "S106" if unknown else "S107",
            ) from None


class Grammar(ScalarKind):
    """A text with a grammar of rollout's own."""

    def __init__(self, name: str, read: Callable[[str], Any], *, located: bool = False) -> None:
        self.name = name
        self._read = read
        self.located = located

    def parse(self, text: str, plain: bool) -> Any:
        try:
            return self._read(text)
        except Malformed as error:
            raise Rejected(error.expected, error.hint or None) from None


BY: Final = Grammar("reader, address, user, user:COOKIE, cookie:NAME or header:NAME", parse_by)


class Growth(ScalarKind):
    """How much worse the service may be: text that rollout reads."""

    def __init__(self, example: str, unit: str) -> None:
        self.name = f"a growth such as {example}"
        self.unit = unit
        self.pattern = rf"\+[0-9]+(\.[0-9]+)? ?{unit}"

    def parse(self, text: str, plain: bool) -> str:
        assert self.pattern is not None
        if not re.fullmatch(self.pattern, text, re.ASCII):
            hint = f"write +{text}" if re.fullmatch(self.pattern, "+" + text, re.ASCII) else None
            raise Rejected(self.name, hint)
        return text


class Step(Share):
    """A step of a canary: the text, for rollout's own parser, once it is a percentage."""

    def parse(self, text: str, plain: bool) -> Any:
        self.percent(text)
        return text


class SharePart(Share):
    """A share of requests, in hundredths of a percent (0-10000) as buckets count."""

    pattern = r"[0-9]+(\.[0-9]{1,2})? ?%"

    def parse(self, text: str, plain: bool) -> int:
        self.percent(text)
        try:
            return parse_percent(text)
        except Malformed as error:
            raise Rejected(error.expected, error.hint or None) from None


class Ignored(ScalarKind):
    """A difference that does not count, as `migrate.parity` names it."""

    name = "status, header:NAME, json:PATH, html:PATH, body, body:large or text:EXPRESSION"
    pattern = (
        r"status(:[0-9]{3}/[0-9]{3})?|header:[a-z0-9-]+|json:[.\[].*|html:.+|body(:large)?|text:.+"
    )

    def parse(self, text: str, plain: bool) -> str:
        assert self.pattern is not None
        if not re.fullmatch(self.pattern, text, re.ASCII | re.DOTALL):
            lower = text.lower()
            hint = f"write {lower}" if re.fullmatch(self.pattern, lower, re.ASCII) else None
            raise Rejected(self.name, hint)
        kind, _, rest = text.partition(":")
        if kind == "header" and rest not in FIELDS:
            raise Rejected("a header field that is compared", did_you_mean(rest, FIELDS))
        if kind == "text":
            if len(rest) > 1000:
                raise Rejected("a regular expression of at most 1000 characters")
            try:
                re.compile(rest)
            except (re.error, OverflowError, RecursionError) as error:
                raise Rejected("a regular expression behind text:", str(error)) from None
        return text


class FailureKind(ScalarKind):
    """A way to fail: a word, a status, or a class of statuses. The value is a set of them."""

    name = ", ".join(FAILURE_WORDS) + ", a status such as 503, or 5xx"

    def parse(self, text: str, plain: bool) -> frozenset[str | int]:
        if text in FAILURE_WORDS:
            return frozenset({text})
        if text in ("4xx", "5xx"):
            first = int(text[0]) * 100
            return frozenset(range(first, first + 100))
        if re.fullmatch(r"[0-9]{3}", text, re.ASCII):
            if 400 <= int(text) <= 599:
                return frozenset({int(text)})
            raise Rejected("a status 400-599", code="S104")
        raise Rejected(self.name, did_you_mean(text, FAILURE_WORDS), code="S106")

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 400, "maximum": 599},
                {"type": "string", "pattern": f"^({'|'.join(FAILURE_WORDS)}|[45]xx)$"},
            ]
        }


class StatusKind(ScalarKind):
    """A status that a probe may get, or a class of them. The value is a set."""

    name = "a status such as 200, or 2xx"

    def parse(self, text: str, plain: bool) -> frozenset[int]:
        if re.fullmatch(r"[2-5]xx", text, re.ASCII):
            first = int(text[0]) * 100
            return frozenset(range(first, first + 100))
        if re.fullmatch(r"[2-5][0-9]{2}", text, re.ASCII):
            return frozenset({int(text)})
        raise Rejected(self.name)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 200, "maximum": 599},
                {"type": "string", "pattern": "^[2-5]xx$"},
            ]
        }


class RungKind(ScalarKind):
    """A rung of the fallback ladder."""

    name = "stale, legacy, archive, an upstream's name or page:FILE"
    located = True

    def parse(self, text: str, plain: bool) -> Rung:
        if text in ("stale", "legacy", "archive"):
            return Rung(text)  # type: ignore[arg-type]
        if text.startswith("page:"):
            if not text[5:] or "\0" in text:
                raise Rejected("page: and the name of a file")
            return Rung("page", text[5:])
        if not re.fullmatch(NAME, text, re.ASCII):
            raise Rejected(self.name)
        return Rung("upstream", text)


class HedgeKind(ScalarKind):
    """When a second attempt starts beside the first."""

    name = "a percentile such as p95, or a duration"
    unit = "ms, s"
    range = "p50-p99, 1ms-1m"

    def parse(self, text: str, plain: bool) -> Hedge:
        if found := re.fullmatch(r"p([0-9]{2})", text, re.ASCII):
            if int(found[1]) < 50:
                raise Rejected("p50-p99", code="S104")
            return Hedge(percentile=int(found[1]))
        return Hedge(after=Duration("1ms", "1m").parse(text, plain))


class TemplateKind(ScalarKind):
    """A text with a path's parameters in it."""

    located = True

    def __init__(self, name: str, *, path: bool = False, location: bool = False) -> None:
        self.name = name
        self._path = path
        self._location = location

    def parse(self, text: str, plain: bool) -> Template:
        if self._path and not re.fullmatch(r"/[^\x00-\x20\x7f?#]*", text):
            raise Rejected(self.name, f"write /{text}" if re.match(r"[\w.-]+(/|$)", text) else None)
        if self._location and not re.fullmatch(r"(/|https?://[^/?#])[^\x00-\x20\x7f]*", text):
            raise Rejected(self.name)
        if re.search(r"[\x00-\x1f\x7f]", text) or not text:
            raise Rejected(self.name)
        if (self._path or self._location) and not text.isascii():
            raise Rejected("ASCII", f"write {quote(text, safe='/:?#[]@!$&()*+,;=%{}~')}")
        try:
            return Template.parse(text)
        except ValueError as error:
            raise Rejected("text with {name} for a parameter", str(error)) from None


class Upstreamed(Text):
    """The name of an upstream, looked up later."""

    def __init__(self) -> None:
        super().__init__("the name of an upstream", NAME, located=True)
