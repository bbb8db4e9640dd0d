# SPDX-License-Identifier: Apache-2.0
"""Listening sockets: parse an address, bind, hand on to the next process.

A TCP address gets one socket per worker slot, all with SO_REUSEPORT. The supervisor keeps every
one of them open for as long as it lives: connections that the kernel queued for a worker that
died wait for its replacement, and nothing queued is lost. The set of sockets never shrinks while
the site runs (closing one would reset its queue): with fewer workers than sockets a worker serves
several. A unix socket cannot be shared out by the kernel, so all workers accept from one.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from strangler.config.snapshot import Listen, ListenTls

_BACKLOG = 4096


class BadAddress(ValueError):
    """Say what is wrong with an address that somebody typed."""


class BindFailed(OSError):
    """Name the address that could not be bound, and why."""


def parse(text: str, *, tls: ListenTls | None = None) -> Listen:
    """Read ``HOST:PORT``, ``[V6]:PORT``, ``:PORT``, ``PORT`` or ``unix:PATH``.

    A leading ``http://`` refuses ``tls``, ``https://`` demands it; without either, ``tls`` decides.
    Raises BadAddress.
    """
    given = text.strip()
    scheme, mark, rest = given.partition("://")
    if not mark:
        scheme, rest = "", given
    elif scheme not in ("http", "https"):
        raise BadAddress(
            f"{text!r}: an address may begin with http:// or https://, not {scheme}://"
        )
    if scheme == "https" and tls is None:
        raise BadAddress(f"{text!r}: https needs a certificate (--tls-cert and --tls-key)")
    if scheme == "http":
        tls = None
    rest = rest.rstrip("/") if mark else rest
    if rest.startswith("unix:"):
        path = rest.removeprefix("unix:")
        if not path:
            raise BadAddress(f"{text!r}: expected unix:PATH")
        return Listen(unix=os.path.abspath(path), tls=tls)
    host, colon, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadAddress(f"{text!r}: put an IPv6 address in brackets, as in [::1]:8000")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise BadAddress(f"{text!r}: expected HOST:PORT with a port of 0-65535, or unix:PATH")
    if not colon and not port:
        raise BadAddress(f"{text!r}: expected HOST:PORT or unix:PATH")
    return Listen(host="" if host == "*" else host, port=int(port), tls=tls)


@dataclass(slots=True)
class Listener:
    """One address and its open sockets.

    ``groups`` holds, for each address that the host stands for, one socket a slot (or a single
    one that is shared).
    """

    listen: Listen
    groups: list[list[socket.socket]] = field(default_factory=list)
    shared: bool = False

    @property
    def sockets(self) -> list[socket.socket]:
        """All sockets of this address."""
        return [sock for group in self.groups for sock in group]

    @property
    def url(self) -> str:
        """The address as a reader would type it, with the port that was really bound."""
        scheme = "https" if self.listen.tls else "http"
        if self.listen.unix is not None:
            return f"{scheme}+unix:{self.listen.unix}"
        listen = self.listen
        if self.groups and self.groups[0]:
            listen = replace(listen, port=self.groups[0][0].getsockname()[1])
        return f"{scheme}://{listen}" if listen.host else f"{scheme}://*:{listen.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return all(
            sock.family == socket.AF_UNIX
            or ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback
            for sock in self.sockets
        )

    def for_slot(self, slot: int, slots: int) -> list[socket.socket]:
        """Return the sockets that worker ``slot`` (from 0) of ``slots`` serves."""
        if self.shared:
            return self.sockets
        return [s for group in self.groups for i, s in enumerate(group) if i % slots == slot]

    def close(self) -> None:
        """Close our copies; workers that hold one go on."""
        for sock in self.sockets:
            sock.close()
        self.groups = []


def bind(listen: Listen, slots: int = 1) -> Listener:
    """Open the sockets for ``listen``: ``slots`` for each TCP address, one for a unix path.

    Raises BindFailed.
    """
    listener = Listener(listen)
    try:
        if listen.unix is not None:
            listener.shared = True
            listener.groups = [[_bind_unix(listen.unix)]]
        else:
            port = listen.port
            for family, host in _addresses(listen):
                _refuse_a_second_owner(family, host, port)
                group: list[socket.socket] = []
                listener.groups.append(group)
                for _ in range(slots):
                    group.append(_bind_tcp(family, host, port))
                    port = group[-1].getsockname()[1]  # port 0: all get the one that came
    except OSError as problem:
        listener.close()
        if isinstance(problem, BindFailed):
            raise
        raise BindFailed(f"cannot listen on {listen}: {_cause(problem)}") from problem
    return listener


def grow(listener: Listener, slots: int) -> None:
    """Add sockets until every slot has one. Raises BindFailed."""
    if listener.shared:
        return
    for group in listener.groups:
        while len(group) < slots:
            host, port = group[0].getsockname()[:2]
            try:
                group.append(_bind_tcp(group[0].family, host, port))
            except OSError as problem:
                raise BindFailed(
                    f"cannot listen on {listener.listen}: {_cause(problem)}"
                ) from problem


def export(listeners: Iterable[Listener]) -> list[dict[str, object]]:
    """Make all sockets survive an exec and describe them as JSON values, for :func:`inherit`."""
    told: list[dict[str, object]] = []
    for listener in listeners:
        for sock in listener.sockets:
            sock.set_inheritable(True)
        told.append(
            {
                "address": str(listener.listen),
                "shared": listener.shared,
                "fds": [[sock.fileno() for sock in group] for group in listener.groups],
            }
        )
    return told


def inherit(told: Sequence[dict[str, object]]) -> dict[str, list[Listener]]:
    """Take over the sockets that :func:`export` described, by address."""
    found: dict[str, list[Listener]] = {}
    for one in told:
        address = str(one["address"])
        groups: list[list[socket.socket]] = []
        for fds in one["fds"]:  # type: ignore[attr-defined]
            group = [socket.socket(fileno=fd) for fd in fds]
            for sock in group:
                sock.set_inheritable(False)
                sock.setblocking(False)
            groups.append(group)
        listen = _unchecked(address)
        found.setdefault(address, []).append(Listener(listen, groups, bool(one["shared"])))
    return found


def from_systemd() -> list[Listener]:
    """Take the sockets of systemd's socket activation (LISTEN_FDS), each shared by all workers."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    listeners = []
    for fd in range(3, 3 + count):
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        sock.setblocking(False)
        if sock.family == socket.AF_UNIX:
            listen = Listen(unix=str(sock.getsockname()))
        else:
            host, port = sock.getsockname()[:2]
            listen = Listen(host=host, port=port)
        listeners.append(Listener(listen, [[sock]], shared=True))
    return listeners


