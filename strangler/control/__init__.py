# SPDX-License-Identifier: Apache-2.0
"""The control process: accepts configurations, announces them, tells how the site is.

It is beside the way of a request, never on it: workers go on serving with what they have while
this process is dead, busy or wrong. Nothing of the data plane imports this room.
"""
