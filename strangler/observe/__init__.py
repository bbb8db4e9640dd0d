# SPDX-License-Identifier: Apache-2.0
"""See what happened: counters, the access log, the events log, metrics and traces.

Other rooms announce; this room turns announcements into lines. Nothing here may cost a reader
time: the hot path appends a tuple to a list, and formatting and writing happen in batches.
"""
