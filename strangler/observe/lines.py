# SPDX-License-Identifier: Apache-2.0
"""One exchange as one line, for people or as JSON.

A busy edge writes thousands of lines a second, so a line costs as little as it can: what is the
same in most of them (the route and who answered, hosts, clients, endpoints) is made safe and put
together once and looked up afterwards, as are the milliseconds of a short while.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as _quoted
from typing import Final, Literal, Protocol, TypeVar

# fmt: off
Record = tuple[float, str, str, bytes, bytes, bytes, int, int, int, float, float,
               str, str, str, str, int, str, str, str]
# fmt: on


class Sent(Protocol):
    """What a hit answers with: a copy's status, and how many bytes its content has."""

    @property
    def status(self) -> int: ...

    @property
    def length(self) -> int: ...


Form = Literal["text", "json"]

ADDED: Final = 3
"""Strings that whoever has a hit adds to `Hits.parts`."""
PARTS: Final = 5
"""Strings that a hit's line is made of: time, client, id but for its end, that, and all else."""

Key = TypeVar("Key")

_MOST_KEPT: Final = 4096
_LONGEST_KEPT: Final = 128


class _Kept(dict[Key, str]):
    """What *make* makes of the keys met lately; strangers can't fill it for long, nor with much."""

    def __init__(self, make: Callable[[Key], str]) -> None:
        self._make: Callable[[Key], str] = make

    def __missing__(self, key: Key) -> str:
        made = self._make(key)
        if len(made) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[key] = made
        return made


_second = -1
_stamp = ""
_MILLISECONDS: Final = tuple(f"{n:03d}Z" for n in range(1000))
#: Tenths of a millisecond, for the durations that nearly all exchanges have.
_TENTHS: Final = tuple(f"{n / 10:.1f}ms" for n in range(5000))
_TENTHS_END: Final = (len(_TENTHS) - 1) / 10000
#: The last three of the eight digits of a hit's number.
_ENDS: Final = {
    "text": tuple(f"{n:03x}\n" for n in range(4096)),
    "json": tuple(f'{n:03x}",' for n in range(4096)),
}


def stamp(moment: float) -> str:
    """Write ``moment`` (Unix seconds) as UTC with milliseconds: ``2026-11-23T14:52:01.250Z``."""
    global _second, _stamp
    second = int(moment)
    if second != _second:
        _stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _second = second
    return _stamp + _MILLISECONDS[int((moment - second) * 1000)]


def printable(value: bytes) -> str:
    r"""Return ``value`` with everything but printable ASCII, and the backslash, as ``\xNN``."""
    text = value.decode("latin-1")
    if text.isascii() and text.isprintable() and "\\" not in text and " " not in text:
        return text
    return "".join(c if "!" <= c <= "~" and c != "\\" else f"\\x{ord(c):02x}" for c in text)


def _word(text: str) -> str:
    if text.isascii() and text.isprintable() and " " not in text:
        return text
    return _quoted(text)


def _took(seconds: float) -> str:
    if 0.0 <= seconds < _TENTHS_END:
        return _TENTHS[int(seconds * 10000 + 0.5)]
    return f"{seconds * 1000:.1f}ms"


def _who_text(key: tuple[str, str, str]) -> str:
    target_name, reason, route = key
    return f" {target_name or '-'} ({reason or '-'}) route={_word(route or '-')} client="


def _who_json(key: tuple[str, str, str]) -> str:
    target_name, reason, route = key
    return f'"route":{_quoted(route)},"target":{_quoted(target_name)},"reason":{_quoted(reason)},'


_words: Final = _Kept[str](_word)
_printed: Final = _Kept[bytes](printable)
_whos_text: Final = _Kept[tuple[str, str, str]](_who_text)
_quotes: Final = _Kept[str](_quoted)
_quoted_bytes: Final = _Kept[bytes](lambda value: _quoted(value.decode("latin-1")))
_whos_json: Final = _Kept[tuple[str, str, str]](_who_json)


class Repeated:
    """What the records of all hits of one request have in common."""

    __slots__ = ("host", "reason", "route", "target", "who")

    def __init__(self, host: bytes, target: bytes, route: str, who: str, reason: str) -> None:
        """Take the fields of a `Record`; *who* is its target's name."""
        self.host = host
        self.target = target
        self.route = route
        self.who = who
        self.reason = reason

    def record(self, moment: float, client: str, copy: Sent, id_: str) -> Record:
        """Return the record of a hit of *copy*."""
        return (
            moment, client, id_, b"GET", self.host, self.target, copy.status, copy.length, 0,
            0.0, 0.0, self.route, self.who, self.reason, "", 0, "hit,edge", "", "",
        )  # fmt: skip


