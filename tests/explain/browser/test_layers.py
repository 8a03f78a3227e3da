"""Attention, the logit lens and the next tokens on the page are the model's."""

import re
from pathlib import Path

import numpy as np
import pytest

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.explain import explain
from minigpt2.generation import probabilities
from tests.explain.browser.conftest import Open
from tests.explain.browser.reading import PROMPT, as_shown

BYTE = 1 / 255  # attention travels as bytes


def percentages(texts: list[str]) -> list[float]:
    return [float(text.strip("<%")) / 100 for text in texts]


def test_attention_is_the_models_for_every_layer_head_and_token(
    show: Open, tokenizer: Tokenizer, weights: Checkpoint
) -> None:
    page = show(PROMPT, weights)
    patterns = GPT2(weights)(tokenizer.encode(PROMPT), output_attentions=True).attentions
    assert patterns is not None
    for layer, pattern in enumerate(patterns):
        for head, rows in enumerate(pattern[0]):
            read = f"(query, key) => weightOf(selection.data.layers, {layer}, {head}, query, key)"
            shown = [[page.evaluate(f"([q, k]) => ({read})(q, k)", [q, k]) for k in range(q + 1)] for q in range(5)]
            for query, row in enumerate(shown):
                np.testing.assert_allclose(row, rows[query, : query + 1], atol=BYTE)


def test_a_head_is_chosen_by_mouse_and_by_keys(show: Open, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    page = show(PROMPT, weights)
    layers = explain(tokenizer, PROMPT, weights).layers
    assert layers is not None
    page.locator("#attended button", has_text="is").click()
    page.locator('#heads button[data-head="1.0"]').click()
    page.keyboard.press("ArrowRight")
    assert page.locator('#heads [aria-pressed="true"]').get_attribute("data-head") == "1.1"
    shown = percentages(page.locator("#attended .weight").all_text_contents())
    np.testing.assert_allclose(shown, layers.attentions[1, 1, 4], atol=0.5 / 100 + BYTE)
    assert "Head 1 of layer h.1: ·is takes" in page.locator("#attention-readout").inner_text()


def test_the_lens_shows_each_layers_guesses_after_the_selected_token(
    show: Open, tokenizer: Tokenizer, weights: Checkpoint
) -> None:
    page = show(PROMPT, weights)
    page.locator(".token", has_text="life").click()
    expected = GPT2(weights).logit_lens(tokenizer.encode("The meaning of life"), 5)
    rows = page.locator("#lens-table tbody tr").all()
    assert [row.locator("th").inner_text() for row in rows] == ["wte + wpe", "h.0", "h.1"]
    for row, guesses in zip(rows, expected, strict=True):
        assert row.locator("bdi").all_text_contents() == as_shown([token for _, token, _ in guesses])
        shown = percentages(row.locator(".share").all_text_contents())
        np.testing.assert_allclose(shown, [chance for _, _, chance in guesses], atol=0.6 / 100)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_the_next_tokens_are_the_models_at_any_temperature(
    temperature: float, show: Open, tokenizer: Tokenizer, weights: Checkpoint
) -> None:
    page = show(PROMPT, weights)
    page.locator("#temperature").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", round(10 * temperature)
    )
    assert page.locator("#temperature-of").inner_text() == f"{temperature:.1f}"
    logits = GPT2(weights)(tokenizer.encode(PROMPT)).logits[0, -1]
    chances = probabilities(logits / temperature)
    best = np.argsort(-chances, kind="stable")[:10]
    shown = page.locator("#next-tokens .guess").all_text_contents()
    assert shown == as_shown(tokenizer.convert_ids_to_tokens(best.tolist()))
    np.testing.assert_allclose(
        percentages(page.locator("#next-tokens .chance").all_text_contents()), chances[best], atol=0.6 / 100
    )
    assert page.locator("#next-tokens .logit").all_text_contents() == [f"logit {logits[i]:.2f}" for i in best]


def test_without_layers_one_line_says_what_is_missing(show: Open, weights: Checkpoint) -> None:
    page = show("", weights)
    for section in ("layers", "lens", "next"):
        assert not page.locator(f"#{section}").is_visible()
    weights = Checkpoint.open(weights.path)
    weights.is_remote = True  # as of a model on the hub, of which only some rows are here
    page = show(PROMPT, weights)
    assert "`" not in page.locator("#layers-body").inner_text()
    assert re.search("need the layers of a model on this machine", page.locator("#layers-body").inner_text())
    for section in ("lens", "next"):
        assert not page.locator(f"#{section}").is_visible()


def test_layers_that_cannot_be_used_say_why(show: Open, weights: Checkpoint, tmp_path: Path) -> None:
    directory = tmp_path / "<b>\udcff"  # a byte that is not UTF-8
    directory.mkdir()
    weights.save(directory / "model.safetensors")
    page = show(PROMPT, Checkpoint.open(directory))
    shown = page.locator("#layers-body").inner_text()
    assert f"need the model’s layers, and there is no config.json beside {tmp_path}/<b>\\udcff" in shown


def test_a_still_page_has_nothing_to_take(show: Open, weights: Checkpoint) -> None:
    assert show(PROMPT, weights).locator("#next-tokens button").count() == 0
