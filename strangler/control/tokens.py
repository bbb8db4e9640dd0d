# SPDX-License-Identifier: Apache-2.0
"""Who may change something by the admin listener: tokens, and how often each may be shown.

The first start writes a token to ``admin.token`` in the state folder, readable by its owner alone;
STRANGLER_TOKEN, where the site is started with it, is another. Both are the operator's own, with
every right. Further ones, each with a name and a role, stand in ``admin.tokens`` beside it, or
where STRANGLER_TOKENS says, as hashes: `strangler token add` writes them, and they count at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import quote, unquote

from strangler.control.allowance import Allowance
from strangler.control.client import FILE
from strangler.control.state import State, replace_file
from strangler.observe.events import announce

#: The fewest characters of a token: guessing one must be hopeless without any rate limit.
SHORTEST: Final = 16
#: Wrong tokens that one address may show, and the seconds after which it may show one more.
WRONG: Final = 10
EVERY: Final = 6.0
#: Seconds' worth of changes that a token may make at once.
BURST: Final = 10

NAMED: Final = "admin.tokens"
"""The name of the file of named tokens in the state folder."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")
_TEAM: Final = re.compile(r"[^,\x00-\x1f\x7f]{1,100}")

Role = Literal["viewer", "owner", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""From the least to the most: each may do what those before it may."""


def hashed(secret: str) -> bytes:
    """Return what is kept of a token; a long random text needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True, slots=True)
class Token:
    """Whose a secret is and what it permits.

    digest: of the secret, see `hashed` · owners: the teams whose routes an owner may change.
    """

    who: str
    role: Role
    digest: bytes = field(repr=False)
    owners: frozenset[str] = frozenset()

    def reaches(self, role: Role) -> bool:
        """Tell whether it permits what *role* may do."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def may_change(self, owner: str) -> bool:
        """Tell whether it may change what belongs to the team *owner*, empty for nobody's."""
        return self.reaches("operator") or (self.role == "owner" and owner in self.owners)

    def json(self) -> dict[str, Any]:
        """Return whose it is and what it permits, as the API tells it."""
        return {"who": self.who, "role": self.role, "owners": sorted(self.owners)}

    def line(self) -> str:
        """Return its line in the file of named tokens."""
        teams = ":" + ",".join(map(quote, sorted(self.owners))) if self.owners else ""
        return f"{self.who} {self.role}{teams} sha256:{self.digest.hex()}"


def parse_line(line: str) -> Token:
    """Read a line of the file of named tokens. Raises ValueError."""
    name, role, digest = line.split()
    word, _, teams = role.partition(":")
    form, _, hexed = digest.partition(":")
    raw = bytes.fromhex(hexed)
    if form != "sha256" or len(raw) != 32:
        raise ValueError("expected sha256: and 64 hexadecimal digits")
    return Token(check_name(name), check_role(word), raw, check_teams(word, unquote(teams)))


def check_name(name: str) -> str:
    """Return *name*; raise ValueError where nobody can be called that."""
    if not _NAME.fullmatch(name) or name in (FILE, "STRANGLER_TOKEN"):
        raise ValueError(f"expected a name of letters, digits and @._+-, got {name[:100]!r}")
    return name


def check_role(role: str) -> Role:
    """Return *role*; raise ValueError where there is none such."""
    if role not in ROLES:
        raise ValueError(f"expected {', '.join(ROLES)}, got {role[:100]!r}")
    return role


def check_teams(role: str, teams: str) -> frozenset[str]:
    """Return the teams in a comma list; an owner has some, nobody else any. Raises ValueError."""
    found = frozenset(team for team in teams.split(",") if team)
    if bool(found) != (role == "owner"):
        raise ValueError("an owner needs teams, no other role has any")
    for team in found:
        if not _TEAM.fullmatch(team):
            raise ValueError(f"expected a team's name, got {team[:100]!r}")
    return found