class Hits:
    """Lines of hits that needed no decision, put together of parts that most of them share.

    Whoever has a hit adds its three parts by itself, for a call would cost more than that:
    the `time` that is in force until `until`, what `said` has made of the request and its copy,
    and the client's address as the socket names it. A hit's id is given when its line is taken.
    """

    __slots__ = ("_form", "_ids", "_number", "parts", "time", "until")

    def __init__(self, form: Form) -> None:
        self._form: Form = form
        self._ids = secrets.token_hex(6)
        self._number = 0
        self.parts: list[str] = []
        self.time = ""
        self.until = 0.0

    def __len__(self) -> int:
        return len(self.parts) // ADDED

    def tell_time(self, moment: float) -> None:
        """Write down the millisecond that *moment* (Unix seconds) is in."""
        time_ = stamp(moment)
        self.until = int(moment) + (int(time_[-4:-1]) + 1) / 1000
        self.time = f'{{"time":"{time_}","client":"' if self._form == "json" else time_

    def said(self, same: Repeated, copy: Sent) -> str:
        """Return what is the same in the lines of all hits of *copy* by this request."""
        if self._form == "json":
            return as_json(same.record(0.0, "", copy, "0")).partition('"id":"0",')[2]
        return (
            f" {copy.status} GET {_printed[same.host]}{printable(same.target)} {copy.length}B"
            f" {_took(0.0)}{_whos_text[same.who, same.reason, same.route]}"
        )

    def new_id(self) -> str:
        """Return the id of a hit that is told elsewhere."""
        number, self._number = self._number, self._number + 1
        return f"{self._ids}{number:08x}"

    def take(self) -> list[str]:
        """Return the lines that have come, `PARTS` strings each, and begin anew."""
        parts, self.parts = self.parts, []
        self.until = 0.0  # a clock that is put back is followed from here on
        count = len(parts) // ADDED
        starts, ends = self._new_ids(count)
        lines = [""] * (count * PARTS)
        times, said, clients = parts[::ADDED], parts[1::ADDED], parts[2::ADDED]
        order = (times, said, clients, starts, ends)
        if self._form == "json":
            order = (times, clients, starts, ends, said)
        for place, column in enumerate(order):
            lines[place::PARTS] = column
        return lines

    def _new_ids(self, count: int) -> tuple[list[str], list[str]]:
        """Return so many ids in two parts, as they stand in a line."""
        before = '","id":"' if self._form == "json" else " cache=hit,edge id="
        last = self._number + count
        starts: list[str] = []
        ends: list[str] = []
        while self._number < last:
            block, first = divmod(self._number, 4096)
            some = _ENDS[self._form][first : first + last - self._number]
            starts += [f"{before}{self._ids}{block:05x}"] * len(some)
            ends += some
            self._number += len(some)
        return starts, ends


def as_text(record: Record) -> str:
    """Write one record for people: time, status, request, how long, who answered and why."""
    # fmt: off
    (moment, client, id_, method, host, target, status, sent, _received, duration, first_byte,
     route, target_name, reason, endpoint, attempts, cache, error, retry) = record
    # fmt: on
    tail = f" first={_took(first_byte)}" if first_byte else ""
    if endpoint:
        tail += f" from={_words[endpoint]}"
        if attempts != 1:
            tail += f" attempts={attempts}"
    if cache:
        tail += f" cache={_words[cache]}"
    if error:
        tail += f" error={_word(error)}"
    if retry:
        tail += f" retry={retry}"
    return (
        f"{stamp(moment)} {status or '---'} {_printed[method]} {_printed[host]}{printable(target)} "
        f"{sent}B {_took(duration)}{_whos_text[target_name, reason, route]}{_words[client]}{tail} "
        f"id={id_ if id_.isalnum() and id_.isascii() else _word(id_)}\n"
    )


def as_json(record: Record) -> str:
    """Write one record as one line of JSON, the keys being the words of the glossary."""
    # fmt: off
    (moment, client, id_, method, host, target, status, sent, received, duration, first_byte,
     route, target_name, reason, endpoint, attempts, cache, error, retry) = record
    # fmt: on
    return (
        f'{{"time":"{stamp(moment)}","client":{_quotes[client]},"id":{_quoted(id_)},'
        f'"method":{_quoted_bytes[method]},"host":{_quoted_bytes[host]},'
        f'"path":{_quoted(target.decode("latin-1"))},'
        f'"status":{status},"sent":{sent},"received":{received},'
        f'"duration_ms":{duration * 1000:.3f},"first_byte_ms":{first_byte * 1000:.3f},'
        f'{_whos_json[target_name, reason, route]}"endpoint":{_quotes[endpoint]},'
        f'"attempts":{attempts},"cache":{_quotes[cache]},"error":{_quoted(error)},'
        f'"retry":"{retry}"}}\n'
    )
