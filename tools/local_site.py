# SPDX-License-Identifier: Apache-2.0
"""Run the whole site on this machine: what ``make run`` does.

Makes the legacy database and materia's store where they are missing, starts what Procfile names,
says where to look once everything answers, and stops all of it on Ctrl-C or when the edge ends.
Another part that ends is started again after a while in which the edge shows what it is worth.
Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
ARTICLE = "/noticia/tiroteio-deixa-um-morto-e-feridos.ghtml"
PORTS = {"EDGE_PORT": 8000, "ADMIN_PORT": 8010, "LEGACY_PORT": 8100, "MATERIA_PORT": 8101}
# What each part of Procfile answers when it is up.
HEALTH = {
    "legacy": [("LEGACY_PORT", "/healthcheck")],
    "materia": [("MATERIA_PORT", "/healthcheck")],
    "edge": [("EDGE_PORT", "/healthcheck"), ("ADMIN_PORT", "/-/healthcheck")],
}
START = 60.0  # seconds until a part answers
AGAIN = 10.0  # seconds from a part's end to its next start
STOP = 10.0  # seconds from the polite signal to the last one
COLOURS = {"edge": 36, "legacy": 33, "materia": 32}


class Interrupted(Exception):
    """Ctrl-C, a closed terminal or SIGTERM."""


def main() -> int:
    os.chdir(ROOT)
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    site = Site(environment())
    try:
        check_ports(site.env)
        hold_folder()
        prepare(site.env)
        site.start()
        print(welcome(site), flush=True)
        return site.watch()
    except Interrupted:
        return 0
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    finally:
        site.stop()


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


def die_with_parent() -> None:
    """Have the kernel send SIGTERM when make is killed, so that nothing is left without it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def environment() -> dict[str, str]:
    """Return the children's environment: the ports, and what joins the parts to one site."""
    env = dict(os.environ)
    for name, default in PORTS.items():
        env[name] = env.get(name) or str(default)
        if not env[name].isdecimal() or not 0 < int(env[name]) < 65536:
            sys.exit(f"{name}: expected a port from 1 to 65535, got {env[name]!r}")
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    env.setdefault("PUBLISH_TOKEN", "only-for-this-machine")
    env.setdefault("PUBLISH_HOOKS", f"http://127.0.0.1:{env['MATERIA_PORT']}/eventos")
    # Django tells the edge's cache of what has changed, by a token that both are given.
    env.setdefault("STRANGLER_TOKEN", "only-for-this-machine")
    env.setdefault("EDGE_PURGE_URL", f"http://127.0.0.1:{env['ADMIN_PORT']}/-/purge")
    env.setdefault("EDGE_PURGE_TOKEN", env["STRANGLER_TOKEN"])
    env.setdefault("EDGE_PURGE_SITES", f"http://localhost:{env['EDGE_PORT']}")
    env["PYTHONUNBUFFERED"] = "1"
    return env


def check_ports(env: dict[str, str]) -> None:
    """Leave with a clear message where a port is taken or named twice."""
    names: dict[str, str] = {}
    for name in PORTS:
        if twin := names.get(env[name]):
            sys.exit(f"{twin} and {name} are both {env[name]}: each part needs a port of its own")
        names[env[name]] = name
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", int(env[name])))
            except OSError as error:
                sys.exit(
                    f"port {env[name]} can't be used ({error.strerror}): another program, or "
                    f"another `make run`, may have it.\nChoose another one: "
                    f"{name}={int(env[name]) % 60000 + 1000} make run"
                )


def hold_folder() -> None:
    """Keep a second site out of var/ until this process ends, however it does.

    Each would take the other's place there: commands would reach the one and mean the other.
    """
    var = ROOT / "var"
    var.mkdir(exist_ok=True)
    lock = os.open(var / ".make-run.lock", os.O_RDWR | os.O_CREAT, 0o644)  # stays open
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(
            f"`make run` of this folder runs already (pid {os.read(lock, 20).decode().strip()}), "
            "and keeps its state in var/.\nStop it, or clone the repository a second time."
        )
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())


def prepare(env: dict[str, str]) -> None:
    """Make the database and the store where they are missing, each whole or not at all."""
    var = ROOT / "var"
    manage = [sys.executable, "legacy_django/manage.py"]
    database = Path(env.get("LEGACY_DB") or var / "legacy.sqlite3")
    new = database.with_name(f"{database.name}.new")
    if env.get("DATABASE_URL") or database.exists():
        run([*manage, "migrate", "--verbosity", "0"], env)
    else:
        say(f"making the legacy database with its content in {shown(database)}")
        new.unlink(missing_ok=True)
        run([*manage, "migrate", "--verbosity", "0"], {**env, "LEGACY_DB": str(new)})
        run([*manage, "semear"], {**env, "LEGACY_DB": str(new)})
        new.rename(database)

    store = var / "materia.sqlite3"
    if env.get("MATERIA_STORE") or store.exists():
        return  # what it lacks comes by its own re-sync
    say(f"filling materia's store in {shown(store)}")
    new = store.with_name(f"{store.name}.new")
    new.unlink(missing_ok=True)
    export = var / "materias.jsonl"
    with export.open("wb") as file:
        run([*manage, "export_materias", "--after", "0"], env, stdout=file)
    fill = [sys.executable, "-m", "extracted.materia", "fill", str(export)]
    run(fill, {**env, "MATERIA_STORE": f"sqlite:{new}"})
    export.unlink()
    new.rename(store)


