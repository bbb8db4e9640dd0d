# SPDX-License-Identifier: Apache-2.0
"""Expecting failure: deadlines, retries, budgets, breakers, bulkheads. Pure; clock passed in.

`policy` holds what routes.yaml says; the state machines that act on it stand beside it. Nothing
here reads a clock, draws a random number or touches a socket by itself: `now` is a monotonic
time in seconds, `chance` a random number, 0 <= chance < 1, and what is decided is a value that
carries its reason, one word for the log, the metric and the header.

In the order in which a request meets them: `shed` (with `crawlers`) at the edge; `deadline` for
the exchange; `breaker`, `bulkhead` with `adaptive`, and `protection` before an attempt;
`ejection` and `selection` for its endpoint; `chaos` in its way; `hedge` while it lasts; `failure`,
`retry` with `budget` when it has failed; `ladder` when the last has; `dependence` counts who
answered. `window` is what the counting ones count with.

Exports nothing: the modules' names are part of their functions' (`retry.decide`). A state machine
belongs to one worker, and only a breaker's state is told to others.

RFC 9110 §9.2 (what may be repeated), §10.2.3 (Retry-After); docs/resilience.md says what each
does, with its defaults.
"""
