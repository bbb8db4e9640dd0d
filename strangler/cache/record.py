# SPDX-License-Identifier: Apache-2.0
"""A stored response as bytes, for tiers outside the process.

    magic "SGLR" · version · flags · check (CRC-32 of all that follows) · the numbers ·
    the lengths of the texts · the texts · the body, where it is kept with the head

Everything is big-endian. A release reads the versions it knows and takes any other for absent;
what a version's bytes mean never changes. `load` returns None for whatever it can't vouch for:
another key's record, a cut or altered one, one whose fields could end a line early. The check is
against accidents; a store that strangers can write to needs its own lock.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

from strangler.cache.stored import Span, Stored
from strangler.wire.head import FIELD_BLOCK

MAGIC: Final = b"SGLR"
VERSION: Final = 1

_HEADER: Final = struct.Struct(">4sBBI")
_NUMBERS: Final = struct.Struct(">HddddddqQqqqI8I")
_NONE: Final = -(2**63)
#: What `store` writes: a status line and field lines, without the empty one.
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([2-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*+\r\n"
    + FIELD_BLOCK.pattern.removesuffix(rb"\r\n")
)

_NEVER_STALE, _NO_CACHE, _AUTHORIZED, _PART = 1, 2, 4, 8
_BODY, _ETAG, _LANGUAGE, _ASKED = 16, 32, 64, 128

#: What was read lately, by the bytes of a record before its body: what many ask for comes again.
#: 5 MB at the most.
_loaded: dict[bytes, Stored] = {}
_MOST_LOADED: Final = 2048
_LOADED_BYTES: Final = 1024


def dump(stored: Stored, body: bytes | None = None) -> bytes:
    """Return *stored* as a record; with *body*, its body too, else the body is kept apart."""
    selecting = b"".join(map(_selected, stored.selecting))
    tags = b"".join(map(_counted, stored.tags))
    span = stored.span
    texts = (
        stored.key,
        stored.head,
        selecting,
        stored.etag or b"",
        stored.language or b"",
        stored.asked or b"",
        tags,
        stored.route,
    )
    flags = (
        _NEVER_STALE * stored.never_stale
        | _NO_CACHE * stored.no_cache
        | _AUTHORIZED * stored.authorized
        | _PART * (span is not None)
        | _BODY * (body is not None)
        | _ETAG * (stored.etag is not None)
        | _LANGUAGE * (stored.language is not None)
        | _ASKED * (stored.asked is not None)
    )
    numbers = _NUMBERS.pack(
        stored.status,
        stored.received,
        stored.initial_age,
        stored.lifetime,
        stored.while_revalidate,
        stored.if_error,
        stored.date,
        _NONE if stored.modified is None else stored.modified,
        stored.length,
        0 if span is None else span.first,
        0 if span is None else span.last,
        _NONE if span is None or span.complete is None else span.complete,
        0 if body is None else zlib.crc32(body),
        *map(len, texts),
    )
    rest = numbers + b"".join(texts)
    record = _HEADER.pack(MAGIC, VERSION, flags, zlib.crc32(rest, flags)) + rest
    return record if body is None else record + body


def load(record: bytes, key: bytes) -> tuple[Stored, bytes | None] | None:
    """Return the stored response in *record* and its body, None where the body is kept apart.

    Returns None, never raises, unless the record is whole, unaltered, of a known version, and
    *key*'s own.
    """
    if len(record) < _HEADER.size or not record.startswith(MAGIC):
        return None
    _, version, flags, check = _HEADER.unpack_from(record)
    if version != VERSION:
        return None
    return _load_1(record, key, flags, check)


def _load_1(
    record: bytes, key: bytes, flags: int, check: int
) -> tuple[Stored, bytes | None] | None:
    at = _HEADER.size + _NUMBERS.size
    if len(record) < at:
        return None
    (
        status, received, initial_age, lifetime, while_revalidate, if_error, date, modified,
        length, first, last, complete, body_check, *sizes,
    ) = _NUMBERS.unpack_from(record, _HEADER.size)  # fmt: skip
    end = at + sum(sizes)
    body: bytes | None = None
    if flags & _BODY:
        body = record[end:]
        if len(body) != length or zlib.crc32(body) != body_check:
            return None
    elif len(record) != end:
        return None
    before_body = record[:end]
    known = _loaded.get(before_body)
    if known is not None:
        return (known, body) if known.key == key else None
    if zlib.crc32(before_body[_HEADER.size :], flags) != check:
        return None
    texts = []
    for size in sizes:
        texts.append(record[at : at + size] if size else b"")
        at += size
    found_key, head, selecting, etag, language, asked, tags, route = texts
    if found_key != key or not _sound(head, status):
        return None
    try:
        names = _selected_back(selecting) if selecting else ()
        tag_list = tuple(_counted_back(tags)) if tags else ()
    except (IndexError, ValueError, struct.error):
        return None
    stored = Stored(
        key=found_key,
        status=status,
        head=head,
        selecting=names,
        received=received,
        initial_age=initial_age,
        lifetime=lifetime,
        while_revalidate=while_revalidate,
        if_error=if_error,
        never_stale=bool(flags & _NEVER_STALE),
        no_cache=bool(flags & _NO_CACHE),
        authorized=bool(flags & _AUTHORIZED),
        etag=etag if flags & _ETAG else None,
        date=date,
        modified=None if modified == _NONE else modified,
        language=language if flags & _LANGUAGE else None,
        length=length,
        span=Span(first, last, None if complete == _NONE else complete) if flags & _PART else None,
        asked=asked if flags & _ASKED else None,
        tags=tag_list,
        route=route,
    )
    if end <= _LOADED_BYTES:
        if len(_loaded) >= _MOST_LOADED:
            _loaded.clear()  # cheaper than any order of eviction
        _loaded[before_body] = stored
    return stored, body


def _sound(head: bytes, status: int) -> bool:
    """Tell whether *head* is what `store` writes: it goes to readers as it stands."""
    found = _HEAD.fullmatch(head)
    return found is not None and int(found[1]) == status


_SIZE: Final = struct.Struct(">I")


def _counted(text: bytes) -> bytes:
    return _SIZE.pack(len(text)) + text


def _counted_back(texts: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(texts):
        (size,) = _SIZE.unpack_from(texts, at)
        at += _SIZE.size + size
        if at > len(texts):
            raise ValueError("a text longer than its record")
        found.append(texts[at - size : at])
    return found


def _selected(pair: tuple[bytes, bytes | None]) -> bytes:
    name, value = pair
    return _counted(name) + (_counted(b"") if value is None else _counted(b"=" + value))


def _selected_back(texts: bytes) -> tuple[tuple[bytes, bytes | None], ...]:
    found = _counted_back(texts)
    if len(found) % 2:
        raise ValueError("a name without its value")
    return tuple(
        (name, value[1:] if value else None)
        for name, value in zip(found[::2], found[1::2], strict=True)
    )
