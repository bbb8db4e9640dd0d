# SPDX-License-Identifier: Apache-2.0
"""Readers' comments under an article."""
