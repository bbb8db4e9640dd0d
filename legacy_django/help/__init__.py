# SPDX-License-Identifier: Apache-2.0
"""The help pages, in three languages."""
