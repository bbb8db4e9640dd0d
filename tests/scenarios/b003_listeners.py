# SPDX-License-Identifier: Apache-2.0
"""Where the edge listens and what it connects to: IPv6, unix sockets, TLS, several endpoints."""

from __future__ import annotations

import ssl
import tempfile

import pytest

from strangler.testing import (
    Edge,
    RawClient,
    Scenario,
    Upstream,
    build,
    certificate,
    configuration,
    echo,
    until,
    unused_port,
)

LIMITS = {"drain": "1s"}


def test_ipv4_ipv6_and_unix_listeners(origin):
    port = unused_port()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/edge.sock"
        text = configuration(upstreams={"legacy": origin}, limits=LIMITS)
        with Edge(text, listen=[f"[::1]:{port}", f"unix:{path}"]) as edge:
            edge.get("/four").expect(200)
            with RawClient(("::1", port)) as client:
                client.get("/six").expect(200)
            with RawClient(path) as client:
                client.get("/unix").expect(200)
                client.get("/unix").expect(200)
    by_path = {each.path: each for each in origin.requests}
    assert by_path[b"/four"].get("X-Forwarded-For") == b"127.0.0.1"
    assert by_path[b"/six"].get("X-Forwarded-For") == b"::1"
    assert b'for="[::1]"' in by_path[b"/six"].get("Forwarded")
    assert b"/unix" in by_path


def test_upstreams_on_ipv6_and_unix_sockets(running):
    with Upstream(host="::1") as six, Upstream(unix=True) as unix:
        routes = {"/**": "legacy", "/unix": {"to": "socket", "fallback": []}}
        text = configuration(routes, upstreams={"legacy": six, "socket": unix}, limits=LIMITS)
        edge = running(Edge(text))
        edge.get("/six").expect(200)
        edge.get("/unix").expect(200)
        six.expect_requests(1)
        unix.expect_requests(1)


@pytest.fixture
def https(origin, site_certificate):
    text = configuration(upstreams={"legacy": origin}, limits=LIMITS)
    with Edge(text, tls=site_certificate) as made:
        yield made


def test_https_readers(https, origin):
    with https.client() as client:
        client.get("/safe").expect(200)
        client.send(build("GET", "/1") + build("POST", "/2", body="x" * 100_000))
        client.read().expect(200)
        client.read("POST").expect(200)
    request = next(each for each in origin.requests if each.path == b"/safe")
    assert request.get("X-Forwarded-Proto") == b"https"
    assert b"proto=https" in request.get("Forwarded")


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_old_tls_and_plain_text_on_the_tls_port_hurt_nobody(https, site_certificate):
    with RawClient(https.address, timeout=3) as client:
        client.send(build("GET", "/plain"))
        client.drain(timeout=3)
    context = site_certificate.client()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        RawClient(https.address, tls=context)
    https.get("/after").expect(200)


def test_a_new_certificate_is_taken_up_while_running(origin, tmp_path, running):
    first = certificate(tmp_path, "www.example.com")
    second_folder = tmp_path / "second"
    second_folder.mkdir()
    second = certificate(second_folder, "www.example.com")
    text = configuration(upstreams={"legacy": origin}, limits=LIMITS)
    edge = running(Edge(text, tls=first))
    old, new = first.client(), second.client()
    with edge.client(tls=old) as kept:
        kept.get("/old").expect(200)
        second.key.replace(first.key)
        second.cert.replace(first.cert)
        edge.signal()

        def taken_up() -> bool:
            try:
                edge.client(tls=new).close()
            except ssl.SSLError:
                return False
            return True

        until(taken_up, what="the new certificate")
        kept.get("/kept").expect(200)


def secure(upstream: Upstream, **tls) -> dict:
    return (
        {"url": f"https://127.0.0.1:{upstream.port}", "tls": tls}
        if tls
        else {"url": f"https://127.0.0.1:{upstream.port}"}
    )


def test_upstreams_over_tls_are_verified(site_certificate, tmp_path, running):
    other = certificate(tmp_path, "other.test", "127.0.0.1")
    ca = str(site_certificate.cert)
    with Upstream(tls=site_certificate.server()) as good, Upstream(tls=other.server()) as odd:
        routes = {
            "/**": "legacy",
            "/named": {"to": "named", "fallback": []},
            "/stranger": {"to": "stranger", "fallback": []},
            "/unknown": {"to": "unknown", "fallback": []},
            "/misnamed": {"to": "misnamed", "fallback": []},
            "/unverified": {"to": "unverified", "fallback": []},
        }
        upstreams = {
            "legacy": secure(good, ca=ca),
            "named": secure(good, ca=ca, server_name="www.example.com"),
            "stranger": secure(odd, ca=ca),
            "unknown": secure(good),
            "misnamed": secure(good, ca=ca, server_name="other.test"),
            "unverified": secure(odd, verify=False),
        }
        edge = running(Edge(configuration(routes, upstreams=upstreams, limits=LIMITS)))
        for path in ("/", "/named", "/unverified"):
            edge.get(path).expect(200)
        for path in ("/stranger", "/unknown", "/misnamed"):
            response = edge.get(path).expect((502, 503))
            assert "tls_certificate_error" in response.get("Proxy-Status").decode()
        assert [each.path for each in odd.requests] == [b"/unverified"]