class Tokens:
    """The tokens of one site: *fixed* ones, and those of *file*, looked at anew when it changes."""

    def __init__(self, fixed: Iterable[Token] = (), file: Path | None = None) -> None:
        self._fixed = tuple(fixed)
        self._file = file
        self._named: tuple[Token, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._wrong, self._changes = Allowance(), Allowance()

    @classmethod
    def of(cls, state: State, environment: Mapping[str, str]) -> Tokens:
        """Return the site's tokens, writing the token file where there is none.

        Raises ValueError for a STRANGLER_TOKEN that is too short.
        """
        tokens = []
        given = environment.get("STRANGLER_TOKEN", "").strip()
        if given:
            if len(given) < SHORTEST:
                raise ValueError(f"STRANGLER_TOKEN: expected at least {SHORTEST} characters")
            tokens.append(Token("STRANGLER_TOKEN", "admin", hashed(given)))
        written = _from_file(state)
        if written:
            tokens.append(Token(FILE, "admin", hashed(written)))
        return cls(tokens, named_file(state.folder, environment))

    def every(self) -> tuple[Token, ...]:
        """Return all tokens that count now."""
        if self._file is not None:
            self._look(self._file)
        return self._fixed + self._named

    def find(self, authorization: str) -> Token | None:
        """Return the token that an Authorization field names, or None.

        Takes as long for one that is nearly right as for one that isn't.
        """
        scheme, _, given = authorization.partition(" ")
        return self.known(given.strip()) if scheme.lower() == "bearer" else None

    def known(self, secret: str) -> Token | None:
        """Return the token whose secret this is, or None; in constant time."""
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        found = None
        for token in self.every():
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    def remove(self, name: str) -> Token | None:
        """Take the named token *name* out of its file; return it, None where there is none.

        It counts no more from now on. Raises OSError, ValueError where the file can't be read.
        """
        if self._file is None:
            return None
        tokens = read_named(self._file)
        gone = next((one for one in tokens if one.who == name), None)
        if gone is not None:
            write_named(self._file, [one for one in tokens if one.who != name])
        return gone

    def may_be_wrong(self, address: str, now: float) -> bool:
        """Count a wrong token from *address*; return False where they are too many.

        A right one is never refused: whoever floods from the same machine must not lock out
        the one who comes to put things right.
        """
        return not self._wrong.take(address, now, burst=WRONG, rate=1 / EVERY)

    def may_change(self, token: Token, now: float, limit: int | None) -> float:
        """Count a change by *token*; return 0, or the seconds that it has to wait.

        limit: changes a second, `BURST` times as many at once; None: no limit.
        """
        if limit is None:
            return 0.0
        return self._changes.take(token.who, now, burst=BURST * limit, rate=limit)

    def _look(self, file: Path) -> None:
        try:
            now = file.stat()
        except OSError:
            self._named, self._seen = (), None
            return
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if seen != self._seen:
            self._named, self._seen = _read_named(file), seen
            _warn_of_readers(file)


def named_file(folder: Path, environment: Mapping[str, str]) -> Path:
    """Return where the named tokens are: STRANGLER_TOKENS, else the state *folder*."""
    told = environment.get("STRANGLER_TOKENS", "").strip()
    return Path(told).absolute() if told else folder / NAMED


def read_named(file: Path) -> list[Token]:
    """Return the named tokens in *file*, none where it isn't there.

    Raises ValueError with the number of a line that can't be read, OSError.
    """
    found = []
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(parse_line(line))
            except ValueError as problem:
                raise ValueError(f"{file}:{number}: {problem}") from None
    return found


def write_named(file: Path, tokens: Iterable[Token]) -> None:
    """Replace *file* whole, readable by its owner alone. Raises OSError."""
    lines = ["# Named tokens of the admin listener: NAME ROLE[:TEAM,TEAM] sha256:HASH"]
    lines += [token.line() for token in tokens]
    replace_file(file, ("\n".join(lines) + "\n").encode())


def _read_named(file: Path) -> tuple[Token, ...]:
    """Return the tokens of *file*; none at all, loudly, where a line of it can't be read."""
    try:
        return tuple(read_named(file))
    except (OSError, ValueError) as problem:
        announce("tokens.unusable", level=logging.ERROR, file=str(file), error=str(problem))
        return ()


def _warn_of_readers(path: Path) -> None:
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            announce(
                "token.readable",
                level=logging.WARNING,
                file=str(path),
                mode=f"{mode:o}",
                hint=f"chmod 600 {path}, and remove it before the next start if in doubt",
            )


def _from_file(state: State) -> str:
    """Return the token in the state folder, made if it is not there; empty where it can't be."""
    path = state.folder / FILE
    with contextlib.suppress(OSError, UnicodeDecodeError):
        told = path.read_text(encoding="ascii").strip()
        if len(told) >= SHORTEST:
            _warn_of_readers(path)
            return told
    made = secrets.token_urlsafe(32)
    try:
        state.write(FILE, f"{made}\n".encode())
        os.chmod(path, 0o600)
    except OSError as problem:
        announce("token.unwritable", level=logging.ERROR, file=str(path), error=problem.strerror)
        return ""
    announce("token.written", file=str(path))
    return made
