"""The page for every eye and hand: widths, light and dark, print, and what axe-core has to say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minigpt2 import Checkpoint, Tokenizer
from minigpt2.explain import explain
from minigpt2.explain.page import page as page_of
from tests.command import ROOT
from tests.explain.browser.conftest import Open
from tests.explain.browser.reading import MIXED, PROMPT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXTS = {"prompt": PROMPT, "mixed": MIXED, "long": "x" * 300 + "生" * 90 + " " * 200 + "ÃÂ" * 200 + "-" * 200}


def open_all(page: "Page") -> None:
    """Open what is folded away."""
    for summary in page.locator("summary").all():
        summary.click()


def serious(page: "Page") -> list[Any]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install 'minigpt2[test]'")
    violations = axe.Axe().run(page).response["violations"]
    return [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("width", [360, 768, 1600])
@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_wider_than_the_window(name: str, width: int, show: Open, weights: Checkpoint) -> None:
    page = show(TEXTS[name], weights, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme: str, width: int, show: Open, weights: Checkpoint) -> None:
    page = show(MIXED, weights, width=width, color_scheme=scheme)
    open_all(page)
    assert serious(page) == []


@pytest.mark.parametrize("text", ["", PROMPT], ids=["empty", "without weights"])
def test_axe_finds_nothing_serious_in_a_page_without_weights(text: str, show: Open) -> None:
    assert serious(show(text)) == []


def test_light_and_dark_follow_the_system_even_while_it_is_open(show: Open, weights: Checkpoint) -> None:
    page = show(PROMPT, weights, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    picture = "document.querySelector('.heat canvas').toDataURL()"
    light = page.evaluate(background), page.evaluate(picture)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => {background} !== light[0] && {picture} !== light[1]", arg=light)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"light => {background} === light[0] && {picture} === light[1]", arg=light)


def test_it_prints_without_what_only_works_on_a_screen(show: Open, weights: Checkpoint) -> None:
    page = show(PROMPT, weights, color_scheme="dark")
    picture = "document.querySelector('.heat canvas').toDataURL()"
    dark = page.evaluate(picture)
    page.emulate_media(media="print")
    page.wait_for_function(f"dark => {picture} !== dark", arg=dark)  # ink is for what is not zero
    assert not page.locator("#player .controls").is_visible()
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#token-list").is_visible()
    assert page.locator("#stage svg").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_the_page_may_make_no_request(browser: "Browser", tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of(explain(tokenizer, PROMPT)), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    with page.expect_console_message() as said:
        assert page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 'refused')") == "refused"
    assert "Content Security Policy" in said.value.text
    page.close()


def test_the_readmes_pictures_can_be_made_and_are_small(
    browser: "Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts import make_pictures

    monkeypatch.setattr(make_pictures, "DOCS", tmp_path)
    make_pictures.take_page(browser)
    make_pictures.take_terminal(browser)
    names = {"page.png", "merges.png", "terminal.png"}
    for directory in (tmp_path, ROOT / "docs"):
        assert {picture.name for picture in directory.glob("*.png")} == names
        assert all(0 < (directory / name).stat().st_size < 200_000 for name in names)
