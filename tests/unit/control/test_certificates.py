# SPDX-License-Identifier: Apache-2.0
"""Until when certificates are valid, beside what OpenSSL says of them."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

import pytest

from strangler.control.certificates import valid_until


def made(folder, days: int) -> str:
    file = folder / f"{days}.pem"
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / "key.pem")]
    what = ["-subj", "/CN=a.example", "-days", str(days), "-out", str(file)]
    command = ["openssl", "req", "-x509", *key, *what]
    subprocess.run(command, check=True, capture_output=True)
    return file.read_text()


def by_openssl(pem: str) -> datetime:
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate"], input=pem, capture_output=True, text=True
    ).stdout
    text = said.strip().removeprefix("notAfter=")
    return datetime.strptime(text, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)


@pytest.mark.parametrize("days", [30, 20_000])  # beyond 2049 the time is written another way
def test_it_is_what_openssl_says(tmp_path, days):
    pem = made(tmp_path, days)
    assert valid_until(pem) == by_openssl(pem)


def test_a_chain_ends_with_its_first(tmp_path):
    short, long = made(tmp_path, 3), made(tmp_path, 300)
    assert valid_until(f"a comment\n{long}\n{short}") == by_openssl(short)


@pytest.mark.parametrize(
    "content", ["", "AAAA", "MAA=", "MIIB", "MAMCAQA=", "MIICzAAAAAAA", "/////w=="]
)
def test_what_is_no_certificate(content):
    pem = f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"
    with pytest.raises(ValueError, match="not a certificate"):
        valid_until(pem)
    with pytest.raises(ValueError, match="expected a PEM certificate"):
        valid_until(content)
