"""Learning merges on the page, from the text's own pairs, as `bpe.train` learns them."""

from collections import Counter
from itertools import islice

import pytest

from minigpt2 import bpe
from minigpt2.byte_alphabet import ALPHABET_ORDER
from minigpt2.pretokenize import pretokenize
from tests.explain.browser.conftest import Open

TEXTS = ["she sells sea shells by the sea shore", "aaaa aaa aa", "the the then", "naïve naïveté 生命", "a"]


def learned(text: str) -> list[bpe.LearnedMerge]:
    counts = Counter(tuple(ALPHABET_ORDER.index(byte) for byte in pretoken.encode()) for pretoken in pretokenize(text))
    return list(islice(bpe.train(counts), 12))


@pytest.mark.parametrize("text", TEXTS)
def test_each_merge_is_the_one_that_train_learns(text: str, show: Open) -> None:
    page = show(text)
    for merge in learned(text):
        assert int(page.locator("#pairs .cosine").first.inner_text()) == merge.occurrences
        page.locator("#learn").click()
        newest = page.evaluate("training.learned.at(-1)")
        assert (tuple(newest["pair"]), newest["count"]) == merge
    assert page.locator("#learned li").count() == len(learned(text))


def test_the_text_is_redrawn_with_what_was_learned(show: Open) -> None:
    page = show("low lower")
    words = page.locator("#train-text .word")
    assert [" ".join(word.locator(".symbol").all_text_contents()) for word in words.all()] == ["l o w", "· l o w e r"]
    page.locator("#learn").click()
    page.locator("#learn").click()
    assert [" ".join(word.locator(".symbol").all_text_contents()) for word in words.all()] == ["low", "· low e r"]
    assert page.locator("#train-status").inner_text() == "Merge 2: lo + w occurred 2 times and became low, id 257."
    assert page.locator("#train-text .next").all_text_contents() == ["low", "low"]
    page.locator("#unlearn").click()
    assert page.locator("#learned li").count() == 0
    assert [word.locator(".symbol").count() for word in words.all()] == [3, 6]


def test_where_nothing_is_left_to_learn_the_button_does_nothing(show: Open) -> None:
    page = show("ab")
    page.locator("#learn").click()
    assert page.locator("#learn").get_attribute("aria-disabled") == "true"
    page.locator("#learn").press("Enter")
    assert page.locator("#learned li").count() == 1
