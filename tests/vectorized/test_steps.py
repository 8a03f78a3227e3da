"""The steps of the numpy engine against the readable split and merge loops."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2 import bpe
from minigpt2.pretokenize import pretokenize
from minigpt2.vectorized import boundaries, long_pieces, merging
from minigpt2.vectorized.arrays import Bytes, Indices
from minigpt2.vectorized.merge_tables import MergeTables
from minigpt2.vectorized.merging import Merged
from minigpt2.vocabulary import Vocabulary, gpt2
from tests.conftest import hurtful_texts
from tests.vectorized.inputs import SMALL, vocabularies_of_three_letters, words


def check_starts(text: str) -> None:
    starts, lengths = boundaries.split_into_pieces(text, text.encode(), np.ones(65536, np.bool_))
    assert lengths.tolist() == [len(pretoken.encode()) for pretoken in pretokenize(text)]
    assert starts.tolist() == np.cumsum([0, *lengths])[:-1].tolist()


@given(hurtful_texts().filter(bool))
def test_pieces_start_where_pretokens_do(text: str) -> None:
    check_starts(text)


@settings(max_examples=300)
@given(hurtful_texts(), hurtful_texts())
def test_pieces_start_where_pretokens_do_in_text_that_is_mostly_ascii(first: str, second: str) -> None:
    check_starts(f"{'word ' * 99}{first}'{'s  ' * 99}{second}")


@given(st.lists(st.text(st.sampled_from("ab-é日 "), min_size=1, max_size=30), min_size=1, max_size=30))
def test_pieces_merged_side_by_side_are_pieces_merged_alone(pieces: list[str]) -> None:
    for vocabulary in (gpt2(), SMALL):
        assert merged_together(vocabulary, pieces * 12) == merged_alone(vocabulary, pieces * 12)


@settings(max_examples=60)
@given(st.lists(st.text(st.sampled_from("ah-é "), min_size=1, max_size=12), min_size=1, max_size=8), st.integers(1, 40))
def test_long_pieces_sewn_together_are_pieces_merged_alone(parts: list[str], times: int) -> None:
    pieces = [part * times for part in parts] + ["".join(parts) * times, "x"]
    for vocabulary in (gpt2(), SMALL):
        assert merged_together(vocabulary, pieces) == merged_alone(vocabulary, pieces)


@settings(max_examples=300)
@given(vocabularies_of_three_letters(), st.lists(st.text("abc", min_size=1, max_size=40), min_size=1), st.booleans())
def test_any_vocabulary_merges_side_by_side(vocabulary: Vocabulary, pieces: list[str], to_the_end: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "FEW", 0 if to_the_end else merging.FEW)
        assert merged_together(vocabulary, pieces) == merged_alone(vocabulary, pieces)


def test_rows_that_agree_nowhere_are_joined() -> None:
    source = random.Random(0)
    runs = "".join(source.choice("-=*_") * source.randrange(1, 150) for _ in range(60))
    tokens = [data.decode() for data in gpt2().token_bytes.values() if len(data) > 14 and data.isalpha()]
    pieces = [runs, "".join(source.choices(tokens, k=60)), "-" * 3000, "".join(source.choices("abcdefgh", k=900))]
    pieces += [" " + "a" * length for length in (70, 200, 3000, 500)] + ["-" * 700]
    assert merged_together(gpt2(), pieces) == merged_alone(gpt2(), pieces)


def test_a_run_of_one_letter_is_joined_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    merge, sizes = merging.merge, []

    def counted(tables: MergeTables, data: Bytes, lengths: Indices) -> Merged:
        sizes.append(len(data))
        return merge(tables, data, lengths)

    monkeypatch.setattr(merging, "merge", counted)
    text = " " + "a" * 64_000
    assert merged_together(gpt2(), [text]) == merged_alone(gpt2(), [text])
    assert sum(sizes) < 8 * len(text)


def test_more_rounds_than_most_are_finished_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_ROUNDS", 3)
    pieces = words(300).split(" ")
    assert merged_together(gpt2(), pieces) == merged_alone(gpt2(), pieces)


def merged_together(vocabulary: Vocabulary, pieces: list[str]) -> list[int]:
    data = "".join(pieces).encode()
    lengths = np.array([len(piece.encode()) for piece in pieces])
    merged = long_pieces.merge(MergeTables(vocabulary), np.frombuffer(data, np.uint8), lengths)
    assert len(merged.lengths) == len(pieces)
    ids: list[int] = vocabulary.ids.take(merged.symbols).tolist()
    return ids


def merged_alone(vocabulary: Vocabulary, pieces: list[str]) -> list[int]:
    symbols = ([vocabulary.byte_ids[byte] for byte in piece.encode()] for piece in pieces)
    return [token_id for piece in symbols for token_id in bpe.merge_long(piece, vocabulary.merges)]
