# SPDX-License-Identifier: Apache-2.0
"""Photos that readers send."""
