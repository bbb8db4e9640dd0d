# SPDX-License-Identifier: Apache-2.0
"""Answers from copies, for the routes that cache.

`cached` is the exchange of such a route, `cache` decides for it: a copy in `copies`, a `glance` at
the tier below, or a `fill` that many readers share and whose `stream` each takes at its own pace.
`known` answers what comes again byte for byte before any of that.
"""
