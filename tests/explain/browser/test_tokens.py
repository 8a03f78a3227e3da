"""Tokens, pretokens and bytes on the page are the library's, for any text."""

import re
from itertools import pairwise

import pytest

from minigpt2 import Tokenizer
from minigpt2.byte_alphabet import to_characters
from minigpt2.explain import explain
from minigpt2.explain.characters import visible
from minigpt2.explain.payload import MOST_TOKENS
from tests.explain.browser.conftest import Open
from tests.explain.browser.reading import MIXED, PROMPT, ids_on

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
        f"{visible(each)}, id {i}, bytes {each.hex(' ')}, characters {start} to {end}"
        for i, each, (start, end) in zip(encoding.input_ids, data, encoding.offset_mapping, strict=True)
    ]
    assert page.locator("#id-list").text_content() == str(encoding.input_ids)


def test_a_token_tells_of_itself_when_pointed_at_clicked_or_reached_by_keys(show: Open) -> None:
    page = show(PROMPT)
    card = page.locator("#token-card")
    page.locator(".token", has_text="life").hover()
    assert "Ġlife" in card.inner_text()
    page.locator("h1").hover()
    assert "Ġmeaning" in card.inner_text()
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


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("I'm 😀 ok", [" 😀"]),
        ("not 生命", [" 生", "命"]),
        ("naïve life", []),
        ("👩‍👩‍👧", ["👩", "\u200d", "👩", "\u200d", "👧"]),
    ],
)
def test_tokens_that_share_a_character_are_bracketed_over_it(text: str, characters: list[str], show: Open) -> None:
    page = show(text)
    assert page.locator("#token-list .bracket").all_text_contents() == characters
    for bracket in page.locator("#token-list .shared").all():
        assert bracket.locator(".token").count() > 1


@pytest.mark.parametrize("text", ["שלום עולם", "I say שלום עולם now", "العربية is Arabic"])
def test_text_from_right_to_left_stands_from_right_to_left(text: str, show: Open, tokenizer: Tokenizer) -> None:
    page = show(text)
    assert ids_on(page) == tokenizer.encode(text)
    boxes = [box for each in page.locator("#token-list .token").all() if (box := each.bounding_box())]
    right_to_left = [
        any("\u0590" <= character < "\u0700" for character in text[start:end])
        for start, end in tokenizer(text, return_offsets_mapping=True).offset_mapping
    ]
    for index, (here, after) in enumerate(pairwise(boxes)):
        if right_to_left[index] == right_to_left[index + 1] and here["y"] == after["y"]:
            assert (after["x"] < here["x"]) == right_to_left[index]


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
    page.locator("#bytes summary").click()
    card = page.locator("#byte-card")
    assert "byte 20 is written U+0120, 4 times in this text" in card.inner_text()
    assert "number 33 of the 68 bytes without a printable character" in card.inner_text()
    page.locator('#byte-chart button[data-byte="10"]').click()
    assert "U+010A" in card.inner_text()
    page.keyboard.press("ArrowDown")
    assert "byte 1a" in card.inner_text()
    page.locator('#byte-chart button[data-byte="65"]').click()
    assert "as a character of its own in Latin-1" in card.inner_text()


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
