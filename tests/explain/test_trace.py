"""The trace: what happened to a text, held to the tokenizer, the pattern, the merges and the embeddings themselves."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from minigpt2 import GPT2, Checkpoint, Embeddings, Tokenizer
from minigpt2.batches import Template
from minigpt2.byte_alphabet import to_characters
from minigpt2.explain import Trace, explain
from minigpt2.explain.page import page
from minigpt2.explain.rows import NEIGHBOURS, principal_components
from minigpt2.explain.terminal import render
from minigpt2.explain.trace import LONGEST_RECORDED, SPECIAL_TOKEN, replay
from minigpt2.pretokenize import pretokenize_by_branch
from minigpt2.vocabulary import gpt2
from tests.command import write_small_gpt2
from tests.conftest import hurtful_texts
from tests.parity.made_up_tokenizers import MadeUp, made_up, texts
from tests.small_gpt2 import write_gpt2

# ---- tokens


@given(text=hurtful_texts())
def test_the_trace_of_any_text_replays_to_the_ids_of_encode(text: str, tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, text)
    replayed = []
    for pretoken in trace.pretokens:
        if pretoken.branch == SPECIAL_TOKEN or len(pretoken.data) > LONGEST_RECORDED:
            replayed += list(pretoken.ids)
        else:
            assert pretoken.merges is not None
            replayed += replay(pretoken.symbols, pretoken.merges, lambda merge: merge.product)[-1]
    assert replayed == trace.ids == tokenizer.encode(text)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(files=made_up(), text=texts())
def test_the_trace_of_any_tokenizer_has_its_ids_and_can_be_shown(files: MadeUp, text: str) -> None:
    with TemporaryDirectory() as directory:
        files.write(Path(directory))
        try:
            tokenizer = Tokenizer.from_pretrained(directory)
        except ValueError:  # a token whose new id another has
            reject()
    trace = explain(tokenizer, text)
    assert trace.ids == tokenizer.encode(text)
    assert [bool(pretoken.unrecorded) for pretoken in trace.pretokens] == [
        each.merges is None for each in trace.pretokens
    ]
    for steps in (False, True):
        assert [*render(trace, steps=steps)]
    assert page(trace)


def test_a_token_that_the_tokenizer_puts_before_every_text_is_shown() -> None:
    tokenizer = Tokenizer(more=replace(Tokenizer().settings, post_processing=[Template((50256,), (50256, 50256))]))
    trace = explain(tokenizer, "hi there", Checkpoint.bundled())
    assert trace.ids == tokenizer.encode("hi there") == [50256, 5303, 612, 50256, 50256]
    assert trace.rows is not None and len(trace.rows.tokens) == 5
    assert trace.layers is not None
    expected = GPT2(Checkpoint.bundled(), tokenizer).next_tokens("hi there", k=3)
    assert [guess.id for guess in trace.layers.next_tokens[:3]] == [token_id for token_id, _, _ in expected]
    assert "a special token, which the tokenizer puts around every text" in "\n".join(render(trace, width=100))


def test_a_vocabulary_that_lacks_bytes_says_why_it_shows_no_merges(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "Ġ": 2, "ab": 3}')
    (tmp_path / "merges.txt").write_text("a b\n")
    tokenizer = Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    pretokens = explain(tokenizer, "ab cd c").pretokens
    assert [pretoken.ids for pretoken in pretokens] == [(3,), (2,), (2,)]
    reason = "the vocabulary has no token for some of its bytes"
    assert [pretoken.unrecorded for pretoken in pretokens] == ["", reason, reason]
    assert [*render(explain(tokenizer, "c"))] == ["The text has no byte that is in the vocabulary."]


@given(text=hurtful_texts())
def test_the_tokens_are_the_librarys_with_their_offsets(text: str, tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, text)
    expected = tokenizer(text, return_offsets_mapping=True)
    assert [(token.start, token.end) for token in trace.tokens] == expected.offset_mapping
    assert [token.written for token in trace.tokens] == tokenizer.tokenize(text)
    assert b"".join(token.data for token in trace.tokens) == text.encode()
    of_pretokens = [(i, place) for place, pretoken in enumerate(trace.pretokens) for i in pretoken.ids]
    assert [(token.id, token.pretoken) for token in trace.tokens] == of_pretokens


@given(text=hurtful_texts())
def test_the_pretokens_are_those_of_the_pattern_with_the_branch_that_matched(text: str, tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, text, allowed_special=())
    assert [(pretoken.text, pretoken.branch) for pretoken in trace.pretokens] == pretokenize_by_branch(text)
    for pretoken in trace.pretokens:
        assert text[pretoken.start : pretoken.end] == pretoken.text
        assert pretoken.data == pretoken.text.encode()
        assert pretoken.characters == to_characters(pretoken.data)
        assert tokenizer.decode_tokens_bytes(pretoken.symbols) == [bytes([byte]) for byte in pretoken.data]


@given(text=hurtful_texts())
def test_a_merge_joins_the_leftmost_of_the_lowest_rank_among_all_candidates(text: str, tokenizer: Tokenizer) -> None:
    ranks = gpt2().merges.ranks
    for pretoken in explain(tokenizer, text, allowed_special=()).pretokens:
        if pretoken.merges is None:
            continue
        states = replay(pretoken.symbols, pretoken.merges, lambda merge: merge.product)
        for symbols, merge in zip(states, pretoken.merges, strict=False):
            candidates = [(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
            assert list(merge.candidates) == candidates
            assert (merge.rank, merge.position) == min(candidates)
            assert merge.pair == tuple(symbols[merge.position : merge.position + 2])
            assert merge.token == tokenizer.convert_ids_to_tokens(merge.product)
        assert not any(pair in ranks for pair in pairwise(states[-1]))


def test_special_tokens_are_found_before_the_split_unless_they_are_not_allowed(tokenizer: Tokenizer) -> None:
    text = "one<|endoftext|> two"
    trace = explain(tokenizer, text)
    assert [(each.text, each.branch, each.ids) for each in trace.pretokens][1] == (
        "<|endoftext|>",
        "special_token",
        (50256,),
    )
    assert explain(tokenizer, text, allowed_special=()).ids == tokenizer.encode_ordinary(text)


def test_an_empty_text_has_an_empty_trace(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    trace = explain(tokenizer, "", weights)
    assert (trace.pretokens, trace.tokens) == ((), ())
    assert trace.rows is not None
    assert (trace.rows.sums.shape, trace.rows.neighbours, trace.rows.plane.points) == ((0, 8), {}, ())


@pytest.mark.parametrize("text", [None, b"bytes", 5, ["a list"]])
def test_what_is_no_text_is_a_type_error(text: Any, tokenizer: Tokenizer) -> None:
    with pytest.raises(TypeError, match="a text is a str"):
        explain(tokenizer, text)


def test_a_lone_surrogate_is_named_with_its_index(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="position 2"):
        explain(tokenizer, "ab\ud800")


# ---- bounds


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "😀" * 10_000, "the" * 40_000, " " * 50_000], ids=["a", "😀", "the", "␣"]
)
def test_a_long_pretoken_has_its_ids_and_no_merges(text: str, tokenizer: Tokenizer) -> None:
    (pretoken,) = explain(tokenizer, text).pretokens
    assert pretoken.merges is None
    assert list(pretoken.ids) == tokenizer.encode(text)


def test_the_longest_pretoken_that_is_recorded(tokenizer: Tokenizer) -> None:
    (longest,) = explain(tokenizer, "ab" * (LONGEST_RECORDED // 2)).pretokens
    (longer,) = explain(tokenizer, "ab" * (LONGEST_RECORDED // 2) + "a").pretokens
    assert longest.merges is not None
    assert longer.merges is None


def test_the_candidates_of_a_whole_text_are_bounded(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt2.explain.trace.MOST_CANDIDATES", 100)
    text = " ".join(f"word{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh")
    trace = explain(tokenizer, text)
    recorded = [pretoken.merges is not None for pretoken in trace.pretokens]
    assert recorded[0]
    assert not recorded[-1]
    assert trace.ids == tokenizer.encode(text)


# ---- rows


def test_rows_and_sums_are_the_embeddings(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    trace = explain(tokenizer, "The meaning of life is", weights)
    embeddings = Embeddings(weights)
    assert trace.rows is not None
    np.testing.assert_array_equal(trace.rows.tokens, embeddings.tokens(trace.ids))
    np.testing.assert_array_equal(trace.rows.positions, embeddings.wpe[:5])
    np.testing.assert_array_equal(trace.rows.sums, embeddings(trace.ids))


def test_a_row_is_where_the_trace_says_in_the_file(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    rows = explain(tokenizer, " life", weights).rows
    assert rows is not None
    data = weights.path.read_bytes()
    assert len(data) == rows.wte.file_size
    begin, end = rows.wte.row(1204)
    np.testing.assert_array_equal(np.frombuffer(data[begin:end], "<f4"), weights["wte.weight"][1204])
    assert (rows.wte.file, rows.wte.row_size) == (weights.path.name, 32)


def test_neighbours_are_the_nearest(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    rows = explain(tokenizer, "The meaning of life is life", weights).rows
    assert rows is not None
    assert list(rows.neighbours) == [464, 3616, 286, 1204, 318]
    for token_id, found in rows.neighbours.items():
        assert [(each.id, each.cosine) for each in found] == Embeddings(weights).nearest(token_id, NEIGHBOURS)
        assert [each.token for each in found] == tokenizer.convert_ids_to_tokens([each.id for each in found])


def test_the_plane_has_the_texts_tokens_and_their_neighbours(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    rows = explain(tokenizer, "The meaning", weights).rows
    assert rows is not None
    near = {each.id for found in rows.neighbours.values() for each in found}
    assert {point.id for point in rows.plane.points} == {464, 3616} | near
    assert {point.id for point in rows.plane.points if point.of_text} == {464, 3616}


def test_rows_end_with_the_models_positions(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    trace = explain(tokenizer, " life" * 20, weights)
    assert trace.rows is not None
    assert (len(trace.tokens), trace.rows.tokens.shape, trace.rows.sums.shape) == (20, (16, 8), (16, 8))


def test_rows_without_a_direction_have_no_neighbours(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tensors = write_small_gpt2(tmp_path)
    tensors["wte.weight"][1204] = 0
    tensors["wte.weight"][318] = np.nan
    rows = {name: tensors[name] for name in ("wte.weight", "wpe.weight")}  # layers would make every logit NaN
    save_file(rows, tmp_path / "model.safetensors")
    trace = explain(tokenizer, " life is here", Checkpoint.open(tmp_path))
    assert trace.rows is not None
    assert (trace.rows.neighbours[1204], trace.rows.neighbours[318]) == ((), ())
    assert 318 not in {point.id for point in trace.rows.plane.points}
    assert trace.to_json()["rows"]["tokens"][1] == [None] * 8


def test_a_remote_checkpoint_is_not_searched_for_neighbours(tokenizer: Tokenizer, small_model: Path) -> None:
    weights = Checkpoint.open(small_model)
    weights.is_remote = True
    rows = explain(tokenizer, "The meaning", weights).rows
    assert rows is not None
    assert rows.neighbours == {}
    assert [(point.id, point.of_text) for point in rows.plane.points] == [(464, True), (3616, True)]


def test_a_token_without_a_row_is_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_gpt2(tmp_path, {"vocab_size": 1000})
    with pytest.raises(ValueError, match="1204"):
        explain(tokenizer, " life", Checkpoint.open(tmp_path))


@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_principal_components_carry_the_largest_variances(count: int, width: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((count, width))
    places, shares = principal_components(rows)
    variances = np.sort(np.linalg.eigvalsh(np.atleast_2d(np.cov(rows.T, ddof=0))))[::-1]
    largest = [*variances[:2], 0.0][:2]
    np.testing.assert_allclose(places.var(axis=0), largest, atol=1e-9)
    np.testing.assert_allclose(shares, np.array(largest) / variances.sum(), atol=1e-9)


# ---- JSON


@settings(max_examples=10)  # each looks for neighbours among 50,257 rows
@given(text=hurtful_texts())
def test_the_trace_survives_json(text: str, tokenizer: Tokenizer, weights: Checkpoint) -> None:
    trace = explain(tokenizer, text, weights)
    read = json.loads(json.dumps(trace.to_json(), allow_nan=False))
    assert read["text"] == text
    assert [token["id"] for token in read["tokens"]] == trace.ids
    assert [bytes.fromhex(token["data"]) for token in read["tokens"]] == [token.data for token in trace.tokens]
    assert _merges_of(read) == [
        None if pretoken.merges is None else [list(merge.pair) for merge in pretoken.merges]
        for pretoken in trace.pretokens
    ]
    assert trace.rows is not None
    np.testing.assert_array_equal(
        np.array(read["rows"]["sums"], np.float32).reshape(trace.rows.sums.shape), trace.rows.sums
    )


def _merges_of(read: dict[str, Any]) -> list[Any]:
    return [pretoken["merges"] and [merge["pair"] for merge in pretoken["merges"]] for pretoken in read["pretokens"]]


def test_a_trace_is_frozen_data(tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, "life")
    assert trace == explain(tokenizer, "life")
    assert isinstance(trace, Trace)
    with pytest.raises(AttributeError):
        trace.text = "death"  # type: ignore[misc]
