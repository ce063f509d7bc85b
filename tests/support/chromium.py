"""Debian's Chromium without a screen, for tests of pages. Skips, saying what is missing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.browser import chromium

__all__ = ["Pages", "open_chromium"]


class Pages:
    """A browser window. Its methods block: call them through `asyncio.to_thread`."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver = driver
        self._folder = folder

    def open(self, url: str, *, width: int = 1100, height: int = 900) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self.driver.get(url)

    def dark(self, is_dark: bool) -> None:
        value = "dark" if is_dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def shot(self, name: str) -> Path:
        """A picture of the window, in `$GLD_SCREENSHOTS` or the test's own folder."""
        path = self._folder / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    @property
    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.run("return document.documentElement.scrollWidth - window.innerWidth"))

    def complaints(self) -> list[str]:
        """What the console has about scripts, styles and policies since the last call."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING") and "favicon" not in entry["message"]
        ]


@contextmanager
def open_chromium(folder: Path) -> Iterator[Pages]:
    """The browser with a place for its screenshots: `$GLD_SCREENSHOTS`, else `folder`."""
    with chromium(folder / "profile", ["--force-color-profile=srgb"]) as driver:
        shots = Path(os.environ.get("GLD_SCREENSHOTS") or folder)
        shots.mkdir(parents=True, exist_ok=True)
        driver.set_page_load_timeout(20)
        yield Pages(driver, shots)
