# SPDX-License-Identifier: Apache-2.0
"""An operator's hands: by keyboard alone, in the light or in the dark."""

from __future__ import annotations

from selenium.webdriver import ActionChains, Keys
from tour.browser import Reader


def press(reader: Reader, *keys: str) -> None:
    """Press keys where the focus is."""
    ActionChains(reader.browser).send_keys(*keys).perform()


def focused(reader: Reader) -> str:
    """Return what a screen reader would say of the element that has the focus."""
    script = """const one = document.activeElement;
    if (one === document.body) return "";
    return (one.getAttribute("aria-label") || one.innerText || one.name || one.tagName).trim()"""
    return str(reader.browser.execute_script(script))


def tab_to(reader: Reader, name: str, most: int = 40) -> None:
    """Press Tab until the element called *name* has the focus, and can be seen to have it."""
    passed = []
    for _ in range(most):
        press(reader, Keys.TAB)
        passed.append(focused(reader))
        if name in passed[-1]:
            assert reader.browser.execute_script(
                """const one = document.activeElement, box = one.getBoundingClientRect();
                const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
                const styled = getComputedStyle(one).outlineStyle !== "none";
                return styled && one.contains(document.elementFromPoint(x, y))"""
            ), f"{name} has the focus, and nobody can see it"
            return
    raise AssertionError(f"no {name!r} after {most} tabs: {passed}")


def scheme(reader: Reader, name: str) -> None:
    """Prefer `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def sign_in(reader: Reader, token: str) -> None:
    """Sign in by the button of the bar."""
    reader.open("/")
    reader.find("button.me")
    press(reader, Keys.TAB)
    reader.browser.execute_script("document.querySelector('button.me').focus()")
    press(reader, Keys.ENTER)
    reader.find("[name=token]")
    press(reader, token, Keys.ENTER)
    reader.find("details.me")
