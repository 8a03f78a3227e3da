"""The live page of `minigpt2 serve` in a real browser: tokens as one types."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.explain.server import ExplainServer
from tests.explain.browser.conftest import Open
from tests.explain.browser.reading import MIXED, ids_on
from tests.explain.browser.test_looks import serious
from tests.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def server(weights: Checkpoint, tokenizer: Tokenizer) -> Iterator[ExplainServer]:
    with ExplainServer(0, tokenizer, weights, "The meaning of life is") as server, serving(server):
        yield server


def type_text(page: "Page", text: str) -> None:
    """Type a text into the box, and wait until the page has drawn it."""
    with page.expect_response("**/explain"):
        page.locator("#box").fill(text)
        page.clock.run_for(500)
    page.wait_for_function(f"() => byId('counts').innerText.startsWith('{len(text)} ')")


def drawn(page: "Page") -> dict[str, str]:
    """Each section's content, as HTML; an empty `class` is the same as none."""
    sections = page.locator("main > section").all()
    return {each.get_attribute("id") or "": each.inner_html().replace(' class=""', "") for each in sections}


TEXTS = ("The meaning of life is good", MIXED, "", "a", "   ", "<|endoftext|>", "It's 42 1 2 3!", "life")


def test_every_section_follows_the_text_as_it_is_typed(
    server: ExplainServer, visit: Open, tokenizer: Tokenizer, weights: Checkpoint
) -> None:
    page = visit(server.url, allowed=server.url)
    assert page.locator("#box").input_value() == "The meaning of life is"
    for text in TEXTS:
        type_text(page, text)
        with ExplainServer(0, tokenizer, weights, text) as fresh, serving(fresh):
            expected = drawn(visit(fresh.url, allowed=fresh.url))
        assert drawn(page) == expected, text
        assert ids_on(page) == tokenizer.encode(text)
        assert page.locator("#trouble").inner_text() == ""


def test_the_text_goes_on_with_the_token_that_is_taken(
    server: ExplainServer, visit: Open, tokenizer: Tokenizer, weights: Checkpoint
) -> None:
    page = visit(server.url, allowed=server.url)
    text = "The meaning of life is"
    for _ in range(3):
        best = [i for i, _, _ in GPT2(weights).next_tokens(tokenizer.encode(text), 10)]
        texts = [tokenizer.decode([i]) for i in best]
        chosen = next(index for index, each in enumerate(texts) if each.isascii() and each.isprintable())
        with page.expect_response("**/explain"):
            page.locator("#next-tokens li").nth(chosen).get_by_role("button").click()
        text += texts[chosen]
        page.wait_for_function(f"() => byId('counts').innerText.startsWith('{len(text)} ')")
        assert page.locator("#box").input_value() == text
        assert page.locator("#next-tokens button:focus").count() == 1
        assert ids_on(page) == tokenizer.encode(text)


def test_an_error_in_drawing_does_not_pass_for_a_dead_server(server: ExplainServer, visit: Open) -> None:
    page = visit(server.url, allowed=server.url, complaint="a fault in drawing")
    page.evaluate("() => { drawBytes = () => { throw new Error('a fault in drawing'); }; }")
    with page.expect_event("pageerror"):
        page.locator("#box").fill("life")
        page.clock.run_for(500)
    assert page.locator("#trouble").inner_text() == ""


def test_what_cannot_be_explained_is_said_and_the_last_text_stays(server: ExplainServer, visit: Open) -> None:
    page = visit(server.url, allowed=server.url, complaint="status of 400")
    page.evaluate("byId('box').value = 'a\\ud800'; byId('box').dispatchEvent(new Event('input'))")
    page.clock.run_for(500)
    page.wait_for_function("() => byId('trouble').textContent.includes('surrogate')")
    assert ids_on(page) == [464, 3616, 286, 1204, 318]


def test_a_server_that_has_gone_is_said(visit: Open, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    with ExplainServer(0, tokenizer, weights, "here") as server, serving(server):
        page = visit(server.url, allowed=server.url, complaint="ERR_CONNECTION_REFUSED")
    page.locator("#box").fill("gone")
    page.clock.run_for(500)
    page.wait_for_function("() => byId('trouble').textContent.includes('Is minigpt2 serve still running?')")


def test_axe_finds_nothing_serious_in_the_live_page(server: ExplainServer, visit: Open) -> None:
    assert serious(visit(server.url, allowed=server.url)) == []
