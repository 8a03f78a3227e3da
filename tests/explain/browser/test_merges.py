"""The player of merges, by mouse and by keys, and the tree that grows with it."""

from typing import TYPE_CHECKING

import pytest

from minigpt2 import Tokenizer
from minigpt2.explain import explain
from minigpt2.explain.trace import replay
from tests.explain.browser.conftest import Open
from tests.explain.browser.reading import PROMPT, as_shown, symbols_on

if TYPE_CHECKING:
    from playwright.sync_api import Page


def states_of(tokenizer: Tokenizer, word: str) -> list[list[str]]:
    """The symbols of a word before the first merge and after each, as the page shows them."""
    (pretoken,) = explain(tokenizer, word).pretokens
    return [as_shown(each) for each in replay(pretoken.characters, pretoken.merges or (), lambda merge: merge.token)]


def pick(page: "Page", shown: str) -> None:
    (label,) = [text for text in page.locator("#pick option").all_text_contents() if text.startswith(f"{shown}  (")]
    page.locator("#pick").select_option(label=label)


@pytest.mark.parametrize("word", [" meaning", " lifelike", "生命", "x", "   "])
def test_merges_play_from_the_bytes_to_the_end_and_back_by_mouse(word: str, show: Open, tokenizer: Tokenizer) -> None:
    page = show(word)
    states = states_of(tokenizer, word)
    assert symbols_on(page) == states[0]
    for symbols in states[1:]:
        page.locator("#forward").click()
        assert symbols_on(page) == symbols
    for ends in ("#forward", "#to-end"):
        assert page.locator(ends).get_attribute("aria-disabled") == "true"
    for symbols in reversed(states[:-1]):
        page.locator("#back").click()
        assert symbols_on(page) == symbols
    if len(states) > 1:
        page.locator("#to-end").click()
        assert symbols_on(page) == states[-1] == as_shown(tokenizer.tokenize(word))
        page.locator("#to-start").click()
        assert symbols_on(page) == states[0]


def test_merges_play_to_the_end_and_back_by_keyboard(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" meaning")
    states = states_of(tokenizer, " meaning")
    page.locator("#stage").focus()
    for symbols in states:
        assert symbols_on(page) == symbols
        page.keyboard.press("ArrowRight")
    for symbols in reversed(states):
        assert symbols_on(page) == symbols
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    assert symbols_on(page) == ["·meaning"]
    page.keyboard.press("Home")
    assert symbols_on(page) == states[0]


def test_every_control_can_be_reached_and_used_by_keys_alone(show: Open) -> None:
    page = show(" meaning of")
    page.locator("#pick").focus()
    for control in ("to-start", "back", "play", "forward", "to-end", "step", "stage"):
        page.keyboard.press("Tab")
        assert page.locator(":focus").get_attribute("id") == control
    page.locator("#to-end").focus()
    page.keyboard.press("Enter")
    assert len(symbols_on(page)) == 1
    page.locator("#to-start").focus()
    page.keyboard.press("Enter")
    assert len(symbols_on(page)) == 8
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#step-of").inner_text() == "2 of 7"


def test_playing_goes_on_by_itself_stops_when_told_and_at_the_end(show: Open) -> None:
    page = show(" meaning")
    page.clock.pause_at("2100-01-01")  # from here on time goes by when the test says so
    play = page.locator("#play")
    play.click()
    assert (len(symbols_on(page)), play.inner_text()) == (8, "pause")
    page.clock.run_for(1000)
    assert len(symbols_on(page)) == 7
    page.locator("#stage").focus()
    page.keyboard.press("Space")
    page.clock.run_for(5000)
    assert (len(symbols_on(page)), play.inner_text()) == (7, "play")
    page.keyboard.press("Space")
    page.clock.run_for(20_000)
    assert (symbols_on(page), play.inner_text()) == (["·meaning"], "play")


def test_the_ranks_between_symbols_are_the_candidates(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" lifelike")
    (pretoken,) = explain(tokenizer, " lifelike").pretokens
    for merge in pretoken.merges or ():
        ranks = [int(text) for text in page.locator("#now .rank").all_text_contents()]
        assert ranks == [candidate.rank for candidate in merge.candidates]
        assert page.locator("#now .lowest").all_text_contents() == [str(merge.rank)]
        page.locator("#forward").click()
    assert page.locator("#now .rank").count() == 0


def test_the_tree_grows_with_the_merges(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" life")
    page.locator("#stage").focus()
    for made in range(5):
        assert page.locator("#stage .node.there").count() == 5 + made
        assert page.locator("#stage .edge.there").count() == 2 * made
        page.keyboard.press("ArrowRight")
    assert page.locator("#stage .node.whole .name").all_text_contents() == ["·life"]
    below = page.locator("#stage .node .below").all_text_contents()
    (pretoken,) = explain(tokenizer, " life").pretokens
    assert below == ["20", "6c", "69", "66", "65", *(f"{merge.rank:,}" for merge in pretoken.merges or ())]


def test_a_pretoken_is_picked_from_the_list_or_from_its_token(show: Open) -> None:
    page = show(PROMPT)
    pick(page, "·life")
    assert symbols_on(page) == ["·", "l", "i", "f", "e"]
    assert page.locator('.token[aria-selected="true"] .id').inner_text() == "1204"
    page.locator(".token", has_text="·is").click()
    page.get_by_role("button", name="See how its pretoken is merged").click()
    assert symbols_on(page) == ["·", "i", "s"]
    page.clock.run_for(5000)
    assert symbols_on(page) == ["·is"]


def test_the_table_has_every_merge(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" life")
    page.locator("#merges summary").click()
    (pretoken,) = explain(tokenizer, " life").pretokens
    rows = [row.locator("td").all_text_contents() for row in page.locator("#merge-table tbody tr").all()]
    expected = [
        (*as_shown([m.token]), f"{m.rank:,}", str(m.product), str(len(m.candidates))) for m in pretoken.merges or ()
    ]
    assert [tuple(row[1:]) for row in rows] == expected


def test_a_pretoken_too_long_to_play_says_so(show: Open) -> None:
    assert (
        "Its merges are not shown: merges are recorded up to 256 bytes."
        in show("a" * 1000).locator("#stage").inner_text()
    )
