# SPDX-License-Identifier: Apache-2.0
"""Make certificates for tests with the `openssl` program."""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate and its key, as PEM files; the first is also the CA to trust."""

    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """Return a context for a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """Return a context for a client that trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.cert))


def _alternative(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"DNS:{name}"
    return f"IP:{name}"


def certificate(folder: Path, *names: str) -> Certificate:
    """Make a certificate, valid for two days, for host *names* and addresses, in *folder*."""
    stem = names[0].replace(":", "_")
    made = Certificate(folder / f"{stem}.crt", folder / f"{stem}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={names[0]}"),
            *("-addext", f"subjectAltName={','.join(map(_alternative, names))}"),
            *("-keyout", str(made.key), "-out", str(made.cert)),
        ],
        check=True,
        capture_output=True,
    )
    return made
