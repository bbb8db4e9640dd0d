# SPDX-License-Identifier: Apache-2.0
"""One site and one browser for the whole tour."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from servers.process import find_binary
from tour.browser import open_chromium
from tour.site import LocalSite


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSite]:
    with LocalSite(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chrome]:
    """Return a running headless Chromium; missing it is a failure, not a reason to skip."""
    binary = find_binary("chromium", "chromium-browser", "google-chrome")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        browser = open_chromium(binary, find_binary("chromedriver"), profile)
        yield browser
        browser.quit()
