# SPDX-License-Identifier: Apache-2.0
"""Strangler: an edge proxy that replaces a Django monolith route by route."""

__version__ = "0.1.0"
