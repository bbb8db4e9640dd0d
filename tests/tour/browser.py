# SPDX-License-Identifier: Apache-2.0
"""A reader's headless Chromium, and what a reader does with a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

T = TypeVar("T")

PATIENCE = 60.0  # seconds that a page may take to show what it should
DESKTOP = (1280, 900)
PHONE = (390, 844)

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--no-proxy-server", "--lang=pt-BR"),
)


def open_chromium(binary: str, driver: str, profile: str) -> Chrome:
    """Start Chromium with a new profile, in Portuguese."""
    options = ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={DESKTOP[0]},{DESKTOP[1]}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": "pt-BR,pt"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=ChromeService(executable_path=driver))


class Reader:
    """Somebody at the browser, with no cookies yet."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url
        browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
        browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        self.screen(DESKTOP)
        browser.get_log("browser")

    def screen(self, size: tuple[int, int]) -> None:
        """Have a screen of this width and height, in CSS pixels."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
        metrics["mobile"] = size[0] < 600
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    # -- going somewhere

    def open(self, target: str) -> int:
        """Go to an address of the site; return the status of the answer."""
        self.browser.get(target if "://" in target else self.url + target)
        return self.status

    @property
    def status(self) -> int:
        navigation = "return performance.getEntriesByType('navigation')[0].responseStatus"
        return int(self.browser.execute_script(navigation))

    @property
    def path(self) -> str:
        """The path of the page that is shown."""
        return urlsplit(self.browser.current_url).path

    # -- seeing

    def all(self, css: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def find(self, css: str) -> WebElement:
        """Return the first such element that can be seen, waiting for it."""
        return self.until(
            lambda: next((one for one in self.all(css) if one.is_displayed()), None), what=css
        )

    def sees(self, css: str, text: str) -> str:
        """Wait until an element has *text* in it; return the element's whole text."""
        return self.until(
            lambda: next((one.text for one in self.all(css) if text in one.text), None),
            what=f"{text!r} in {css}",
        )

    def until(self, true: Callable[[], T | None], *, what: str, within: float = PATIENCE) -> T:
        """Wait until *true* returns something true, and return that."""
        wait = WebDriverWait(
            self.browser,
            within,
            poll_frequency=0.05,
            ignored_exceptions=[StaleElementReferenceException],
        )
        try:
            return wait.until(lambda _: true())
        except TimeoutException:
            shown = self.browser.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"no {what} at {self.browser.current_url}:\n{shown}") from None

    def complaints(self) -> list[str]:
        """Return what the browser's console has said of errors since the last call."""
        log: list[dict[str, Any]] = self.browser.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    # -- doing

    def fill(self, **fields: str) -> None:
        """Write into the form fields of these names."""
        for name, value in fields.items():
            field = self.find(f"[name={name}]")
            if field.tag_name == "select":
                Select(field).select_by_value(value)
                continue
            if field.get_attribute("type") != "file":
                field.clear()
            field.send_keys(value)

    def click(self, css: str) -> None:
        """Click, and return once the page that follows has come (or this one was left as it is)."""
        element = self.find(css)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def log_in(self, name: str, password: str) -> None:
        """Log in as a reader does: by the link in the session bar."""
        self.open("/")
        self.click(".session a[href*=entrar]")
        self.fill(username=name, password=password)
        self.click("main form button")
        self.find(".session form[action='/conta/sair/']")

    def picture(self, file: Path) -> None:
        """Save what is on the screen."""
        self.browser.save_screenshot(str(file))
