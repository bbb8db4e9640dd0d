# SPDX-License-Identifier: Apache-2.0
"""The upstream half of a request's way: one response, for whoever wants it.

`contract` is what a fetch and who wants its response are to each other; `fetch` is the plain one.
The others are the same in another's place: hedged, traced, authorized, or broken on purpose.
"""
