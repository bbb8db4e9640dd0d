# SPDX-License-Identifier: Apache-2.0
"""What the edge itself answers: error pages, redirects, pages. Whole responses, as bytes.

An error page tells its reader three things: what happened, what to do, and the id under which an
operator will find it. It never shows an upstream's name or address; those are in the log.
"""

from __future__ import annotations

import json
import re
from html import escape
from http import HTTPStatus
from typing import Final, NamedTuple

_WISH: Final = re.compile(rb"(?i)\r\n(accept|accept-language):([^\r\n]*)(?=\r\n)")
_WEIGHT: Final = re.compile(rb"q=([01](?:\.[0-9]{0,3})?)")


class Told(NamedTuple):
    """What a reader is told, in one language: a heading and what to do."""

    heading: str
    advice: str


#: What to tell a reader, in English and in Portuguese: by status, or by the word for what it is.
_TOLD: Final[dict[int | str, tuple[Told, Told]]] = {
    400: (Told("We could not read that request",
               "Your browser sent something that this site doesn't understand. Go back and try "
               "again."),
          Told("Não entendemos o pedido",
               "O navegador enviou algo que este site não conseguiu ler. Volte e tente de novo.")),
    404: (Told("Page not found",
               "There is nothing at this address. Check it, or start from the front page."),
          Told("Página não encontrada",
               "Não há nada neste endereço. Confira-o ou comece pela página inicial.")),
    405: (Told("That can't be done here",
               "This address doesn't take that kind of request. Go back and try another way."),
          Told("Isso não pode ser feito aqui",
               "Este endereço não aceita esse tipo de pedido. Volte e tente de outro jeito.")),
    408: (Told("Your request took too long",
               "It didn't arrive in time. Check your connection and try again."),
          Told("O pedido demorou demais",
               "Ele não chegou a tempo. Verifique a conexão e tente de novo.")),
    410: (Told("This page has been removed",
               "It won't come back. Start from the front page."),
          Told("Esta página foi removida",
               "Ela não vai voltar. Comece pela página inicial.")),
    413: (Told("That is too large",
               "What you sent is larger than this page takes. Send something smaller."),
          Told("Arquivo grande demais",
               "O que você enviou é maior do que esta página aceita. Envie algo menor.")),
    414: (Told("That address is too long",
               "Check the link that led here, or start from the front page."),
          Told("Endereço longo demais",
               "Confira o link que trouxe você aqui ou comece pela página inicial.")),
    431: (Told("Your browser sent too much",
               "Clearing this site's cookies helps."),
          Told("O navegador enviou dados demais",
               "Apagar os cookies deste site costuma resolver.")),
    502: (Told("The site did not answer",
               "This part of the site is in trouble. Try again in a minute."),
          Told("O site não respondeu",
               "Esta parte do site está com problemas. Tente de novo em um minuto.")),
    503: (Told("The site is busy",
               "There are too many visits right now. Try again in a minute."),
          Told("O site está sobrecarregado",
               "Há acessos demais agora. Tente de novo em um minuto.")),
    "maintenance": (Told("We are working on this page",
                         "It will be back soon. Try again in a few minutes."),
                    Told("Estamos trabalhando nesta página",
                         "Ela volta em breve. Tente de novo em alguns minutos.")),
    504: (Told("The site took too long",
               "This part of the site is slow right now. Try again in a minute."),
          Told("O site demorou demais",
               "Esta parte do site está lenta agora. Tente de novo em um minuto.")),
    508: (Told("This address leads back to itself",
               "There is nothing you can do; the site's operators have to mend it."),
          Told("Este endereço leva de volta a si mesmo",
               "Não há o que você possa fazer; os operadores do site precisam corrigi-lo.")),
}  # fmt: skip
_OTHER: Final = (
    Told("That did not work", "This request could not be answered."),
    Told("Não deu certo", "Este pedido não pôde ser respondido."),
)
_HOME: Final = ("To the front page", "Ir para a página inicial")

