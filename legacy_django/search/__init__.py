# SPDX-License-Identifier: Apache-2.0
"""Search in the articles."""
