# SPDX-License-Identifier: Apache-2.0
"""Which answers, and which want of one, speak of the health of who was asked.

A breaker, an ejection and the protection of legacy count the same failures; a retry and a ladder
have their own lists, since to be sick and to be worth another attempt are two things.
"""

from __future__ import annotations

from typing import Final

from strangler.errors import AttemptFailed

#: The other words of `policy.FailureWord`, busy and breaker, are the edge's own doing.
WORDS: Final = frozenset({"connect", "timeout", "incomplete"})
#: Statuses of 500 and more that speak of the request (RFC 9110 §15.6.2, §15.6.6).
NOT_SICK: Final = frozenset({501, 505})
#: RFC 9209 types by the words of a fallback's `when` (the others are `incomplete`).
_WORD_OF: Final = {
    "connection_refused": "connect",
    "connection_timeout": "connect",
    "destination_ip_unroutable": "connect",
    "destination_unavailable": "connect",
    "dns_error": "connect",
    "dns_timeout": "connect",
    "tls_certificate_error": "connect",
    "tls_protocol_error": "connect",
    "connection_limit_reached": "busy",
    "http_response_timeout": "timeout",
}


def is_failure(answer: str | int) -> bool:
    """Tell whether a failure word or an upstream's status counts against its health."""
    if isinstance(answer, str):
        return answer in WORDS
    return answer >= 500 and answer not in NOT_SICK


def failure_word(error: AttemptFailed) -> str:
    """Return the word of a fallback's `when` that *error* falls under."""
    return error.word or _WORD_OF.get(error.error, "incomplete")
