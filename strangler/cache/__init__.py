# SPDX-License-Identifier: Apache-2.0
"""The cache: what may be kept, for how long, for whom, and what a kept response still answers.

Place in the flow: `key` and `lookup` after the route is decided, `store` when an upstream
response's head has arrived, `deliver` for what is answered from a stored response, `update` for a
304 or a HEAD, `invalidation` after an unsafe method. `record` is a stored response as bytes.
The modules of this folder are pure: time is an argument (seconds of wall time), and nothing here
opens, waits or draws lots. `tiers/` is where stores are talked to.

Words: a *stored response* belongs to a *primary key* (URL and what the route adds) and, where it
has Vary, to a *variant* of it. *Lifetime*, *age*, *fresh*, *stale* are RFC 9111 §4.2's. Outcomes
and reasons are words that log, counter label and Cache-Status (RFC 9211) share.

RFC 9111 (all of it), 9110 §8.8, §13 and §14, 5861, 9211, 9213; docs/caching-rules.md says which
rule lives where.
"""
