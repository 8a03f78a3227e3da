"""Make the README's pictures, docs/*.png: the page of `minigpt2 explain`, a word's merges in it, and the terminal.

    python scripts/make_pictures.py

Needs the test extra (playwright) and a Chromium: Debian's package `chromium`, or what the variable CHROMIUM names.
"""

import os
import re
import shutil
from html import escape
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from minigpt2 import Tokenizer
from minigpt2.explain import explain
from minigpt2.explain.page import page as page_of
from minigpt2.explain.terminal import render

DOCS = Path(__file__).parents[1] / "docs"
PROMPT = "The meaning of life is"
IN_THE_TERMINAL = "It's lifelike 😀"
MOST_BYTES = 200_000

# The 256-colour palette's colours that the terminal view uses: a cube of 6 × 6 × 6, from 16 on.
_LEVELS = (0, 95, 135, 175, 215, 255)
_ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")
_TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #1d1f24; }
pre { display: inline-block; margin: 0; padding: 18px 24px; color: #e6e6e6; font: 15px/1.35 monospace; }
</style><pre>"""


def main() -> None:
    """Make the pictures, and make sure that they are small."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    DOCS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        take_page(browser)
        take_terminal(browser)
        browser.close()
    for picture in sorted(DOCS.glob("*.png")):
        size = picture.stat().st_size
        print(f"{picture.name}: {size:,} bytes")
        if size > MOST_BYTES:
            raise SystemExit(f"{picture} has more than {MOST_BYTES:,} bytes")


def take_page(browser: Browser) -> None:
    """The page's beginning, and the merges of a word halfway."""
    page = _opened(browser, page_of(explain(Tokenizer(), PROMPT)), width=1060, height=812)
    page.locator(".token", has_text="life").click()
    page.screenshot(path=DOCS / "page.png")
    page.set_viewport_size({"width": 700, "height": 800})
    page.locator(".token", has_text="meaning").click()
    page.locator("#stage").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.evaluate("document.activeElement.blur()")
    page.locator("#player").screenshot(path=DOCS / "merges.png")


def take_terminal(browser: Browser) -> None:
    """The terminal's view of a text, in its colours."""
    lines = [f'$ minigpt2 explain "{IN_THE_TERMINAL}"', *render(explain(Tokenizer(), IN_THE_TERMINAL), colour=True)]
    page = _opened(browser, _TERMINAL + "\n".join(map(_as_html, lines)), width=900, height=600)
    page.locator("pre").screenshot(path=DOCS / "terminal.png")


def _opened(browser: Browser, html: str, width: int, height: int) -> Page:
    page = browser.new_page(
        viewport={"width": width, "height": height}, device_scale_factor=1.25, reduced_motion="reduce"
    )
    page.set_content(html)
    return page


def _as_html(line: str) -> str:
    """A line with escape sequences for colours as HTML."""
    text, *painted = _ESCAPE.split(line)
    html = escape(text)
    for codes, part in zip(painted[::2], painted[1::2], strict=True):
        style = _style(codes)
        html += f'<span style="{style}">{escape(part)}</span>' if style else escape(part)
    return html


def _style(codes: str) -> str:
    if match := re.fullmatch(r"38;5;16;48;5;(\d+)", codes):
        cell = int(match[1]) - 16
        red, green, blue = (_LEVELS[cell // unit % 6] for unit in (36, 6, 1))
        return f"color: black; background: rgb({red} {green} {blue})"
    return {"2": "opacity: .65", "1": "font-weight: bold"}.get(codes, "")


if __name__ == "__main__":
    main()
