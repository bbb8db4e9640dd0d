# SPDX-License-Identifier: Apache-2.0
"""TLS for listeners: one context a listener, its certificate replaced when the files change.

A handshake asks for the context in force at that moment, so a renewed certificate is served to
new connections while open ones keep theirs. A pair that does not load (half written, the key not
yet replaced) leaves the old one in force, also for a worker that begins meanwhile: the supervisor,
from which workers are forked, keeps what loaded last.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterable

from strangler.config.snapshot import ListenTls
from strangler.observe.events import announce

_EVERY = 1.0

_Signature = tuple[tuple[int, int, int], ...]


class Certificate:
    """The certificate of a listener, which may be replaced while it is in use."""

    def __init__(self, files: ListenTls, kept: ssl.SSLContext | None = None) -> None:
        """Load both files, or go on with ``kept``, which they held before, if they don't load.

        Without ``kept`` raises OSError or ssl.SSLError, which names no file: see :func:`why`.
        """
        self.files = files
        self._seen = self._try_signature()
        self._refused: _Signature | None = None
        try:
            self._current = make_context(files)
        except (OSError, ssl.SSLError) as problem:
            if kept is None:
                raise
            announce("tls.rejected", level=30, file=files.cert, error=why(problem))
            self._current = kept
        self.context = self._current
        """For ``create_server``; hands every handshake on to the certificate in force."""
        self.context.sni_callback = self._choose

    def _choose(
        self, handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, first: ssl.SSLContext
    ) -> None:
        handshake.context = self._current

    def _signature(self) -> _Signature:
        found = (os.stat(self.files.cert), os.stat(self.files.key))
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)

    def refresh(self) -> bool | None:
        """Load the files anew if they changed. True: replaced; False: refused; None: nothing new.

        A refusal is said at the second look at the same files, for the first may have come between
        two writes.
        """
        try:
            seen = self._signature()
            if seen == self._seen:
                return None
            self._current = make_context(self.files)
        except (OSError, ssl.SSLError) as problem:
            seen = self._try_signature()
            if seen == self._refused:
                announce("tls.rejected", level=30, file=self.files.cert, error=why(problem))
                self._seen = seen
                return False
            self._refused = seen
            return None
        self._seen = seen
        self._refused = None
        announce("tls.reloaded", file=self.files.cert)
        return True

    def _try_signature(self) -> _Signature:
        try:
            return self._signature()
        except OSError:
            return ()


def make_context(files: ListenTls) -> ssl.SSLContext:
    """Make a server's context: TLS 1.2 and up, HTTP/1.1 by ALPN. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    # An empty password, lest a protected key asks for one on the terminal.
    context.load_cert_chain(files.cert, files.key, password="")
    return context


def why(problem: OSError | ssl.SSLError) -> str:
    """Return in plain words why a certificate does not load."""
    if isinstance(problem, ssl.SSLError):
        reasons = {
            "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
            "NO_START_LINE": "no PEM data in the file",
        }
        return reasons.get(problem.reason or "", problem.reason or "not a PEM certificate and key")
    return (problem.strerror or str(problem)).lower() + (
        f": {problem.filename}" if problem.filename else ""
    )


async def keep_fresh(
    certificates: Iterable[Certificate], replaced: Callable[[], object], every: float = _EVERY
) -> None:
    """Look at the files every so many seconds, for ever, and tell when a pair was replaced."""
    watched = list(certificates)
    while watched:
        await asyncio.sleep(every)
        for certificate in watched:
            if certificate.refresh():
                replaced()