def test_one_dead_endpoint_of_two_is_not_noticed(scene: Scenario):
    alive = scene.upstream("alive")
    urls = [f"http://127.0.0.1:{unused_port()}", alive]
    scene.proxy({"/**": "legacy"}, upstreams={"legacy": {"url": urls}})
    for number in range(30):
        scene.client.get(f"/{number}").expect(200)
    for number in range(10):
        # No connection, nothing sent: even a write may try the other endpoint.
        scene.client.request("POST", f"/{number}", body="x").expect(200)
    alive.expect_requests(40)


def test_work_is_shared_between_endpoints(scene: Scenario):
    first, second = scene.upstream("first"), scene.upstream("second")
    scene.proxy({"/**": "legacy"}, upstreams={"legacy": {"url": [first, second]}})
    clients = [scene.connect() for _ in range(8)]
    for _ in range(10):
        for client in clients:
            client.send(build("GET", "/"))
        for client in clients:
            client.read().expect(200)
    counts = sorted(len(each.requests) for each in (first, second))
    assert sum(counts) == 80 and counts[0] >= 20


def test_an_endpoint_that_dies_in_between_costs_no_get(scene: Scenario):
    first, second = scene.upstream("first"), scene.upstream("second")
    scene.proxy({"/**": "legacy"}, upstreams={"legacy": {"url": [first, second]}})
    for number in range(10):
        scene.client.get(f"/{number}").expect(200)
    first.refuse()
    for number in range(30):
        scene.client.get(f"/{number}").expect(200)


def test_an_upstreams_url_may_have_a_path(scene: Scenario):
    origin = scene.upstream("named")
    scene.proxy({"/**": "legacy"}, upstreams={"legacy": f"{origin.url}/base"})
    scene.client.get("/a%2Fb?c").expect(200)
    assert origin.requests[0].target == b"/base/a%2Fb?c"


def test_a_name_is_resolved(scene: Scenario):
    origin = scene.upstream("named")
    scene.proxy({"/**": "legacy"}, upstreams={"legacy": f"http://localhost:{origin.port}"})
    scene.client.get("/").expect(200)


def test_a_name_that_does_not_resolve_is_a_502_with_its_reason(scene: Scenario):
    scene.proxy({"/**": "legacy"}, upstreams={"legacy": "http://no-such-host.invalid:80"})
    response = scene.client.get("/").expect((502, 503))
    assert "dns_error" in response.get("Proxy-Status").decode()


def test_a_reader_that_offers_http_2_gets_http_1_1(https, site_certificate):
    context = site_certificate.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with https.client(tls=context) as client:
        assert client.sock.selected_alpn_protocol() in ("http/1.1", None)
        client.get("/").expect(200)


def test_an_upgrade_through_tls_on_both_sides(site_certificate, running):
    switch = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: foo/1\r\n\r\n"
    with Upstream(switch, echo(), tls=site_certificate.server()) as origin:
        upstreams = {"legacy": secure(origin, ca=str(site_certificate.cert))}
        edge = running(
            Edge(configuration(upstreams=upstreams, limits=LIMITS), tls=site_certificate)
        )
        with edge.client() as client:
            client.send(build("GET", "/", [("Connection", "Upgrade"), ("Upgrade", "foo/1")]))
            client.read().expect(101)
            client.send(b"x" * 100_000)
            assert client.read_tunnel(100_000) == b"x" * 100_000


def test_large_contents_through_tls_on_both_sides(site_certificate, running):
    with Upstream(tls=site_certificate.server()) as origin:
        origin.reply(200, b"y" * 3_000_000)
        upstreams = {"legacy": secure(origin, ca=str(site_certificate.cert))}
        edge = running(
            Edge(configuration(upstreams=upstreams, limits=LIMITS), tls=site_certificate)
        )
        with edge.client(timeout=20) as client:
            response = client.request("POST", "/", body=b"x" * 3_000_000).expect(200)
        assert response.length == 3_000_000
        assert origin.requests[0].length == 3_000_000


def test_four_workers_share_one_address(scene: Scenario):
    origin = scene.upstream("legacy")
    edge = scene.proxy(workers=4)
    for number in range(40):
        edge.get(f"/{number}").expect(200)
    origin.expect_requests(40)
    assert 2 <= len(origin.connections) <= 4
