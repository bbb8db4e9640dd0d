# SPDX-License-Identifier: Apache-2.0
"""Start, watch, disturb and stop one server process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from strangler.testing import unused_port

LOOPBACK = "127.0.0.1"

# The kernel sends a child its parent-death signal when the *thread* that started it ends. One
# thread that lives as long as the interpreter starts them all, so a server may be restarted from
# any short-lived thread, and still none outlives a killed test run.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-starter")


class ServerMissing(RuntimeError):
    """A server's binary isn't on this machine; the message says how to get it."""


class ServerFailed(RuntimeError):
    """A server ended or stayed silent before it was ready; the message ends with its log."""


def find_binary(*names: str) -> str:
    """Return the path of the first of ``names`` that is installed, or raise ServerMissing."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    where = "in CI every server is compulsory" if os.environ.get("CI") else "tests need real ones"
    raise ServerMissing(
        f"{names[0]} is not installed ({where}): run `python tests/servers/install.py`"
    )


def free_port() -> int:
    """Return a loopback TCP port that is free, and that no other process of the tests is given."""
    try:
        return unused_port()
    except OSError as problem:
        raise ServerFailed(str(problem)) from None


class Server:
    """One real server; a context manager that starts it and stops it by its own pid.

    A subclass says how: ``command()`` is the argument list, ``is_ready()`` asks over the wire,
    ``prepare()`` makes the data folder once. The port and the folder stay the same over
    ``restart()``, so a client finds the server, and what it has stored, again.
    """

    name = "server"
    start_timeout = 30.0  # seconds until the first answer
    stop_timeout = 15.0  # seconds from SIGTERM to SIGKILL
    user: str | None = None  # run as this user when the tests run as root

    def __init__(self, port: int | None = None) -> None:
        self._fixed_port = port
        self.port = port or free_port()
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    # What a subclass says.

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def prepare(self) -> None:
        """Fill the new folder before the first start."""

    def is_ready(self) -> bool:
        """Say whether the server answers; OSError counts as no."""
        raise NotImplementedError

    def after_start(self) -> None:
        """Do what has to be done once, when the server answers for the first time."""

    @property
    def url(self) -> str:
        raise NotImplementedError

    # What a test does with it.

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        try:
            if user := self._run_as():
                shutil.chown(self.folder, user)
            self.prepare()
            for attempts_left in (2, 1, 0):
                try:
                    self.start()
                    break
                except ServerFailed:
                    # Whoever is no test's process may have taken the port meanwhile.
                    if self._fixed_port or not attempts_left:
                        raise
                    self.port = free_port()
            self.after_start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and return when it answers; raise ServerFailed when it doesn't."""
        if self.is_running:
            return
        with open(self.folder / "log", "ab") as log:
            self._process = self._spawn(self.command(), log.fileno())
        deadline = time.monotonic() + self.start_timeout
        while True:
            if self._process.poll() is not None:
                code, self._process = self._process.returncode, None
                raise ServerFailed(f"{self.name} ended with {code}\n{self.log()}")
            try:
                if self.is_ready():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self.name} silent for {self.start_timeout} s\n{self.log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask the server to end (SIGTERM) and wait; insist after ``stop_timeout``."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop and start again: same port, same data."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash does; ``start()`` brings it back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections are accepted, nothing is answered."""
        if self.is_running:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def log(self, lines: int = 40) -> str:
        """Return the last lines that the server wrote."""
        try:
            text = (self.folder / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def run(self, command: list[str], timeout: float = 60.0) -> None:
        """Run a command to its end as the server's user; raise ServerFailed when it fails."""
        with open(self.folder / "log", "ab") as log:
            process = self._spawn(command, log.fileno())
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        if code:
            raise ServerFailed(f"{command[0]} ended with {code}\n{self.log()}")

    def _run_as(self) -> str | None:
        return self.user if os.geteuid() == 0 else None

    def _spawn(self, command: list[str], log: int) -> subprocess.Popen[bytes]:
        wrapper = ["setpriv", "--pdeathsig", "KILL"]
        if user := self._run_as():
            wrapper += ["--reuid", user, "--regid", _group_of(user), "--clear-groups"]

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*wrapper, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder), **self.environment()},
                start_new_session=True,  # Ctrl-C is the test run's; it stops its servers itself
            )

        return _starter.submit(spawn).result()


def _group_of(user: str) -> str:
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
