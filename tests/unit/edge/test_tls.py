# SPDX-License-Identifier: Apache-2.0
"""Certificates are replaced in use, and a pair that does not load changes nothing."""

from __future__ import annotations

import logging
import os
import ssl

import pytest

from strangler.config.snapshot import ListenTls
from strangler.edge import tls
from strangler.testing.certificates import certificate


@pytest.fixture
def pairs(tmp_path):
    made = {}
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        made[name] = certificate(tmp_path / name, f"{name}.example.com")
    live = tmp_path / "live"
    live.mkdir()
    files = ListenTls(cert=str(live / "cert.pem"), key=str(live / "key.pem"))

    def put(cert: str | None = None, key: str | None = None) -> None:
        for name, path, kind in ((cert, files.cert, "cert"), (key, files.key, "key")):
            if name is not None:
                data = getattr(made[name], kind).read_bytes()
                with open(path + ".new", "wb") as file:
                    file.write(data)
                os.replace(path + ".new", path)

    put("old", "old")
    return files, put, made


def served_name(context: ssl.SSLContext) -> str:
    """Handshake in memory and return the name that the server proved."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    client = ours.wrap_bio(to_client, to_server, server_hostname="any.example.com")
    server = context.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    while len(done) < 2:
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return "new" if b"new.example.com" in der else "old"


def test_a_renewed_pair_is_served_to_new_handshakes(pairs):
    files, put, _ = pairs
    one = tls.Certificate(files)
    assert served_name(one.context) == "old"
    assert one.refresh() is None
    put("new", "new")
    assert one.refresh() is True
    assert served_name(one.context) == "new"
    assert one.refresh() is None


def test_half_of_a_pair_keeps_the_old_one_until_the_rest_comes(pairs):
    files, put, _ = pairs
    one = tls.Certificate(files)
    put(cert="new")
    assert one.refresh() is None
    assert served_name(one.context) == "old"
    put(key="new")
    assert one.refresh() is True
    assert served_name(one.context) == "new"


def test_a_broken_pair_is_refused_once_and_loudly(pairs, caplog):
    files, _, _ = pairs
    one = tls.Certificate(files)
    with open(files.cert, "w") as file:
        file.write("nonsense")
    with caplog.at_level(logging.WARNING, "strangler.events"):
        assert [one.refresh() for _ in range(4)] == [None, False, None, None]
    assert [record.message for record in caplog.records] == ["tls.rejected"]
    assert served_name(one.context) == "old"


@pytest.mark.parametrize("fault", ["broken", "away"])
def test_a_pair_that_does_not_load_at_the_start_leaves_the_one_that_was_kept(pairs, caplog, fault):
    files, put, _ = pairs
    kept = tls.make_context(files)
    if fault == "broken":
        with open(files.cert, "w") as file:
            file.write("nonsense")
    else:
        os.unlink(files.key)
    with pytest.raises((OSError, ssl.SSLError)):
        tls.Certificate(files)
    with caplog.at_level(logging.WARNING, "strangler.events"):
        one = tls.Certificate(files, kept)
    assert [record.message for record in caplog.records] == ["tls.rejected"]
    assert served_name(one.context) == "old"
    assert one.refresh() is None
    put("new", "new")
    assert one.refresh() is True
    assert served_name(one.context) == "new"


def test_a_file_that_is_away_for_a_moment(pairs):
    files, put, _ = pairs
    one = tls.Certificate(files)
    os.unlink(files.key)
    assert one.refresh() is None
    put("new", "new")
    assert one.refresh() is True
    assert served_name(one.context) == "new"


def test_why_names_the_cause(pairs):
    files, put, _ = pairs
    put(cert="new")
    with pytest.raises(ssl.SSLError) as mismatch:
        tls.make_context(files)
    assert "key does not belong" in tls.why(mismatch.value)
    with pytest.raises(OSError) as missing:
        tls.make_context(ListenTls(cert="/nowhere.pem", key=files.key))
    assert "no such file" in tls.why(missing.value)


def test_only_modern_tls_and_http11(pairs):
    files, _, _ = pairs
    context = tls.make_context(files)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
