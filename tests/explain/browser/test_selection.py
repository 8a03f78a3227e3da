"""One token is selected, and every section shows it."""

from typing import TYPE_CHECKING

import pytest

from minigpt2 import Checkpoint
from tests.explain.browser.conftest import Open
from tests.explain.browser.reading import PROMPT

if TYPE_CHECKING:
    from playwright.sync_api import Page


def assert_selected(page: "Page", index: int, shown: str, token_id: int) -> None:
    """Every section shows this token."""
    assert page.locator('#token-list [aria-selected="true"]').get_attribute("data-index") == str(index)
    assert page.locator("#token-card dd").nth(1).inner_text() == str(token_id)
    assert page.locator("#branches .chosen").inner_text() == shown
    assert page.locator("#token-bytes").inner_text().startswith(f"{shown} is ")
    framed = {chr(int(each.get_attribute("data-byte") or "")) for each in page.locator("#byte-chart .chosen").all()}
    assert framed == set(shown.replace("·", " "))
    assert page.locator("#pick option:checked").inner_text().startswith(f"{shown}  (")
    assert page.locator("#stage .node.chosen").count() == 2 * len(shown) - 1
    assert page.locator("#id-of-token").inner_text().startswith(shown)
    assert f"wte[{token_id}, " in page.locator("#readout").inner_text()
    assert page.locator("article.near.chosen h3 bdi").inner_text() == shown
    assert page.locator(".plane .chosen").get_attribute("data-id") == str(token_id)
    assert page.locator('#attended [aria-pressed="true"] .shown').inner_text() == shown
    assert shown in page.locator("#lens-table caption").inner_text()
    assert page.locator("#range-table .chosen th").inner_text() == shown
    assert page.locator(".tick.chosen").get_attribute("data-id") == str(token_id)


@pytest.mark.parametrize(
    ("where", "index", "shown", "token_id"),
    [
        ("#token-list .token >> nth=3", 3, "·life", 1204),
        ("#attended button >> nth=4", 4, "·is", 318),
        ("#token-list .token >> nth=0", 0, "The", 464),
    ],
)
def test_a_click_selects_a_token_everywhere(
    where: str, index: int, shown: str, token_id: int, show: Open, weights: Checkpoint
) -> None:
    page = show(PROMPT, weights)
    assert_selected(page, 1, "·meaning", 3616)
    page.locator(where).click()
    assert_selected(page, index, shown, token_id)


def test_keys_and_the_list_of_pretokens_select_too(show: Open, weights: Checkpoint) -> None:
    page = show(PROMPT, weights)
    page.locator('#token-list [tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    assert_selected(page, 2, "·of", 286)
    page.locator("#pick").select_option(index=3)
    assert_selected(page, 3, "·life", 1204)
