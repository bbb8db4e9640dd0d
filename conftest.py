# SPDX-License-Identifier: Apache-2.0
"""What every suite of this repository can use: the real servers of tests/servers."""

import pytest
from hypothesis import settings

import strangler

pytest_plugins = ["servers.fixtures"]

# How long an example takes says how busy the machine is; `make bench` judges speed.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what needs the sources to the run of them: see `tools/run_tests.py`."""
    if strangler.BUILD == "compiled":
        others = [item for item in items if item.get_closest_marker("sources")]
        items[:] = [item for item in items if not item.get_closest_marker("sources")]
        config.hook.pytest_deselected(items=others)
