# SPDX-License-Identifier: Apache-2.0
"""The instant by which an exchange ends, whatever it still tries until then.

All attempts, waits and rungs of an exchange share one deadline; a step's own timeout is cut to
what is left of it. Upstream it travels as time that is left, not as an instant, since clocks of
two machines differ: the field `X-Deadline-Ms`, a whole number of milliseconds. A service that
reads it can give up work that nobody waits for any more. gRPC's grpc-timeout does the same.
"""

from __future__ import annotations

import re
from math import inf
from typing import Final

#: The field that carries what is left of the deadline; lower case, as heads are searched.
FIELD: Final = b"x-deadline-ms"
#: The most milliseconds that are said or understood: eleven days.
LONGEST: Final = 999_999_999

_DIGITS: Final = re.compile(rb"[0-9]{1,9}")


class Deadline:
    """An instant on the monotonic clock that the caller passes in; `at` is infinite for none."""

    __slots__ = ("at",)

    def __init__(self, at: float = inf) -> None:
        self.at = at

    @classmethod
    def of(cls, now: float, total: float | None, incoming: float | None = None) -> Deadline:
        """Return the earlier of now + *total* and now + *incoming*, in seconds; None: unlimited.

        *incoming* is what a trusted hop said (`parse`): it may shorten a deadline, never move
        it out.
        """
        at = inf if total is None else now + total
        if incoming is not None and now + incoming < at:
            at = now + incoming
        return cls(at)

    def left(self, now: float) -> float:
        """Return the seconds that are left: infinite without a deadline, <= 0 once it is over."""
        return self.at - now

    def over(self, now: float) -> bool:
        """Tell whether the deadline has been reached."""
        return now >= self.at

    def limit(self, timeout: float, now: float) -> float:
        """Return *timeout* seconds or what is left, whichever is less; never below 0."""
        left = self.at - now
        if left >= timeout:
            return timeout
        return left if left > 0.0 else 0.0

    def line(self, now: float) -> bytes:
        """Return the field line that goes upstream, CRLF before it; empty without a deadline.

        Rounded down: upstream must not take longer than the reader is waited for. A deadline
        that is over says 0.
        """
        if self.at == inf:
            return b""
        left = int((self.at - now) * 1000)
        return b"\r\nX-Deadline-Ms: %d" % (0 if left < 0 else min(left, LONGEST))


def parse(value: bytes | None) -> float | None:
    """Return the seconds that an incoming field's *value* leaves, >= 0.

    Ask only for fields of a hop that is trusted: anyone else could keep every request of theirs
    from being retried, and that is all it could do. Absent or malformed: None, as if not said.
    """
    if value is None or _DIGITS.fullmatch(value) is None:
        return None
    return int(value) / 1000
