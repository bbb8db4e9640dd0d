# SPDX-License-Identifier: Apache-2.0
"""Copies of requests to the other side: drawn, asked for without a reader, compared, counted."""
