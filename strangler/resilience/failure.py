# SPDX-License-Identifier: Apache-2.0
"""Which answers, and which want of one, speak of the health of who was asked.

A breaker, an ejection and the protection of legacy count the same failures; a retry and a ladder
have their own lists, since to be sick and to be worth another attempt are two things.
"""

from __future__ import annotations

from typing import Final

#: The other words of `policy.FailureWord`, busy and breaker, are the edge's own doing.
WORDS: Final = frozenset({"connect", "timeout", "incomplete"})
#: Statuses of 500 and more that speak of the request (RFC 9110 §15.6.2, §15.6.6).
NOT_SICK: Final = frozenset({501, 505})


def is_failure(answer: str | int) -> bool:
    """Tell whether a failure word or an upstream's status counts against its health."""
    if isinstance(answer, str):
        return answer in WORDS
    return answer >= 500 and answer not in NOT_SICK