_PAGE: Final = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{heading}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{{color-scheme:light dark}}
body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}
h1{{font-size:1.7rem;line-height:1.2}}small{{opacity:.75;overflow-wrap:anywhere}}</style></head>
<body><main><h1>{heading}</h1><p>{advice}</p>{home}
<p><small>{line} · {id}</small></p></main></body></html>
"""

Fields = tuple[tuple[bytes, bytes], ...]


def reason_of(status: int) -> str:
    """Return the standard reason phrase of *status*, or an empty one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def response(
    status: int,
    body: bytes,
    *,
    date: bytes,
    method: bytes,
    content_type: bytes = b"text/html; charset=utf-8",
    keep_alive: bool,
    version: int = 11,
    fields: Fields = (),
) -> bytes:
    """Return a whole response, framed; to HEAD without its body."""
    lines = [b"HTTP/1.1 %d %b" % (status, reason_of(status).encode()), b"Date: " + date]
    lines += [b"%b: %b" % pair for pair in fields]
    if body or status not in (204, 304):
        lines.append(b"Content-Type: " + content_type)
        lines.append(b"Content-Length: %d" % len(body))
    if not keep_alive:
        lines.append(b"Connection: close")
    elif version == 10:
        lines.append(b"Connection: keep-alive")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if method == b"HEAD" else body)


def error_body(
    status: int,
    request_id: str,
    *,
    accept: bytes,
    language: bytes,
    detail: str = "",
    told: str = "",
) -> tuple[bytes, bytes]:
    """Return (body, content type) of an error: HTML to a browser, JSON or text to who asks for it.

    *detail* (of a client's own mistake) is told in JSON and text only. *told*: the word for what
    to tell, where the status does not say it.
    """
    portuguese = _portuguese(language)
    heading, advice = _TOLD.get(told or status, _OTHER)[portuguese]
    line = f"{status} {reason_of(status)}".rstrip()
    if b"text/html" in accept or (b"*/*" not in accept and b"json" not in accept and accept):
        home = status in (404, 410, 414) or status >= 500
        page = _PAGE.format(
            lang="pt-BR" if portuguese else "en",
            heading=escape(heading),
            advice=escape(advice),
            home=f'\n<p><a href="/">{_HOME[portuguese]}</a></p>' if home else "",
            line=line,
            id=escape(request_id),
        )
        return page.encode(), b"text/html; charset=utf-8"
    if b"json" in accept:
        members = {
            "error": detail or reason_of(status) or heading,
            "status": status,
            "id": request_id,
        }
        return f"{json.dumps(members)}\n".encode(), b"application/json"
    why = f": {detail}" if detail else ""
    return (
        f"{line}{why}\n{advice}\n{request_id}\n".encode(),
        b"text/plain; charset=utf-8",
    )


def wishes(start: bytes) -> tuple[bytes, bytes]:
    """Return Accept and Accept-Language of a head that was refused, as far as *start* has them.

    Only for the form of the refusal: a browser's reader gets a page also where the rest of the
    head means nothing.
    """
    said: dict[bytes, bytes] = {}
    head, end, _ = start.partition(b"\r\n\r\n")
    for name, value in _WISH.findall(head + end[:2]):
        said.setdefault(name.lower(), value.strip())
    return said.get(b"accept", b""), said.get(b"accept-language", b"")


def proxy_status(name: str, error: str, detail: str = "") -> bytes:
    """Return a Proxy-Status field value (RFC 9209 §2) for *error* at the proxy *name*."""
    value = f"{name}; error={error}"
    if detail:
        clean = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in detail)
        value += f'; details="{clean}"'
    return value.encode()


def _portuguese(language: bytes) -> bool:
    """Tell whether Accept-Language (RFC 9110 §12.5.4) prefers Portuguese to English."""
    best, portuguese = 0.0, False
    for member in language.lower().split(b",")[:16]:
        tag, _, given = member.partition(b";")
        name = tag.strip().partition(b"-")[0]
        weighed = _WEIGHT.fullmatch(given.strip())
        weight = float(weighed[1]) if weighed else 1.0
        if name in (b"en", b"pt") and weight > best:
            best, portuguese = weight, name == b"pt"
    return portuguese
