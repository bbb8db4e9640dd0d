# SPDX-License-Identifier: Apache-2.0
"""Settings by environment: `local` (default), `test` and `production`, all on top of `base`."""
