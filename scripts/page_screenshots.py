"""Pictures of the page for the docs. Reads the demo pack, produces docs/images/page-*.png.

A service of its own runs for it, in a temporary folder and without a language model. Needs a Chromium and a font with
Chinese: apt-get install chromium-headless-shell fonts-noto-cjk
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PACK = ROOT / "examples" / "films-books"
IMAGES = ROOT / "docs" / "images"
XDREC = str(Path(sys.executable).with_name("xdrec"))
BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome")
MOST_BYTES = 300_000
PATIENCE_MS = 300_000
SHOTS: dict[str, dict[str, Any]] = {
    "page-light": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "page-chinese": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "light", "locale": "zh-CN"},
    "page-talk": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "light"},
}
SAID = ("I loved Blade Runner and Alien. What should I read?", "Nothing after 1985, please.")


@contextmanager
def running(home: Path) -> Iterator[str]:
    """The URL of a service over the demo pack."""
    env = os.environ | {"XDREC_HOME": str(home), "XDREC_LLM__PORT": "9", "XDREC_RERANK__STRATEGY": "identity"}
    for domain in ("films", "books"):
        for name in (f"{domain}.csv", f"{domain[:-1]}_ratings.csv"):
            subprocess.run([XDREC, "ingest", domain, str(PACK / name)], env=env, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([XDREC, "index", domain], env=env, check=True, stdout=subprocess.DEVNULL)
    with subprocess.Popen([XDREC, "serve", "--port", "0"], env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr or ():
                url = json.loads(line).get("url") if line.startswith("{") else None
                if url:
                    break
            else:
                raise SystemExit("the service did not start")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def ask(page: Page) -> None:
    """Two films, and the picture of the first answer."""
    for title in ("Blade Runner 2049", "Alien"):
        page.locator("#liked").fill(title)
        page.locator("#found li").first.wait_for()
        page.keyboard.press("Enter")
    page.locator("#pick .primary").click()
    page.locator(".card").first.wait_for()
    page.locator("#results[aria-busy=false]").wait_for()
    page.locator(".path summary").first.click()
    page.locator(".picture img").evaluate("image => image.decode()")
    page.locator("[data-kind=up]").first.click()
    page.locator("body").click(position={"x": 2, "y": 2})


def talk(page: Page) -> None:
    """Two turns of a conversation."""
    page.locator("input[value=write]").check()
    for number, text in enumerate(SAID, 1):
        page.locator("#said").fill(text)
        page.keyboard.press("Enter")
        page.locator("#thread .theirs").nth(number - 1).wait_for()
        page.locator("#results[aria-busy=false]").wait_for()
    page.locator(".card").first.wait_for()


def shoot(browser: Browser, url: str) -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name, options in SHOTS.items():
        with browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce", **options}) as context:
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(url)
            page.locator("#source option").first.wait_for(state="attached")
            (talk if name == "page-talk" else ask)(page)
            page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
            if name == "page-phone":
                page.locator("#results").evaluate("place => place.scrollIntoView()")
            path = IMAGES / f"{name}.png"
            page.screenshot(path=path)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
            if path.stat().st_size > MOST_BYTES:
                raise SystemExit(f"{path} is larger than {MOST_BYTES} bytes")


def main() -> None:
    """Take the pictures."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("no browser: apt-get install chromium-headless-shell")
    if not subprocess.run(["fc-list", ":lang=zh"], capture_output=True, text=True, check=True).stdout:
        raise SystemExit("no font with Chinese: apt-get install fonts-noto-cjk")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        shoot(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
