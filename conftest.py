# SPDX-License-Identifier: Apache-2.0
"""What every suite of this repository can use: the real servers of tests/servers."""

pytest_plugins = ["servers.fixtures"]
