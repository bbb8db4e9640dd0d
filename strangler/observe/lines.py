# SPDX-License-Identifier: Apache-2.0
"""One exchange as one line, for people or as JSON.

A busy edge writes thousands of lines a second, so a line costs as little as it can: what is the
same in most of them (the route and who answered, hosts, clients, endpoints) is made safe and put
together once and looked up afterwards, as are the milliseconds of a short while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as _quoted
from typing import Final, TypeVar

# fmt: off
Record = tuple[float, str, str, bytes, bytes, bytes, int, int, int, float, float,
               str, str, str, str, int, str, str, str]
# fmt: on

Hit = tuple[float, str, int, "Repeated", int, int]
"""A hit that needed no decision: when, the client, the number of the request, what is the same
whenever this is asked for, the status, and the bytes of body sent."""

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
    """What the lines of all hits of one request have in common, put together once."""

    __slots__ = (
        "_json", "_sent", "_status", "_text", "host", "ids", "reason", "route", "target", "who",
    )  # fmt: skip

    def __init__(
        self, ids: str, host: bytes, target: bytes, route: str, who: str, reason: str
    ) -> None:
        """Take the fields of a `Record`; *ids* is what a request's id begins with, *who* its
        target's name."""
        self.ids = ids
        self.host = host
        self.target = target
        self.route = route
        self.who = who
        self.reason = reason
        self._status = self._sent = -1
        self._text = self._json = ""

    def text(self, status: int, sent: int) -> str:
        """Return what a line says between the time and the client."""
        if not self._text or status != self._status or sent != self._sent:
            self._status, self._sent, self._json = status, sent, ""
            self._text = (
                f" {status} GET {_printed[self.host]}{printable(self.target)} {sent}B {_took(0.0)}"
                f"{_whos_text[self.who, self.reason, self.route]}"
            )
        return self._text

    def json(self, status: int, sent: int) -> str:
        """Return what a line of JSON says after the id."""
        if not self._json or status != self._status or sent != self._sent:
            self._status, self._sent, self._text = status, sent, ""
            self._json = as_json(whole((0.0, "", 0, self, status, sent))).partition('0",')[2]
        return self._json


def whole(hit: Hit) -> Record:
    """Return a hit as the record that it stands for."""
    moment, client, number, same, status, sent = hit
    return (
        moment, client, f"{same.ids}{number:08x}", b"GET", same.host, same.target, status, sent, 0,
        0.0, 0.0, same.route, same.who, same.reason, "", 0, "hit,edge", "", "",
    )  # fmt: skip


def hit_as_text(hit: Hit) -> str:
    """Write a hit as `as_text` writes its record."""
    moment, client, number, same, status, sent = hit
    return (
        f"{stamp(moment)}{same.text(status, sent)}{_words[client]} cache=hit,edge"
        f" id={same.ids}{number:08x}\n"
    )


def hit_as_json(hit: Hit) -> str:
    """Write a hit as `as_json` writes its record."""
    moment, client, number, same, status, sent = hit
    return (
        f'{{"time":"{stamp(moment)}","client":{_quotes[client]},"id":"{same.ids}{number:08x}",'
        f"{same.json(status, sent)}"
    )


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
