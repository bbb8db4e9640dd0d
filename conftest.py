# SPDX-License-Identifier: Apache-2.0
"""What every suite of this repository can use: the real servers of tests/servers."""

from hypothesis import settings

pytest_plugins = ["servers.fixtures"]

# How long an example takes says how busy the machine is; `make bench` judges speed.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
