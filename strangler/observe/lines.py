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
