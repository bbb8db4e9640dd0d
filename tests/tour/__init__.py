# SPDX-License-Identifier: Apache-2.0
"""The tour of the whole site: `site` starts it, `browser` is the reader, the rest are tests."""
