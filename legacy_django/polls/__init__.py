# SPDX-License-Identifier: Apache-2.0
"""Polls: one vote a session."""
