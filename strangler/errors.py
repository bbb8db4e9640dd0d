# SPDX-License-Identifier: Apache-2.0
"""The errors of an exchange, named by whose fault they are.

A failure of the upstream half carries its RFC 9209 type, the one word that the access log, the
metrics, ``Proxy-Status`` and the console show for it.
"""

from __future__ import annotations

from typing import Final

#: RFC 9209 §2.3: the proxy error types in use here and the status each one is answered with.
PROXY_ERRORS: Final[dict[str, int]] = {
    "dns_timeout": 504,
    "dns_error": 502,
    "destination_unavailable": 503,
    "destination_ip_unroutable": 502,
    "connection_timeout": 504,
    "connection_refused": 502,
    "connection_terminated": 502,
    "connection_limit_reached": 503,
    "tls_certificate_error": 502,
    "tls_protocol_error": 502,
    "http_response_incomplete": 502,
    "http_response_header_section_size": 502,
    "http_response_timeout": 504,
    "http_protocol_error": 502,
    "http_upgrade_failed": 502,
    "token_unavailable": 502,  # ours: RFC 9209 has no word for it
    "proxy_loop_detected": 508,
    "proxy_internal_error": 500,
}


class StranglerError(Exception):
    """Carry *status* (what the reader is answered) and *detail* (for the log, lower case)."""

    status: int = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class RequestRejected(StranglerError):
    """Refuse a request: the client's fault, 4xx or 5xx by RFC 9110 §15.5; nothing is forwarded."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class AttemptFailed(StranglerError):
    """Report one attempt on one endpoint that gave no usable response.

    ``error`` is an RFC 9209 §2.3 type. ``sent`` tells whether any byte of the request may have
    reached the endpoint: where it did not, any method may be tried again. ``word`` is the word of
    `retry.when` and `fallback.when` that it falls under, where its type does not say. ``seen`` is
    what came of the response, where that was the trouble.
    """

    def __init__(self, error: str, detail: str, *, sent: bool = True, word: str = "") -> None:
        super().__init__(detail)
        self.error = error
        self.status = PROXY_ERRORS[error]
        self.sent = sent
        self.word = word
        self.seen = b""
