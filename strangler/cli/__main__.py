# SPDX-License-Identifier: Apache-2.0
"""`python -m strangler.cli` is the command `strangler`."""

import sys

from strangler.cli import main

sys.exit(main())
