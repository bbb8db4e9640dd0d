# SPDX-License-Identifier: Apache-2.0
"""What the edge itself answers: error pages, redirects, pages. Whole responses, as bytes.

An error page tells its reader three things: what happened, what to do, and the id under which an
operator will find it. It never shows an upstream's name or address; those are in the log.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import Final

#: What to tell a reader, by status: (English, Portuguese).
_ADVICE: Final[dict[int, tuple[str, str]]] = {
    400: ("Your browser sent a request that this site could not read. Go back and try again.",
          "O navegador enviou um pedido que este site não conseguiu ler. Volte e tente de novo."),
    404: ("There is nothing at this address. Check it, or start from the front page.",
          "Não há nada neste endereço. Confira-o ou comece pela página inicial."),
    405: ("This address doesn't take that kind of request.",
          "Este endereço não aceita esse tipo de pedido."),
    408: ("The request took too long to arrive. Check your connection and try again.",
          "O pedido demorou demais para chegar. Verifique a conexão e tente de novo."),
    410: ("This page has been removed for good. Start from the front page.",
          "Esta página foi removida de vez. Comece pela página inicial."),
    413: ("What you sent is too large. Send something smaller.",
          "O que você enviou é grande demais. Envie algo menor."),
    431: ("Your browser sent too many or too large headers. Clearing this site's cookies helps.",
          "O navegador enviou cabeçalhos demais. Apagar os cookies deste site costuma resolver."),
    502: ("The part of the site that answers here is in trouble. Try again in a minute.",
          "A parte do site que responde aqui está com problemas. Tente de novo em um minuto."),
    503: ("The site is busy right now. Try again in a minute.",
          "O site está sobrecarregado agora. Tente de novo em um minuto."),
    504: ("The part of the site that answers here took too long. Try again in a minute.",
          "A parte do site que responde aqui demorou demais. Tente de novo em um minuto."),
    508: ("This address leads back to itself. The site's operators have to mend it.",
          "Este endereço leva de volta a si mesmo. Os operadores do site precisam corrigi-lo."),
}  # fmt: skip
_OTHER: Final = ("This request could not be answered.", "Este pedido não pôde ser respondido.")

_PAGE: Final = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{status} {reason}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;
color-scheme:light dark;color:CanvasText;background:Canvas}}h1{{font-size:1.6rem}}
code{{opacity:.7}}</style></head>
<body><h1>{reason}</h1><p>{advice}</p>
<p><code>{status} · {id}</code></p></body></html>
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
    status: int, request_id: str, *, accept: bytes, language: bytes, detail: str = ""
) -> tuple[bytes, bytes]:
    """Return (body, content type) of an error: HTML to a browser, JSON or text to who asks for it.

    *detail* (of a client's own mistake) is told in JSON and text only.
    """
    advice = _ADVICE.get(status, _OTHER)[_portuguese(language)]
    reason = reason_of(status) or str(status)
    if b"text/html" in accept or (b"*/*" not in accept and b"json" not in accept and accept):
        page = _PAGE.format(
            lang="pt-BR" if _portuguese(language) else "en",
            status=status,
            reason=escape(reason),
            advice=escape(advice),
            id=escape(request_id),
        )
        return page.encode(), b"text/html; charset=utf-8"
    if b"json" in accept:
        quoted = (detail or reason).replace("\\", "\\\\").replace('"', '\\"')
        text = f'{{"error": "{quoted}", "status": {status}, "id": "{request_id}"}}\n'
        return text.encode(), b"application/json"
    told = f": {detail}" if detail else ""
    return (
        f"{status} {reason}{told}\n{advice}\n{request_id}\n".encode(),
        b"text/plain; charset=utf-8",
    )


def proxy_status(name: str, error: str, detail: str = "") -> bytes:
    """Return a Proxy-Status field value (RFC 9209 §2) for *error* at the proxy *name*."""
    value = f"{name}; error={error}"
    if detail:
        clean = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in detail)
        value += f'; details="{clean}"'
    return value.encode()


def _portuguese(language: bytes) -> bool:
    return language.strip().lower()[:2] == b"pt"
