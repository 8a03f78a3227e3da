"""Rows, neighbours and the file on the page are the checkpoint's."""

from pathlib import Path

import numpy as np
import pytest

from minigpt2 import Checkpoint, Embeddings, Tokenizer
from minigpt2.explain import explain
from minigpt2.explain.rows import NEIGHBOURS
from minigpt2.weights.bundled import LABEL
from tests.explain.browser.conftest import Open
from tests.explain.browser.reading import PROMPT, as_shown


def test_every_value_on_the_page_is_the_librarys(show: Open, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    page = show(PROMPT, weights)
    ids = tokenizer.encode(PROMPT)
    embeddings = Embeddings(weights)
    expected = {"tokens": embeddings.tokens(ids), "positions": embeddings.wpe[:5], "sums": embeddings(ids)}
    for name, rows in expected.items():
        values = page.evaluate(f"Array.from(heat.rows.{name})")
        np.testing.assert_array_equal(np.array(values).reshape(rows.shape), rows.astype(np.float64))


def test_values_are_read_by_pointing_and_by_keys(show: Open, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    page = show(PROMPT, weights)
    ids = tokenizer.encode(PROMPT)
    embeddings = Embeddings(weights)

    def assert_shows(position: int, column: int) -> None:
        shown = [np.float32(text) for text in page.locator("#readout .value").all_text_contents()]
        token, its_position = embeddings.tokens(ids)[position, column], embeddings.wpe[position, column]
        assert shown == [token, its_position, token + its_position]
        assert f"wte[{ids[position]}, {column}]" in page.locator("#readout").inner_text()

    assert_shows(1, 0)  # the row of the token that is selected first
    canvas = page.locator('[data-rows="positions"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 5.5 / 8, box["y"] + box["height"] * 3.5 / 5)
    assert_shows(3, 5)
    canvas.click(position={"x": 2, "y": box["height"] * 0.7})
    page.locator('[data-rows="sums"]').focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert_shows(4, 3)


def test_the_bytes_of_the_file_and_the_code_that_reads_them_are_right(
    show: Open, weights: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = show(PROMPT, weights)
    data = weights.path.read_bytes()
    for row in page.locator("#range-table tbody tr").all():
        token_id, begin, end = [int(text.replace(",", "")) for text in row.locator("td").all_text_contents()]
        np.testing.assert_array_equal(np.frombuffer(data[begin:end], "<f4"), weights["wte.weight"][token_id])
    monkeypatch.chdir(weights.path.parent)
    names: dict[str, object] = {}
    exec(page.locator("#file-body pre").inner_text(), names)
    np.testing.assert_array_equal(names["row"], weights["wte.weight"][464])


def test_neighbours_are_the_nearest(show: Open, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    page = show(PROMPT, weights)
    cards = page.locator(".near").all()
    for card, token_id in zip(cards, tokenizer.encode(PROMPT), strict=True):
        nearest = Embeddings(weights).nearest(token_id, NEIGHBOURS)
        assert card.locator("li bdi").all_text_contents() == as_shown(
            tokenizer.convert_ids_to_tokens([i for i, _ in nearest])
        )
        assert card.locator(".cosine").all_text_contents() == [f"{cosine:.3f}" for _, cosine in nearest]


def test_the_plane_has_a_point_for_each_token_shown(show: Open, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    rows = explain(tokenizer, PROMPT, weights).rows
    assert rows is not None
    page = show(PROMPT, weights)
    assert page.locator(".plane .point").count() == len(rows.plane.points)
    assert sorted(page.locator(".plane .own text").all_text_contents()) == sorted(as_shown(tokenizer.tokenize(PROMPT)))
    assert "PCA of the rows shown here" in page.locator("#near-body").inner_text()


def test_the_bundled_model_is_labelled_wherever_its_numbers_are_shown(show: Open, small_bundled_model: Path) -> None:
    page = show(PROMPT, Checkpoint.open(small_bundled_model))
    for body in ("rows-body", "near-body", "layers-body", "lens-body", "next-body", "file-body"):
        assert page.locator(f"#{body} .warning").inner_text() == LABEL


def test_a_page_without_weights_says_how_to_get_the_rest(show: Open) -> None:
    page = show(PROMPT)
    assert "minigpt2 download" in page.locator("#rows-body").inner_text()
    assert not page.locator("#file").is_visible()
    assert not page.locator("#near").is_visible()


def test_an_empty_text_has_a_page(show: Open, weights: Checkpoint) -> None:
    page = show("", weights)
    assert page.locator("#more-tokens").inner_text() == "The text is empty: it has no tokens."
    assert page.locator("#merge-status").inner_text() == "There is nothing to merge in this text."
