# SPDX-License-Identifier: Apache-2.0
"""The state folder: what must outlive a process, each file replaced whole.

``accepted.json`` names the configuration in force; ``config-<generation>-<hash>.json`` is its
bundle, the files as they were read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strangler.config.load import bundle
from strangler.config.snapshot import Snapshot
from strangler.observe.events import announce

LOCK = "serve.lock"
"""The file in the state folder that the supervisor of the site holds locked."""
_KEPT = 5


@dataclass(frozen=True, slots=True)
class Accepted:
    """Which configuration is in force; ``bundle`` is the path of its bundle."""

    bundle: str
    generation: int
    hash: str


def replace_file(path: Path, data: bytes) -> None:
    """Replace *path* whole and on the disk, readable by its owner alone. Raises OSError."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def noted(folder: Path) -> dict[str, Any] | None:
    """Return what the supervisor that runs with *folder* has left word of; None without one."""
    try:
        told = json.loads((folder / "supervisor.json").read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


class InUse(Exception):
    """Another site runs with this state folder; the text says which."""


class State:
    """A folder that this process may write to."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, making it if need be; without the right to, a temporary one, loudly."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.write(".probe", b"")
            (folder / ".probe").unlink(missing_ok=True)
        except OSError as problem:
            self._move_elsewhere(problem)

    def _move_elsewhere(self, problem: OSError) -> None:
        """Go on in memory, or in a temporary folder: a full disk must not stop a change of routes.

        Raises OSError where even that is refused.
        """
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        other = Path(tempfile.mkdtemp(prefix="strangler-", dir=memory))
        announce(
            "state.unwritable",
            level=logging.ERROR,
            folder=str(self.folder),
            error=problem.strerror,
            instead=str(other),
            lost="what is kept there, at the next restart of the machine",
        )
        self.folder = other

    def claim(self, handed: int | None = None) -> int:
        """Keep other sites out of this folder; return the descriptor that does, -1 without locks.

        The lock is this process's own (POSIX): not that of what it forks, so that nobody has to
        wait for children of a supervisor that was killed; and it stays where the process executes
        other code, as long as the descriptor is open. *handed*: that of the code before an upgrade.

        Raises InUse.
        """
        try:
            fd = handed
            if fd is None:
                fd = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            told = noted(self.folder) or {}
            who = f"pid {told['pid']}" if "pid" in told else "which has still to start"
            raise InUse(f"another site runs with the state folder {self.folder}: {who}") from None
        except OSError as problem:
            announce("state.unlocked", level=logging.WARNING, folder=str(self.folder),
                     error=problem.strerror)  # fmt: skip
            return -1
        return fd

    def accepted(self) -> Accepted | None:
        """Return the configuration accepted last, or None if there is none that can be read."""
        try:
            told = json.loads((self.folder / "accepted.json").read_bytes())
            path = self.folder / str(told["bundle"])
            if not path.is_file():
                return None
            return Accepted(str(path), int(told["generation"]), str(told["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def next_generation(self, hash_: str) -> int:
        """Return the number for a configuration with this hash: as before if nothing changed."""
        last = self.accepted()
        if last is None:
            return 1
        return last.generation if last.hash == hash_ else last.generation + 1

    def accept(self, snapshot: Snapshot) -> str:
        """Keep ``snapshot`` as the configuration in force; return the path of its bundle.

        Raises OSError where neither the folder nor memory takes it.
        """
        try:
            return self._accept(snapshot)
        except OSError as problem:
            self._move_elsewhere(problem)
        return self._accept(snapshot)

    def _accept(self, snapshot: Snapshot) -> str:
        name = f"config-{snapshot.generation}-{snapshot.hash[:12]}.json"
        self.write(name, bundle(snapshot))
        told = {"bundle": name, "generation": snapshot.generation, "hash": snapshot.hash}
        self.write("accepted.json", json.dumps(told).encode())
        self._forget_old(keep=name)
        return str(self.folder / name)

    def write(self, name: str, data: bytes) -> None:
        """Replace a file whole, so that no reader ever sees a part. Raises OSError."""
        replace_file(self.folder / name, data)

    def _forget_old(self, keep: str) -> None:
        with contextlib.suppress(OSError):
            bundles: Sequence[Path] = sorted(
                self.folder.glob("config-*-*.json"), key=lambda one: one.stat().st_mtime_ns
            )
            for old in bundles[:-_KEPT]:
                if old.name != keep:
                    old.unlink()
