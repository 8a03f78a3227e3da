"""The page in a real browser, opened from disk: what it shows is the library's, and it can be played with."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from minigpt2 import Checkpoint, Embeddings, Tokenizer
from minigpt2.byte_alphabet import to_characters
from minigpt2.explain import explain
from minigpt2.explain.characters import visible
from minigpt2.explain.page import MOST_TOKENS
from minigpt2.explain.rows import NEIGHBOURS
from minigpt2.explain.trace import replay
from minigpt2.weights.bundled import LABEL
from tests.explain.browser.conftest import Open

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROMPT = "The meaning of life is"
MIXED = "It's naïve to think 生命 is 42!\n\n\tdef f(x):  return\u00a0x <|endoftext|> 👩‍👩‍👧 שלום e\u0301"

HOSTILE = {
    "script": "</script><script>alert(1)</script><!-- <script> <img src=x onerror=alert(1)>",
    "comment": "<!--<script>--!> ]]> <![CDATA[ &lt; &amp; &#60; %3C",
    "quotes": "\"'`´’“ ' onload='alert(1)' \" onload=\"alert(1)\" \\ \\u003c \\",
    "NUL": "a\x00b\x01\x02\x1b[31m\x7f\x80\x9f",
    "right to left": "שלום \u202eevil\u202c \u2066x\u2069 العربية\u200f",
    "templates": "{{trace}} ${alert(1)} {{script}} __proto__ constructor toString",
    "line separators": "a\u2028b\u2029c\r\nd\re\ufeff",
    "noncharacters": "\ufdd0\ufffe\uffff\U0010ffff",
    "10,000 emoji": "😀" * 10_000,
    "emoji apart": "😀 " * 10_000,
    "100 KB of text": "It's the meaning of life, isn't it? " * 2_900,
    "100 KB of one letter": "a" * 100_000,
    "100 KB of different words": " ".join(f"w{number:x}x" for number in range(15_000)),
    "100 KB of lines": "\n" * 100_000,
}


def ids_on(page: "Page") -> list[int]:
    return [int(text) for text in page.locator("#token-list .id").all_text_contents()]


def symbols_on(page: "Page") -> list[str]:
    return page.locator("#now .symbol").all_text_contents()


def pick(page: "Page", shown: str) -> None:
    (label,) = [text for text in page.locator("#pick option").all_text_contents() if text.startswith(f"{shown}  (")]
    page.locator("#pick").select_option(label=label)


# ---- tokens


@pytest.mark.parametrize("text", [PROMPT, MIXED, " ", "\n", "a", "   x"], ids=repr)
def test_tokens_ids_bytes_and_offsets_are_the_librarys(text: str, show: Open, tokenizer: Tokenizer) -> None:
    page = show(text)
    encoding = tokenizer(text, return_offsets_mapping=True)
    data = tokenizer.decode_tokens_bytes(encoding.input_ids)
    assert ids_on(page) == encoding.input_ids
    assert page.locator("#token-list .shown").all_text_contents() == list(map(visible, data))
    labels = [each.get_attribute("aria-label") for each in page.locator("#token-list .token").all()]
    assert labels == [
        f"{token}, id {i}, bytes {each.hex(' ')}, characters {start} to {end}"
        for token, i, each, (start, end) in zip(
            tokenizer.tokenize(text), encoding.input_ids, data, encoding.offset_mapping, strict=True
        )
    ]
    assert page.locator("#ids").text_content() == str(encoding.input_ids)


def test_a_token_tells_of_itself_when_pointed_at_clicked_or_reached_by_keys(show: Open) -> None:
    page = show(PROMPT)
    card = page.locator("#token-card")
    page.locator(".token", has_text="life").hover()
    assert "Ġlife" in card.inner_text()
    page.locator("h1").hover()
    assert "The" in card.inner_text()
    page.locator(".token", has_text="meaning").click()
    page.locator("h1").hover()
    assert all(part in card.inner_text() for part in ("Ġmeaning", "3616", "20 6d 65 61 6e 69 6e 67", "3 to 11"))
    page.keyboard.press("ArrowRight")
    assert page.locator(":focus").get_attribute("aria-selected") == "true"
    assert "286" in card.inner_text()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert "318" in card.inner_text()
    page.keyboard.press("Home")
    assert "464" in card.inner_text()


def test_counts_are_the_texts(show: Open, tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, MIXED)
    counts = [len(MIXED), len(MIXED.encode()), len(trace.pretokens), len(trace.tokens)]
    page = show(MIXED)
    assert [int(number) for number in re.findall(r"\d+", page.locator("#counts").inner_text())] == counts


def test_each_branch_of_the_pattern_has_the_pretokens_it_matched(show: Open, tokenizer: Tokenizer) -> None:
    page = show(MIXED)
    for branch in {pretoken.branch for pretoken in explain(tokenizer, MIXED).pretokens}:
        matched = [visible(each.data) for each in explain(tokenizer, MIXED).pretokens if each.branch == branch]
        shown = page.locator(f'#branches [data-branch="{branch}"] .matched bdi').all_text_contents()
        assert shown == list(dict.fromkeys(matched))


# ---- bytes


def test_the_bytes_of_the_text_are_lit(show: Open) -> None:
    page = show(MIXED)
    assert page.locator("#byte-chart button").all_text_contents() == list(to_characters(bytes(range(256))))
    lit = {int(each.get_attribute("data-byte") or "") for each in page.locator("#byte-chart .lit").all()}
    assert lit == set(MIXED.encode())


def test_the_space_is_explained_and_other_bytes_when_asked(show: Open) -> None:
    page = show(PROMPT)
    card = page.locator("#byte-card")
    assert "byte 20 is written U+0120, 4 times in this text" in card.inner_text()
    assert "number 33 of the 68 bytes that do not print" in card.inner_text()
    page.locator('#byte-chart button[data-byte="10"]').click()
    assert "U+010A" in card.inner_text()
    page.keyboard.press("ArrowDown")
    assert "byte 1a" in card.inner_text()
    page.locator('#byte-chart button[data-byte="65"]').click()
    assert "Latin-1 prints it" in card.inner_text()


# ---- merges


@pytest.mark.parametrize("word", [" meaning", " lifelike", "生命", "x", "   "])
def test_merges_play_to_the_end_and_back_by_mouse(word: str, show: Open, tokenizer: Tokenizer) -> None:
    page = show(f"{word}")
    (pretoken,) = explain(tokenizer, word).pretokens
    states = replay(pretoken.characters, pretoken.merges or (), lambda merge: merge.token)
    assert symbols_on(page) == tokenizer.tokenize(word)
    for symbols in reversed(states[:-1]):
        page.locator("#back").click()
        assert symbols_on(page) == symbols
    for symbols in states[1:]:
        page.locator("#forward").click()
        assert symbols_on(page) == symbols
    assert symbols_on(page) == tokenizer.tokenize(word)
    if len(states) > 1:
        page.locator("#to-start").click()
        assert symbols_on(page) == list(pretoken.characters)
        page.locator("#to-end").click()
        assert symbols_on(page) == tokenizer.tokenize(word)
    for ends in ("#forward", "#to-end"):
        assert page.locator(ends).get_attribute("aria-disabled") == "true"


def test_merges_play_to_the_end_and_back_by_keyboard(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" meaning")
    (pretoken,) = explain(tokenizer, " meaning").pretokens
    states = replay(pretoken.characters, pretoken.merges or (), lambda merge: merge.token)
    page.locator("#stage").focus()
    page.keyboard.press("Home")
    for symbols in states:
        assert symbols_on(page) == symbols
        page.keyboard.press("ArrowRight")
    for symbols in reversed(states):
        assert symbols_on(page) == symbols
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    assert symbols_on(page) == ["Ġmeaning"]


def test_every_control_can_be_reached_and_used_by_keys_alone(show: Open) -> None:
    page = show(" meaning of")
    page.locator("#pick").focus()
    for control in ("to-start", "back", "play", "forward", "to-end", "step", "stage"):
        page.keyboard.press("Tab")
        assert page.locator(":focus").get_attribute("id") == control
    page.locator("#to-start").focus()
    page.keyboard.press("Enter")
    assert len(symbols_on(page)) == 8
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#step-of").inner_text() == "2 of 7"


def test_playing_goes_on_by_itself_stops_when_told_and_at_the_end(show: Open) -> None:
    page = show(" meaning")
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
    assert (symbols_on(page), play.inner_text()) == (["Ġmeaning"], "play")


def test_the_ranks_between_symbols_are_the_candidates(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" lifelike")
    page.locator("#to-start").click()
    (pretoken,) = explain(tokenizer, " lifelike").pretokens
    for merge in pretoken.merges or ():
        ranks = [int(text) for text in page.locator("#now .rank").all_text_contents()]
        assert ranks == [candidate.rank for candidate in merge.candidates]
        assert page.locator("#now .lowest").all_text_contents() == [str(merge.rank)]
        page.locator("#forward").click()
    assert page.locator("#now .rank").count() == 0


def test_the_tree_grows_with_the_merges(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" life")
    page.locator("#to-start").click()
    page.locator("#stage").focus()
    for made in range(5):
        assert page.locator("#stage .node.there").count() == 5 + made
        assert page.locator("#stage .edge.there").count() == 2 * made
        page.keyboard.press("ArrowRight")
    assert page.locator("#stage .node.whole .name").all_text_contents() == ["Ġlife"]
    below = page.locator("#stage .node .below").all_text_contents()
    (pretoken,) = explain(tokenizer, " life").pretokens
    assert below == ["20", "6c", "69", "66", "65", *(f"{merge.rank:,}" for merge in pretoken.merges or ())]


def test_a_pretoken_is_picked_from_the_list_or_from_its_token(show: Open) -> None:
    page = show(PROMPT)
    pick(page, "·life")
    assert symbols_on(page) == ["Ġlife"]
    page.locator(".token", has_text="is").click()
    page.get_by_role("button", name="See how its pretoken is merged").click()
    assert symbols_on(page) == ["Ġ", "i", "s"]
    page.clock.run_for(5000)
    assert symbols_on(page) == ["Ġis"]


def test_the_table_has_every_merge(show: Open, tokenizer: Tokenizer) -> None:
    page = show(" life")
    page.locator("summary").click()
    (pretoken,) = explain(tokenizer, " life").pretokens
    rows = [row.locator("td").all_text_contents() for row in page.locator("#merge-table tbody tr").all()]
    expected = [(m.token, f"{m.rank:,}", str(m.product), str(len(m.candidates))) for m in pretoken.merges or ()]
    assert [tuple(row[1:]) for row in rows] == expected


def test_a_pretoken_too_long_to_play_says_so(show: Open) -> None:
    assert (
        "This pretoken has 1,000 bytes; merges are played up to 256." in show("a" * 1000).locator("#stage").inner_text()
    )


# ---- rows


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
        token, place = embeddings.tokens(ids)[position, column], embeddings.wpe[position, column]
        assert shown == [token, place, token + place]
        assert f"wte[{ids[position]}, {column}]" in page.locator("#readout").inner_text()

    assert_shows(0, 0)
    canvas = page.locator('[data-rows="positions"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 5.5 / 8, box["y"] + box["height"] * 3.5 / 5)
    assert_shows(3, 5)
    page.locator('[data-rows="sums"]').focus()
    for key in ("ArrowDown", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert_shows(4, 3)


def test_the_bytes_of_the_file_and_the_code_that_reads_them_are_right(
    show: Open, weights: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = show(PROMPT, weights)
    data = weights.path.read_bytes()
    for row in page.locator("#place-table tbody tr").all():
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
        assert card.locator("li bdi").all_text_contents() == tokenizer.convert_ids_to_tokens([i for i, _ in nearest])
        assert card.locator(".cosine").all_text_contents() == [f"{cosine:.3f}" for _, cosine in nearest]


def test_the_plane_has_a_point_for_each_token_shown(show: Open, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    rows = explain(tokenizer, PROMPT, weights).rows
    assert rows is not None
    page = show(PROMPT, weights)
    assert page.locator(".plane .point").count() == len(rows.plane.points)
    assert sorted(page.locator(".plane .own text").all_text_contents()) == sorted(tokenizer.tokenize(PROMPT))
    assert "PCA of the rows shown here" in page.locator("#near-body").inner_text()


def test_the_bundled_model_is_labelled_wherever_its_numbers_are_shown(show: Open, small_bundled_model: Path) -> None:
    page = show(PROMPT, Checkpoint.open(small_bundled_model))
    for body in ("rows-body", "file-body", "near-body"):
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


# ---- hostile and large texts


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_text(name: str, show: Open, tokenizer: Tokenizer) -> None:
    text = HOSTILE[name]
    page = show(text)
    ids = tokenizer.encode(text)
    shown = ids_on(page)
    assert shown == ids[: len(shown)]
    assert len(shown) == min(2000, len(ids))
    expected = [visible(data) for data in tokenizer.decode_tokens_bytes(shown)]
    assert page.locator("#token-list .shown").all_text_contents() == expected
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.locator("script").count() == 2


def test_a_long_text_is_shown_in_parts_and_says_so(show: Open, tokenizer: Tokenizer) -> None:
    text = "The meaning of life is " * 6000
    ids = tokenizer.encode(text)
    page = show(text)
    more = page.locator("#more-tokens")
    assert f"Showing the first 2,000 of {len(ids):,} tokens." in more.inner_text()
    more.get_by_role("button").click()
    assert ids_on(page) == ids[:4000]
    for _ in range(MOST_TOKENS // 2000 - 2):
        more.get_by_role("button").click()
    assert ids_on(page) == ids[:MOST_TOKENS]
    assert "This page holds no more of them; minigpt2 explain --json has every one." in more.inner_text()
