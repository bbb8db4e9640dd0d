# SPDX-License-Identifier: Apache-2.0
"""Addresses and listening sockets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from strangler.config.snapshot import Listen, ListenTls
from strangler.edge import sockets

TLS = ListenTls(cert="/c.pem", key="/k.pem")


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8000", Listen(host="127.0.0.1", port=8000)),
        ("[::1]:8000", Listen(host="::1", port=8000)),
        (":8000", Listen(port=8000)),
        ("*:8000", Listen(port=8000)),
        ("8000", Listen(port=8000)),
        ("localhost:0", Listen(host="localhost", port=0)),
        ("http://127.0.0.1:80/", Listen(host="127.0.0.1", port=80)),
        ("unix:/run/x.sock", Listen(unix="/run/x.sock")),
    ],
)
def test_parse(text, listen):
    assert sockets.parse(text) == listen


def test_the_scheme_chooses_between_plain_and_tls():
    assert sockets.parse("127.0.0.1:1", tls=TLS).tls == TLS
    assert sockets.parse("https://127.0.0.1:1", tls=TLS).tls == TLS
    assert sockets.parse("http://127.0.0.1:1", tls=TLS).tls is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "HOST:PORT"),
        ("127.0.0.1", "HOST:PORT"),
        ("127.0.0.1:", "port of 0-65535"),
        ("127.0.0.1:65536", "port of 0-65535"),
        ("127.0.0.1:-1", "port of 0-65535"),
        ("127.0.0.1:８０", "port of 0-65535"),
        ("::1:8000", "brackets"),
        ("unix:", "unix:PATH"),
        ("ftp://127.0.0.1:1", "ftp"),
        ("https://127.0.0.1:1", "certificate"),
    ],
)
def test_parse_says_what_is_wrong(text, why):
    with pytest.raises(sockets.BadAddress, match=why):
        sockets.parse(text)


def test_one_socket_a_slot_on_the_same_port():
    listener = sockets.bind(Listen(host="127.0.0.1"), 3)
    try:
        ports = {sock.getsockname()[1] for sock in listener.sockets}
        assert len(listener.sockets) == 3
        assert len(ports) == 1
        assert listener.loopback
        assert listener.url == f"http://127.0.0.1:{ports.pop()}"
        # Fewer workers than sockets: every socket still has somebody who accepts from it.
        shared_out = [s for slot in range(2) for s in listener.for_slot(slot, 2)]
        assert sorted(shared_out, key=id) == sorted(listener.sockets, key=id)
        sockets.grow(listener, 4)
        assert len({sock.getsockname() for sock in listener.sockets}) == 1
        assert len(listener.sockets) == 4
    finally:
        listener.close()


def test_a_second_owner_is_refused_by_address_and_cause():
    first = sockets.bind(Listen(host="127.0.0.1"), 2)
    port = first.sockets[0].getsockname()[1]
    try:
        with pytest.raises(sockets.BindFailed, match=rf"127\.0\.0\.1:{port}: address already in"):
            sockets.bind(Listen(host="127.0.0.1", port=port), 2)
    finally:
        first.close()
    again = sockets.bind(Listen(host="127.0.0.1", port=port), 2)
    again.close()


def test_a_port_with_connections_in_time_wait_is_taken_again():
    listener = sockets.bind(Listen(host="127.0.0.1"), 1)
    address = listener.sockets[0].getsockname()
    with socket.create_connection(address) as client:
        conn, _ = listener.sockets[0].accept()
        conn.close()
        client.recv(1)
    listener.close()
    sockets.bind(Listen(host="127.0.0.1", port=address[1]), 1).close()


def test_an_address_that_is_not_ours():
    with pytest.raises(sockets.BindFailed, match=r"192\.0\.2\.1:1.*no such address"):
        sockets.bind(Listen(host="192.0.2.1", port=1), 1)


def test_a_name_that_does_not_resolve():
    with pytest.raises(sockets.BindFailed, match=r"name\.invalid:80"):
        sockets.bind(Listen(host="name.invalid", port=80), 1)


def test_every_address_means_both_families():
    listener = sockets.bind(Listen(), 1)
    try:
        families = [sock.family for sock in listener.sockets]
        assert families[0] == socket.AF_INET
        assert not listener.loopback
        assert len({sock.getsockname()[1] for sock in listener.sockets}) == 1
        if socket.AF_INET6 in families:
            port = listener.sockets[0].getsockname()[1]
            socket.create_connection(("::1", port)).close()
    finally:
        listener.close()


def test_unix_paths(tmp_path):
    path = str(tmp_path / "s.sock")
    listener = sockets.bind(Listen(unix=path), 3)
    assert len(listener.sockets) == 1
    assert listener.for_slot(0, 3) == listener.for_slot(2, 3) == listener.sockets
    with pytest.raises(sockets.BindFailed, match="already in use"):
        sockets.bind(Listen(unix=path), 1)
    sockets.unlink_unix([listener])  # it answers, so it may be another's
    assert os.path.exists(path)
    listener.close()
    taken_over = sockets.bind(Listen(unix=path), 1)  # left behind by a process that was killed
    taken_over.close()
    sockets.unlink_unix([taken_over])
    assert not os.path.exists(path)


def test_a_file_in_the_way_of_a_unix_path_is_kept(tmp_path):
    path = tmp_path / "precious"
    path.write_text("text")
    with pytest.raises(sockets.BindFailed, match="no socket"):
        sockets.bind(Listen(unix=str(path)), 1)
    assert path.read_text() == "text"


def test_sockets_and_their_queue_survive_an_exec():
    listener = sockets.bind(Listen(host="127.0.0.1"), 2)
    address = listener.sockets[0].getsockname()
    told = json.dumps(sockets.export([listener]))
    clients = [socket.create_connection(address) for _ in range(8)]
    program = (
        "import json, sys\n"
        "from strangler.edge import sockets\n"
        "from strangler.edge.worker import accept_queued\n"
        "found = sockets.inherit(json.loads(sys.argv[1]))\n"
        "[listener] = found.pop('127.0.0.1:0')\n"
        "taken = [accept_queued(sock) for sock in listener.sockets]\n"
        "assert not any(sock.get_inheritable() for sock in listener.sockets)\n"
        "print(sum(map(len, taken)), listener.url)\n"
    )
    try:
        said = subprocess.run(
            [sys.executable, "-c", program, told],
            close_fds=False,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout.split()
        assert said == ["8", f"http://127.0.0.1:{address[1]}"]
    finally:
        for client in clients:
            client.close()
        listener.close()
