"""One Chromium for all tests here, and pages in it that are watched: what they ask for, and what they complain of."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minigpt2 import Checkpoint, Tokenizer
from minigpt2.explain import explain
from minigpt2.explain.page import page as page_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# As root, in a container, without asking anyone for anything.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'minigpt2[test]'")
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set CHROMIUM to one")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Open]:
    """Open a page, its clock in the test's hands; at the end it must have asked for nothing and complained of nothing.

    `allowed` is the beginning of the addresses that it may ask, `complaint` what it may complain of.
    """
    contexts: list[BrowserContext] = []
    strange: list[str] = []

    def open_page(
        address: str, *, width: int = 1280, allowed: str = "", complaint: str = "\0", **options: Any
    ) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()

        def note_request(request: "Request") -> None:
            if request.url != address and not request.url.startswith((allowed or address, "data:")):
                strange.append(request.url)

        def note_message(message: "ConsoleMessage") -> None:
            if complaint not in message.text:
                strange.append(message.text)

        page.on("request", note_request)
        page.on("console", note_message)

        def note_error(error: "Error") -> None:
            if complaint not in error.message:
                strange.append(str(error))

        page.on("pageerror", note_error)
        page.set_default_timeout(30_000)  # a busy machine is slow, and nothing here waits on purpose
        page.clock.install()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert strange == []


@cache
def html_of(text: str, weights: Checkpoint | None) -> str:
    """The page of a text: many tests look at the same one."""
    return page_of(explain(Tokenizer(), text, weights))


@pytest.fixture
def show(visit: Open, tmp_path: Path) -> Open:
    """Write the page of a text, and open it from disk."""

    def show_text(text: str, weights: Checkpoint | None = None, **options: Any) -> "Page":
        path = tmp_path / "page.html"
        path.write_text(html_of(text, weights), encoding="utf-8", newline="")
        return visit(path.as_uri(), **options)

    return show_text
