# SPDX-License-Identifier: Apache-2.0
"""Ask one endpoint on purpose how it is: one request on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httptools

from strangler.config.snapshot import Endpoint, Health, Tls

_MOST_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe found: passed or not, in words, and how long it took in seconds."""

    passed: bool
    output: str
    duration: float


class _Answer:
    """Collect one response for the parser."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


async def probe(
    endpoint: Endpoint, health: Health, *, tls: Tls | None = None, host: str = ""
) -> Outcome:
    """Probe ``endpoint`` as ``health`` says; a path of None asks for a connection only.

    Never raises: whatever goes wrong is the outcome, named by its RFC 9209 type.
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(health.timeout):
            said = await _ask(endpoint, health, tls, host)
        passed, output = said
    except TimeoutError:
        passed, output = False, f"connection_timeout: no answer within {health.timeout:g} s"
    except ConnectionRefusedError:
        passed, output = False, "connection_refused"
    except ssl.SSLError as problem:
        passed, output = False, f"tls_protocol_error: {problem.reason or problem}"
    except (httptools.HttpParserError, EOFError) as problem:
        passed, output = False, f"http_protocol_error: {problem}"
    except OSError as problem:
        passed, output = False, f"destination_unavailable: {problem.strerror or problem}"
    except Exception as problem:
        passed, output = False, f"proxy_internal_error: {problem!r}"
    return Outcome(passed, output, time.monotonic() - began)


async def _ask(endpoint: Endpoint, health: Health, tls: Tls | None, host: str) -> tuple[bool, str]:
    context = _context(tls) if endpoint.scheme == "https" else None
    name = (tls.server_name if tls else None) or endpoint.host
    server_name = name if context else None
    if endpoint.unix is not None:
        reader, writer = await asyncio.open_unix_connection(
            endpoint.unix, ssl=context, server_hostname=server_name
        )
    else:
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=context, server_hostname=server_name
        )
    try:
        if health.path is None:
            return True, "connected"
        path = endpoint.prefix + health.path.encode()
        authority = (host or _authority(endpoint)).encode()
        writer.write(
            b"GET " + path + b" HTTP/1.1\r\nHost: " + authority + b"\r\n"
            b"User-Agent: strangler-probe\r\nAccept: application/json, */*\r\n"
            b"Connection: close\r\n\r\n"
        )
        status, body = await _read(reader)
        return _judge(health, status, body)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.complete:
        data = await reader.read(64 << 10)
        if not data:
            if not parser.get_status_code():
                raise EOFError("the connection closed without an answer")
            break
        parser.feed_data(data)
        if len(answer.body) > _MOST_BYTES:
            break
    return parser.get_status_code(), bytes(answer.body)


def _judge(health: Health, status: int, body: bytes) -> tuple[bool, str]:
    if status not in health.status:
        wanted = " or ".join(str(one) for one in sorted(health.status))
        return False, f"expected status {wanted}, got {status}"
    if health.json is not None:
        try:
            difference = _difference(health.json, json.loads(body))
        except ValueError:
            return False, "expected JSON, got something else"
        if difference:
            return False, difference
    if health.body is not None and not re.search(health.body, body.decode("utf-8", "replace")):
        return False, f"the body does not match {health.body!r}"
    return True, f"status {status}"


def _difference(wanted: Mapping[str, Any], got: Any, where: str = "") -> str:
    """Say which member differs, or nothing."""
    if not isinstance(got, Mapping):
        return f"JSON{where}: expected an object, got {str(got)[:60]!r}"
    for name, value in wanted.items():
        path = f"{where}.{name}"
        if isinstance(value, Mapping):
            found = _difference(value, got.get(name), path)
            if found:
                return found
        elif got.get(name) != value:
            return f"JSON{path}: expected {value!r}, got {str(got.get(name))[:60]!r}"
    return ""


def _authority(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    usual = {"http": 80, "https": 443}[endpoint.scheme]
    return host if endpoint.unix or endpoint.port == usual else f"{host}:{endpoint.port}"


def _context(tls: Tls | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca if tls else None)
    if tls is not None and not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