def unlink_unix(listeners: Iterable[Listener]) -> None:
    """Remove the paths of unix sockets that are ours, at the end of all service."""
    for listener in listeners:
        path = listener.listen.unix
        if path is None:
            continue
        with contextlib.suppress(OSError):
            # A path that another process has bound since answers; ours no longer does.
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not _answers(path):
                os.unlink(path)


def _unchecked(address: str) -> Listen:
    try:
        return parse(address)
    except BadAddress:
        return Listen()


def _addresses(listen: Listen) -> list[tuple[int, str]]:
    if not listen.host:
        return [(socket.AF_INET, "0.0.0.0"), *([(socket.AF_INET6, "::")] if _has_v6() else [])]
    try:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as problem:
        raise BindFailed(f"cannot listen on {listen}: {problem.strerror}") from problem
    addresses = list(dict.fromkeys((family, where[0]) for family, _, _, _, where in found))
    if len(addresses) > 1 and not _has_v6():
        addresses = [one for one in addresses if one[0] != socket.AF_INET6]
    return [(int(family), str(host)) for family, host in addresses]


def _has_v6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _new_tcp(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _refuse_a_second_owner(family: int, host: str, port: int) -> None:
    """Raise EADDRINUSE if somebody listens there already.

    With SO_REUSEPORT a second ``serve`` by the same user would bind happily and take half of the
    readers.
    """
    if port == 0:
        return
    with _new_tcp(family) as sock:
        sock.bind((host, port))


def _bind_tcp(family: int, host: str, port: int) -> socket.socket:
    sock = _new_tcp(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket stands there")
        if _answers(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.2)
        try:
            sock.connect(path)
        except TimeoutError:  # its queue is full, so somebody has it
            return True
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def _cause(problem: OSError) -> str:
    said = (problem.strerror or str(problem)).lower()
    hints = {
        errno.EADDRINUSE: " (another process listens there; `ss -ltnp` shows which)",
        errno.EACCES: " (a port below 1024 needs CAP_NET_BIND_SERVICE; a path, a writable folder)",
        errno.EADDRNOTAVAIL: " (this machine has no such address)",
    }
    return said + hints.get(problem.errno or 0, "")
