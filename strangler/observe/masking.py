# SPDX-License-Identifier: Apache-2.0
"""Make secrets of a message unreadable, and change nothing else: every byte keeps its place.

A secret's bytes become asterisks, as many as there were; of cookies the names stay, of credentials
the scheme.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = rb"token|secret|passw|senha|pwd|api[-_]?key|apikey|session|csrf|xsrf|credential"
_AUTH: Final = rb"authorization|signature|jwt|(?:^|[-_])auth(?:$|[-_])"
#: Fields whose whole value is a secret, by their lower-case names.
_SECRET_FIELD: Final = re.compile(rb"(?:%b|%b)" % (_WORDS, _AUTH))
#: Names of parameters and members whose values are secrets.
_SECRET_NAME: Final = re.compile(
    rb"(?i)%b|%b|(?:^|[-_])(?:code|sig|hmac|sid|otp|pin|cpf|state|nonce)$" % (_WORDS, _AUTH)
)
_SCHEME: Final = re.compile(rb"(?i)\s*(?:basic|bearer|digest|negotiate|token)\s+")
_PARAMETER: Final = re.compile(rb"(?:^|(?<=[?&;]))([^=&;#\s]*)=([^&;#\s]*)")
_MEMBER: Final = re.compile(rb'("[^"\\]{1,200}"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}\]]+)')


def mask_head(raw: bytes) -> bytes:
    """Return a request's or response's head, or a piece of one, with its secrets masked."""
    first, *lines = raw.split(b"\n")
    masked = [mask_target(first)]
    hidden = False
    for line in lines:
        if line[:1] in (b" ", b"\t") and hidden:  # a folded line goes on with a value
            masked.append(_stars(line))
            continue
        name, colon, value = line.partition(b":")
        word = name.strip().lower()
        hidden = False
        if not colon:
            masked.append(line)
        elif word in (b"cookie", b"set-cookie"):
            masked.append(name + colon + _cookies(value, only_first=word == b"set-cookie"))
        elif _SECRET_FIELD.search(word):
            hidden = True
            scheme = _SCHEME.match(value)
            end = scheme.end() if scheme else 0
            masked.append(name + colon + value[:end] + _stars(value[end:]))
        elif word in (b"referer", b"location", b"content-location", b"link", b"origin"):
            masked.append(name + colon + mask_target(value))
        else:
            masked.append(line)
    return b"\n".join(masked)


def _cookies(value: bytes, *, only_first: bool) -> bytes:
    pairs = value.split(b";")
    for index, pair in enumerate(pairs[:1] if only_first else pairs):
        name, equals, secret = pair.partition(b"=")
        pairs[index] = name + equals + _stars(secret) if equals else _stars(pair)
    return b";".join(pairs)


def mask_target(target: bytes) -> bytes:
    """Return a request target, a URL or an urlencoded body with its secret parameters masked."""
    if b"=" not in target:
        return target
    return _PARAMETER.sub(_parameter, target)


def _parameter(found: re.Match[bytes]) -> bytes:
    if not _SECRET_NAME.search(found[1]):
        return found[0]
    return found[1] + b"=" + _stars(found[2])


def mask_body(body: bytes) -> bytes:
    """Return a body, or the beginning of one, with secrets of forms and of JSON masked."""
    if body.lstrip()[:1] in (b"{", b"["):
        return _MEMBER.sub(_member, body)
    if b"\nContent-Disposition:" in body[:200] or body[:2] == b"--":
        return body[:0] + _stars(body)  # a form of parts: files and passwords alike
    return mask_target(body)


def _member(found: re.Match[bytes]) -> bytes:
    name = found[1].partition(b'"')[2].partition(b'"')[0]
    if not _SECRET_NAME.search(name):
        return found[0]
    value = found[2]
    if value[:1] == b'"':
        closed = len(value) > 1 and value[-1:] == b'"'
        inner = value[1:-1] if closed else value[1:]
        return found[1] + b'"' + _stars(inner) + (b'"' if closed else b"")
    return found[1] + _stars(value)


def _stars(secret: bytes) -> bytes:
    r"""Return as many asterisks as there are bytes; white space and line ends stay."""
    return re.sub(rb"[^\s]", b"*", secret)
