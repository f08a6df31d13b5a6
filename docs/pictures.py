"""Takes the README's pictures anew, from a demonstration: `python docs/pictures.py` in the development environment.

It plays `smartmon demo`, looks at the page as anyone would, and writes `page.png`, `phone.png` and `report.png` here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
COLOURS = 256
"""A screenshot of few colours is a third of the size, and nobody sees it."""
PATIENCE = 180.0


def main() -> None:
    """Play, look, write."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "demo"
        demo = subprocess.Popen(
            [sys.executable, "-m", "smartmon", "demo", "--keep", str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert demo.stdout is not None
        try:
            url = next(line.split("the page: ")[1].split()[0] for line in demo.stdout if "the page: " in line)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                wide = browser.new_page(viewport={"width": 1280, "height": 960}, color_scheme="light")
                wide.goto(f"{url}#/run/run")
                _until(wide, lambda: _step(wide) > 140 and "from before" in wide.inner_text(".verdict"))
                wide.screenshot(path=HERE / "page.png")
                for line in demo.stdout:
                    if "LOOK FURTHER" in line:
                        break
                phone = browser.new_context(**playwright.devices["iPhone 13"], color_scheme="dark").new_page()
                phone.goto(f"{url}#/run/run/incident/1")
                phone.wait_for_selector("article.incident")
                phone.wait_for_timeout(2000)
                phone.screenshot(path=HERE / "phone.png")
                browser.close()
            shutil.copy(folder / "run.png", HERE / "report.png")
        finally:
            demo.terminate()
            demo.wait()
    for name, width in (("page", 1280), ("phone", 390), ("report", 760)):
        _shrink(HERE / f"{name}.png", width)


def _step(page: Page) -> int:
    """The step that the top of the page shows; 0 before there is one."""
    words = page.inner_text("main").replace(",", "").split()
    after = [words[n + 1] for n, word in enumerate(words[:-1]) if word == "step"]
    return next((int(word) for word in after if word.isdecimal()), 0)


def _until(page: Page, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the page never showed what was waited for")
        page.wait_for_timeout(100)


def _shrink(path: Path, width: int) -> None:
    picture = Image.open(path).convert("RGB")
    picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
