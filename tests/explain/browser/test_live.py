"""The live page of `minigpt2 serve` in a real browser: tokens as one types."""

from collections.abc import Iterator
from threading import Thread

import pytest

from minigpt2 import Checkpoint, Tokenizer
from minigpt2.explain.server import ExplainServer
from tests.explain.browser.conftest import Open
from tests.explain.browser.test_looks import serious
from tests.explain.browser.test_page import MIXED, ids_on


@pytest.fixture
def server(weights: Checkpoint, tokenizer: Tokenizer) -> Iterator[ExplainServer]:
    with ExplainServer(0, tokenizer, weights, "The meaning of life is") as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_tokens_follow_the_text_as_it_is_typed(server: ExplainServer, visit: Open, tokenizer: Tokenizer) -> None:
    page = visit(server.url, allowed=server.url)
    assert page.locator("#box").input_value() == "The meaning of life is"
    assert ids_on(page) == tokenizer.encode("The meaning of life is")
    for text in ("The meaning of life is good", MIXED.replace("\r", ""), ""):
        with page.expect_response("**/explain"):
            page.locator("#box").fill(text)
            page.clock.run_for(500)
        page.wait_for_function(f"() => byId('counts').innerText.startsWith('{len(text)} ')")
        assert ids_on(page) == tokenizer.encode(text)


def test_what_cannot_be_explained_is_said_and_the_last_text_stays(server: ExplainServer, visit: Open) -> None:
    page = visit(server.url, allowed=server.url, complaint="status of 400")
    page.evaluate("byId('box').value = 'a\\ud800'; byId('box').dispatchEvent(new Event('input'))")
    page.clock.run_for(500)
    page.wait_for_function("() => byId('trouble').textContent.includes('surrogate')")
    assert ids_on(page) == [464, 3616, 286, 1204, 318]


def test_a_server_that_has_gone_is_said(visit: Open, tokenizer: Tokenizer) -> None:
    with ExplainServer(0, tokenizer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        page = visit(server.url, allowed=server.url, complaint="ERR_CONNECTION_REFUSED")
        server.shutdown()
        thread.join()
    page.locator("#box").fill("gone")
    page.clock.run_for(500)
    page.wait_for_function("() => byId('trouble').textContent.includes('is minigpt2 serve still running?')")


def test_axe_finds_nothing_serious_in_the_live_page(server: ExplainServer, visit: Open) -> None:
    assert serious(visit(server.url, allowed=server.url)) == []
