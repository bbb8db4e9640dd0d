# SPDX-License-Identifier: Apache-2.0
"""Articles and their lists: the heart of the portal, and the log of what was published."""
