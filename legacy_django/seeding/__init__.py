# SPDX-License-Identifier: Apache-2.0
"""Invented content: the same articles, readers and polls on every machine."""
