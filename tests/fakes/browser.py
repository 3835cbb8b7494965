"""A real browser without a window: Chromium, where it is installed."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

DESKTOP, PHONE = (1280, 900), (390, 844)
_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_DRIVER = shutil.which("chromedriver")
_INSTALLED = pytest.mark.skipif(
    _CHROMIUM is None or _DRIVER is None, reason="no chromium and chromedriver: apt install chromium chromium-driver"
)


def needs_browser(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test as slow, and as skipped where no browser is installed."""
    return pytest.mark.slow(_INSTALLED(test))


@contextmanager
def browser(profile: Path) -> Iterator[WebDriver]:
    """A browser with an empty profile, that asks nobody for anything by itself."""
    options = webdriver.ChromeOptions()
    assert _CHROMIUM is not None
    options.binary_location = _CHROMIUM
    for argument in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
        *("disable-component-update", "disable-sync", "hide-scrollbars", f"user-data-dir={profile}"),
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def show(driver: WebDriver, address: str, size: tuple[int, int]) -> None:
    """Open a page in a window of that size, in CSS pixels; the narrow one as a phone."""
    width, height = size
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    driver.get(address)


def picture(driver: WebDriver, path: Path) -> None:
    """The whole page, not only what fits into the window, as PNG."""
    import base64

    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
    path.write_bytes(base64.b64decode(shot["data"]))


def console(driver: WebDriver) -> list[str]:
    """What the page complained of."""
    return [entry["message"] for entry in driver.get_log("browser")]