def run(command: list[str], env: dict[str, str], stdout: object = None) -> None:
    subprocess.run(command, env=env, stdout=stdout, check=True)  # type: ignore[call-overload]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def say(text: str) -> None:
    print(f"site: {text}", flush=True)


class Site:
    """The processes of Procfile."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, str] = {}
        self._output: list[threading.Thread] = []

    def start(self) -> None:
        """Start the parts in Procfile's order, each when the one before it answers."""
        for line in (ROOT / "Procfile").read_text().splitlines():
            name, colon, command = line.partition(":")
            if not colon or name.startswith("#"):
                continue
            self._commands[name] = command.strip()
            self._spawn(name)
            self._wait_until_up(name)

    def _spawn(self, name: str) -> None:
        # Should this process be killed outright, the kernel ends its children.
        wrapper = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        self.processes[name] = process = subprocess.Popen(
            [*wrapper, "sh", "-c", f"exec {self._commands[name]}"],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then stops them
        )
        self._output.append(threading.Thread(target=self._copy, args=(name, process)))
        self._output[-1].start()

    def _wait_until_up(self, part: str) -> None:
        deadline = time.monotonic() + START
        for port, path in HEALTH.get(part, []):
            url = f"http://127.0.0.1:{self.env[port]}{path}"
            while not answers(url):
                if ended := self._ended():
                    sys.exit(f"site: {ended[0]} ended before everything was up")
                if time.monotonic() > deadline:
                    sys.exit(f"site: {url} doesn't answer with success after {START:.0f} s")
                time.sleep(0.1)

    def watch(self) -> int:
        """Start again what ends, until the edge does."""
        due: dict[str, float] = {}
        while "edge" not in (ended := self._ended()):
            for name in ended:
                if name not in due:
                    due[name] = time.monotonic() + AGAIN
                    self._clear(name)
                    say(
                        f"{name} ended ({self._how(name)}); the edge goes on without it, "
                        f"and it starts again in {AGAIN:.0f} s"
                    )
                elif time.monotonic() > due[name]:
                    del due[name]
                    say(f"{name} starts again")
                    self._spawn(name)
            time.sleep(0.1)
        say(f"edge ended ({self._how('edge')}), so everything is stopped")
        return 1

    def _how(self, name: str) -> str:
        code = self.processes[name].returncode
        return signal.Signals(-code).name if code < 0 else f"exit {code}"

    def _clear(self, name: str) -> None:
        """End what a part left behind: the session's group outlives its leader."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, signal.SIGKILL)

    def stop(self) -> None:
        """End every process: the edge first, so that readers get their last answers."""
        with contextlib.suppress(Interrupted):  # a second Ctrl-C: no more patience
            deadline = time.monotonic() + STOP
            for process in reversed(self.processes.values()):
                if process.poll() is None:
                    process.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.1, deadline - time.monotonic()))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for name, process in self.processes.items():
            self._clear(name)
            process.wait()
        for thread in self._output:
            thread.join(1.0)
        if self.processes:
            say("stopped")

    def _ended(self) -> list[str]:
        return [name for name, process in self.processes.items() if process.poll() is not None]

    @staticmethod
    def _copy(name: str, process: subprocess.Popen[bytes]) -> None:
        """Copy a process's lines to ours, each with its name."""
        label = f"{name:8}| "
        if sys.stdout.isatty():
            label = f"\x1b[{COLOURS.get(name, 35)}m{label}\x1b[0m"
        assert process.stdout
        for line in process.stdout:
            with contextlib.suppress(OSError):
                sys.stdout.write(label + line.decode(errors="replace"))
                sys.stdout.flush()


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=3.0) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def welcome(site: Site) -> str:
    env = site.env
    edge, admin = f"http://localhost:{env['EDGE_PORT']}", f"http://localhost:{env['ADMIN_PORT']}"
    return f"""
  The site, through the edge   {edge}/ (log in as leitor001, leitor-2026)
  An article                   {edge}{ARTICLE}
  Django's own admin           {edge}/admin/ (admin, admin-2026)
  The console                  {admin}/ (its buttons ask for the token in var/admin.token)
  Behind it                    legacy http://localhost:{env["LEGACY_PORT"]}/ \
· materia http://localhost:{env["MATERIA_PORT"]}/healthcheck

  Try next: open the article, then change its line in routes.yaml from `legacy` to `materia` and
  save. The next request is answered by the service; the access lines here say so. Write nonsense
  and save: the error is shown with its line, the old routes go on serving. While articles are
  materia's, end it (kill {site.processes["materia"].pid}): Django answers at once, until materia
  is back {AGAIN:.0f} s later.

  Article pages are cached, and Django purges what is edited: `.venv/bin/strangler cache` shows each
  tier's share, `.venv/bin/strangler cache show {edge}{ARTICLE}` what is held of one.

  Ctrl-C stops everything.
"""


if __name__ == "__main__":
    sys.exit(main())
