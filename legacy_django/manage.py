#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Django's command line for the portal; `test` chooses the test settings by itself."""

import os
import sys


def main() -> None:
    testing = sys.argv[1:2] == ["test"]
    os.environ.setdefault(
        "DJANGO_SETTINGS_MODULE", "portal.settings.test" if testing else "portal.settings.local"
    )
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
