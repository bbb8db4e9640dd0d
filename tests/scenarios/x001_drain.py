# SPDX-License-Identifier: Apache-2.0
"""Processes end, die and are replaced; readers in their hands are finished or, at worst, few."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from scenarios.load import Load, named, origin

from strangler.testing import Edge, RawClient, Upstream, build, configuration, until, wait

ASK = b"GET /page?n=%d HTTP/1.1\r\nHost: www.example.com\r\n\r\n"


@pytest.fixture
def legacy() -> Iterator[Upstream]:
    with origin("legacy") as made:
        yield made


def text(legacy: Upstream, drain: str = "5s") -> str:
    return configuration({"/**": "legacy"}, upstreams={"legacy": legacy}, limits={"drain": drain})


def workers(edge: Edge) -> dict[int, int]:
    """Return the pid of each worker's slot, as the control process knows them."""
    return {one["slot"]: one["pid"] for one in edge.admin_json("/-/workers")[1]["workers"]}


def ready(edge: Edge) -> None:
    until(lambda: edge.admin_json("/-/ready")[0] == 200)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_sigterm_finishes_twenty_in_flight_and_takes_no_more(legacy):
    release = threading.Event()
    legacy.answers(wait(release), named("legacy"))
    with Edge(text(legacy, drain="30s"), workers=2) as edge:
        clients = [edge.client() for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(ASK % number)
        legacy.wait_head(20)
        edge.signal(signal.SIGTERM)
        edge.wait_log("stop.draining")
        until(lambda: refused(edge.address), what="new connections are refused")
        assert edge.process.poll() is None
        assert edge.admin_json("/-/ready")[0] == 503
        release.set()
        for number, client in enumerate(clients):
            response = client.read()
            assert response.text == f"legacy /page?n={number}"
            assert response.get("connection") == b"close"
            client.expect_closed()
            client.close()
        assert edge.process.wait(60) == 0


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 1).close()
    except OSError:
        return True
    return False


def test_what_waits_in_the_queue_at_sigterm_is_answered_too(legacy):
    with Edge(text(legacy), workers=1) as edge:
        [pid] = workers(edge).values()
        os.kill(pid, signal.SIGSTOP)  # connections are now completed by the kernel alone
        clients = [edge.client() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(ASK % number)
        edge.signal(signal.SIGTERM)
        edge.wait_log("stop.draining")
        os.kill(pid, signal.SIGCONT)
        for number, client in enumerate(clients):
            assert client.read().text == f"legacy /page?n={number}"
            client.close()
        assert edge.process.wait(60) == 0


def test_a_drain_that_takes_too_long_is_cut(legacy):
    release = threading.Event()
    legacy.answers(wait(release), named("legacy"))
    with Edge(text(legacy, drain="1s"), workers=1) as edge:
        client = edge.client()
        client.send(ASK % 1)
        legacy.wait_head()
        began = time.monotonic()
        edge.signal(signal.SIGTERM)
        assert edge.wait_end() == 0
        assert 0.9 < time.monotonic() - began < 15
        assert "drain.cut connections=1" in edge.log
        client.close()
        release.set()


def test_who_was_promised_a_kept_connection_before_a_drain_is_answered_once_more(legacy):
    """Its answer had begun without `Connection: close`; what came next was met by a reset."""
    release = threading.Event()
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"
    legacy.on("/begun", lambda to: to.send(begun), wait(release), lambda to: to.send(b"b"))
    with (
        Edge(text(legacy, drain="30s"), workers=1) as edge,
        edge.client() as ahead,
        edge.client() as silent,
        edge.client() as idle,
    ):
        ready(edge)
        for client in (ahead, silent):
            client.send(build("GET", "/begun"))
            assert client.read_head().get("Connection") is None
        ahead.send(ASK % 1)
        edge.signal(signal.SIGTERM)
        idle.expect_closed()  # the moment that idle ones have is over
        release.set()
        assert ahead.read().text == silent.read().text == "ab"
        answer = ahead.read().expect(200)
        assert answer.text == "legacy /page?n=1"
        assert answer.get("Connection") == b"close"
        for client in (ahead, silent):
            client.expect_closed()
            assert not client.was_reset
        assert edge.process.wait(60) == 0


def test_a_killed_worker_costs_only_what_it_had_in_hand(legacy):
    with Edge(text(legacy), workers=2) as edge, Load(edge, "legacy", readers=8) as load:
        ready(edge)
        for _ in range(2):
            before = workers(edge)
            victim = before[0]
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()  # whoever began before this may have been in its hands
            until(lambda old=before: workers(edge)[0] != old[0])
            assert time.monotonic() - killed < 20.0
            ready(edge)
            load.wait(40)
            for failure in load.failures:  # a kept connection of the dead worker was in its hands
                assert failure.began <= killed or not failure.fresh, f"lost: {failure}"
            assert len(load.failures) <= 8
            load.failures.clear()
            time.sleep(1.0)  # younger than that, its replacement would be held back for 100 ms


def test_a_dead_control_process_is_never_missed(legacy):
    with Edge(text(legacy), workers=2) as edge, Load(edge, "legacy") as load:
        ready(edge)
        [control] = set(edge.pids[1:]) - set(workers(edge).values())
        os.kill(control, signal.SIGKILL)
        edge.wait_log("process.died process=control")
        load.wait(20)
        ready(edge)
        lines = len(edge.lines)
        edge.write(text(legacy, drain="4s"))
        edge.wait_log("config.accepted generation=2 .*workers=2/2", after=lines)
    load.expect_none_lost()


def test_a_worker_drained_by_hand_is_replaced_before_it_has_gone(legacy):
    release = threading.Event()
    legacy.on("/slow", wait(release), named("legacy"))
    with Edge(text(legacy), workers=1) as edge:
        ready(edge)
        slow = edge.client()
        slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        legacy.wait_head()
        with Load(edge, "legacy") as load:
            [old] = workers(edge).values()
            os.kill(old, signal.SIGTERM)
            until(lambda: workers(edge)[0] != old)
            load.wait(50)
            assert not gone(old)
            release.set()
            assert slow.read().text == "legacy /slow"
            slow.close()
            until(lambda: gone(old))
        load.expect_none_lost()


def test_an_upgrade_under_load_loses_nothing(legacy):
    with (
        Edge(text(legacy), workers=2, arguments=["--listen", "127.0.0.1:0"]) as edge,
        Load(edge, "legacy", readers=8) as load,
    ):
        ready(edge)
        for _ in range(2):
            before, lines = edge.pids, len(edge.lines)
            edge.signal(signal.SIGUSR2)
            edge.wait_log("upgrade.finished", after=lines)
            until(lambda old=before: all(gone(pid) for pid in old[1:]))
            load.wait(40)
            assert edge.pids[0] == before[0] == edge.process.pid
            until(lambda: len(edge.pids) == 4)  # who has ended is also reaped
            assert not set(edge.pids[1:]) & set(before)
            ready(edge)
    load.expect_none_lost(200)
    serving = [line for line in edge.log.splitlines() if "serving on" in line]
    assert len(serving) == 3 and len(set(serving)) == 1  # the very port 0 was kept as well


def test_an_upgrade_under_tls_loses_no_handshake(legacy, site_certificate):
    with (
        Edge(text(legacy), workers=1, tls=site_certificate, access_log="off") as edge,
        Load(edge, "legacy", readers=4) as load,
    ):
        lines = len(edge.lines)
        edge.signal(signal.SIGUSR2)
        edge.wait_log("upgrade.finished", after=lines)
        load.wait(60)
    load.expect_none_lost()


def test_sockets_of_systemd_are_served_and_kept_over_an_upgrade(legacy, tmp_path):
    """LISTEN_FDS: the sockets are there before the edge is, and after."""
    (tmp_path / "routes.yaml").write_text(text(legacy, drain="1s"))
    with socket.create_server(("127.0.0.1", 0)) as given:
        address = given.getsockname()
        start = f'exec 3<&{given.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        command = [sys.executable, "-c", SERVE, "serve", "--config", "routes.yaml"]
        command += ["--admin", "none", "--workers", "2"]
        process = subprocess.Popen(
            ["bash", "-c", start, "bash", *command],
            pass_fds=[given.fileno()],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            with RawClient(address) as client:  # queued until somebody serves it
                assert client.get("/page").text == "legacy /page"
            seen(process.stderr, f"serving on http://127.0.0.1:{address[1]}")
            process.send_signal(signal.SIGUSR2)
            seen(process.stderr, "upgrade.finished")
            with RawClient(address) as client:
                assert client.get("/page").text == "legacy /page"
        finally:
            process.terminate()
            assert process.wait(60) == 0
            process.stderr.close()


def test_a_log_of_json_has_no_line_of_another_form(legacy, tmp_path):
    (tmp_path / "routes.yaml").write_text(text(legacy, drain="1s"))
    command = [sys.executable, "-c", SERVE, "serve", "--config", "routes.yaml", "--log", "json"]
    command += ["--listen", "127.0.0.1:0", "--admin", "none", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        events = []
        for line in process.stderr:
            events.append(json.loads(line))
            if events[-1]["event"] == "site.serving":
                process.terminate()
    serving = next(one for one in events if one["event"] == "site.serving")
    assert serving["listen"].startswith("http://127.0.0.1:")
    assert (serving["workers"], serving["routes"], serving["generation"]) == (1, 1, 1)
    assert events[-1]["event"] == "stop.draining"


SERVE = """
import sys
from strangler.cli import main
sys.exit(main())
"""


def seen(stream: Iterable[str], text: str) -> None:
    """Read lines until one holds *text*."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(f"no {text!r} in {lines}")


def command(edge: Edge, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SERVE, *words, "--config", str(edge.config)],
        env={**os.environ, "STRANGLER_STATE": str(edge.folder / "var")},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_commands_upgrade_and_reload(legacy):
    with Edge(text(legacy), workers=1) as edge:
        ready(edge)
        before = workers(edge)
        done = command(edge, "upgrade")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"pid {edge.process.pid}" in done.stdout
        ready(edge)
        assert workers(edge) != before
        done = command(edge, "reload")
        assert done.stdout == "strangler: generation 1, 1 route\n"
        edge.config.write_text("version: 2\n")
        done = command(edge, "reload")
        assert done.returncode == 1  # the answer is no
        assert "routes.yaml:1:10: S112" in done.stderr
    for verb in ("reload", "upgrade", "status"):
        done = command(edge, verb)
        assert done.returncode == 2, verb  # there is nobody to ask
        assert "no site runs" in done.stderr
        assert "hint: " in done.stderr


def test_an_upgrade_while_the_file_is_broken_goes_on_with_the_last_good_one(legacy):
    with Edge(text(legacy), workers=1) as edge:
        ready(edge)
        edge.write("version: 1\nroutes: [")
        edge.wait_log("config.rejected")
        lines = len(edge.lines)
        edge.signal(signal.SIGUSR2)
        edge.wait_log("upgrade.finished", after=lines)
        assert edge.get("/page").text == "legacy /page"
        assert edge.admin_json("/-/config")[1]["rejected"]["errors"]
        edge.wait_log("config.last_good")


def test_children_do_not_outlive_a_killed_supervisor(legacy):
    with Edge(text(legacy, drain="1s"), workers=2) as edge:
        ready(edge)
        supervisor, *children = edge.pids
        assert len(children) == 3
        os.kill(supervisor, signal.SIGKILL)
        edge.process.wait()
        until(lambda: all(gone(pid) for pid in children))
        edge.process.returncode = 0  # as was meant


def test_the_second_signal_ends_at_once(legacy):
    release = threading.Event()
    legacy.answers(wait(release), named("legacy"))
    with Edge(text(legacy, drain="30s"), workers=1) as edge:
        client = edge.client()
        client.send(ASK % 1)
        legacy.wait_head()
        edge.signal(signal.SIGTERM)
        edge.wait_log("stop.draining")
        time.sleep(0.25)  # closer together they would be one Ctrl-C, passed on twice
        began = time.monotonic()
        edge.signal(signal.SIGTERM)
        edge.process.wait(25)
        assert time.monotonic() - began < 15.0
        client.close()
        release.set()


def test_no_descriptor_is_lost_over_reloads_and_replacements(legacy):
    with Edge(text(legacy), workers=1, access_log="off") as edge:
        ready(edge)

        def supervisor() -> int:
            return len(os.listdir(f"/proc/{edge.process.pid}/fd"))

        before = supervisor()
        for _ in range(3):
            [pid] = workers(edge).values()
            os.kill(pid, signal.SIGTERM)
            until(lambda pid=pid: gone(pid) and workers(edge)[0] != pid)
        until(lambda: supervisor() <= before)
        lines = len(edge.lines)
        edge.signal(signal.SIGUSR2)
        edge.wait_log("upgrade.finished", after=lines)
        until(lambda: supervisor() <= before)


def test_an_open_address_is_named(legacy):
    with Edge(text(legacy), workers=1) as edge:
        second = Edge(
            text(legacy), workers=1, ready=False, arguments=["--listen", f"127.0.0.1:{edge.port}"]
        )
        try:
            assert second.wait_end() == 1
            assert f"cannot listen on 127.0.0.1:{edge.port}: address already in use" in second.log
            assert "serving" not in second.log
        finally:
            second.kill()
        assert edge.get("/page").text == "legacy /page"


def test_a_second_site_in_one_state_folder_is_refused(legacy):
    """Each would undo what the other records: overrides, tokens, where a canary is."""
    with Edge(text(legacy), workers=2) as first:
        state = {"STRANGLER_STATE": str(first.folder / "var")}
        before = {one.name: one.read_bytes() for one in (first.folder / "var").glob("*.json")}

        def second_is_refused() -> str:
            second = Edge(text(legacy), ready=False, environment=state)
            try:
                assert second.wait_end() == 2
                return second.log
            finally:
                second.kill()

        said = second_is_refused()
        assert f"another site runs with the state folder {first.folder / 'var'}: pid " in said
        assert str(first.process.pid) in said and "hint: " in said and "STRANGLER_STATE" in said
        assert {name: (first.folder / "var" / name).read_bytes() for name in before} == before
        # The code that an upgrade brings takes the folder over, and still holds it.
        first.process.send_signal(signal.SIGUSR2)
        first.wait_log("upgrade.finished")
        assert "another site runs" in second_is_refused()
        assert first.get("/page").text == "legacy /page"
    with Edge(text(legacy), environment=state) as third:  # and after its end it is free
        assert third.get("/page").text == "legacy /page"


def test_a_killed_supervisor_keeps_nobody_from_starting_anew(legacy):
    """Its children drain for a while: whoever starts the site again must not wait for them."""
    first = Edge(text(legacy), workers=2)
    try:
        state = {"STRANGLER_STATE": str(first.folder / "var")}
        with first.client() as busy:
            busy.send(b"GET /page HTTP/1.1\r\nHost: x\r\n")  # a worker that can't end at once
            first.process.kill()
            first.process.wait(60)
            with Edge(text(legacy), environment=state) as second:
                assert second.get("/page").text == "legacy /page"
    finally:
        first.kill()


def test_a_rejected_start_prints_every_error_and_starts_nothing(legacy):
    broken = text(legacy).replace("drain: 5s", "drain: 5\n  lime: 3") + "  /x: nobody\n"
    edge = Edge(broken, ready=False)
    try:
        assert edge.wait_end() == 2
        for code in ("S105", "S101", "S201"):
            assert code in edge.log
        assert "nothing was started" in edge.log
        assert not (edge.folder / "var" / "accepted.json").exists()
    finally:
        edge.kill()


def test_last_good_is_served_only_where_it_is_asked_for(legacy, tmp_path):
    state = {"STRANGLER_STATE": str(tmp_path / "var")}
    with Edge(text(legacy), environment=state):
        pass
    edge = Edge("version: 1\n", ready=False, environment=state)
    assert edge.process.wait(60) == 2
    edge.kill()
    with Edge("version: 1\n", environment=state, arguments=["--last-good"]) as edge:
        assert edge.get("/page").text == "legacy /page"
        edge.wait_log("config.last_good")
        assert edge.admin_json("/-/config")[1]["rejected"]["errors"]


def test_a_site_that_logs_json_is_seen_to_serve(legacy):
    with Edge(text(legacy), arguments=["--log", "json"]) as edge:
        assert edge.get("/page").text == "legacy /page"


def test_every_kind_of_listener(legacy, site_certificate, tmp_path):
    path = str(tmp_path / "edge.sock")
    with Edge(
        text(legacy),
        workers=2,
        tls=site_certificate,
        listen=[f"unix:{path}", "http://[::1]:0", "http://127.0.0.1:0"],
    ) as edge:
        assert edge.get("/page").text == "legacy /page"
        with edge.client(path) as client:
            assert client.get("/page").text == "legacy /page"
        line = edge.wait_log("serving on")
        for plain in [word.rstrip(",") for word in line.split() if word.startswith("http://")][:2]:
            host, _, port = plain.removeprefix("http://").rpartition(":")
            with RawClient((host.strip("[]"), int(port))) as client:
                assert client.get("/page").text == "legacy /page"
    assert not os.path.exists(path)


def test_a_renewed_certificate_is_served_without_a_restart(legacy, tmp_path):
    from strangler.testing import certificate

    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = certificate(tmp_path / "old", "www.example.com")
    new = certificate(tmp_path / "new", "www.example.com")
    with Edge(text(legacy), workers=1, tls=old) as edge:
        assert edge.get("/page").text == "legacy /page"
        kept = edge.client()
        old.cert.write_bytes(new.cert.read_bytes())  # half of it: the old pair stays in force
        os.replace(new.key, old.key)
        edge.wait_log("tls.reloaded")
        assert kept.get("/page").text == "legacy /page"
        kept.close()
        edge.tls = new
        assert edge.get("/page").text == "legacy /page"


@pytest.mark.parametrize("who", ["one-that-serves", "one-that-begins"])
def test_a_broken_certificate_keeps_no_worker_from_being_replaced(legacy, tmp_path, who):
    """*who*: which worker takes up the renewed pair that the last one goes on with."""
    from strangler.testing import certificate

    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = certificate(tmp_path / "old", "www.example.com")
    new = certificate(tmp_path / "new", "www.example.com")
    files = str(old.cert)
    with Edge(text(legacy), workers=1, tls=old) as edge:
        ready(edge)
        first = workers(edge)[0]
        if who == "one-that-begins":
            os.kill(first, signal.SIGSTOP)  # it sees nothing of the renewal
        os.replace(new.key, old.key)
        old.cert.write_bytes(new.cert.read_bytes())
        if who == "one-that-begins":
            os.kill(first, signal.SIGKILL)
        else:
            edge.wait_log(f"worker 1: tls.reloaded file={files}")
            # The supervisor learns of it before it learns that this worker leaves.
            os.kill(first, signal.SIGTERM)
        until(lambda: gone(first) and workers(edge).get(0, first) != first)
        old.cert.write_text("nonsense")  # as a renewal does that fails half-way
        edge.wait_log("tls.rejected")
        before = workers(edge)
        lines = len(edge.lines)
        os.kill(before[0], signal.SIGKILL)
        edge.wait_log("tls.rejected", after=lines)
        until(lambda: workers(edge).get(0, before[0]) != before[0])
        edge.tls = new  # the renewed one, not the one of the start
        assert edge.get("/page").text == "legacy /page"
        # What monitoring asks says so, though the certificate is named at the command line alone.
        [told] = [
            one
            for one in edge.admin_json("/-/healthcheck")[1]["results"]
            if one["checker"] == f"certificate {files}"
        ]
        assert not told["passed"], told


def test_the_access_log_is_written_and_rotated(legacy, tmp_path):
    path = tmp_path / "access.log"
    with Edge(
        text(legacy),
        workers=1,
        access_log="json",
        arguments=["--access-log-file", str(path)],
    ) as edge:
        edge.get("/page?one")
        until(lambda: path.exists() and "/page?one" in path.read_text())
        path.rename(tmp_path / "access.log.1")
        edge.signal(signal.SIGUSR1)
        until(path.exists)
        edge.get("/page?two")
        until(lambda: "/page?two" in path.read_text())
    assert "/page?two" not in (tmp_path / "access.log.1").read_text()
    assert '"route":"/**"' in path.read_text()
