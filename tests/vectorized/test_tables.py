"""The parts of the numpy engine that hold things: keys, tables, ranks, packed runs, growing arrays, tokens' bytes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2.vectorized import growing, hash_table, keys, packed, ranks
from minigpt2.vectorized.arrays import Indices, Words
from minigpt2.vectorized.decoding import Decoder
from minigpt2.vectorized.ranks import MOST_SYMBOLS, NO_RANK, RankTable
from minigpt2.vectorized.short_pieces import ShortPieces
from minigpt2.vocabulary import gpt2


@given(st.lists(st.lists(st.integers(0, 65535), min_size=1, max_size=50), min_size=1, max_size=12), st.data())
def test_packed_runs_join_as_lists_do(runs: list[list[int]], data: st.DataObject) -> None:
    numbers = np.array([number for run in runs for number in run])
    kind = np.dtype(data.draw(st.sampled_from([np.uint16, np.uint32])))
    whole = packed.Packed.pack(numbers, np.array([len(run) for run in runs]), kind)
    chosen = data.draw(st.lists(st.integers(0, len(runs) - 1), max_size=30))
    assert whole.join(np.array(chosen, np.intp)).tolist() == [number for run in chosen for number in runs[run]]
    among = [[number] for number in range(len(chosen))]
    indices = sorted(data.draw(st.sets(st.sampled_from(range(len(chosen)))))) if chosen else []
    for index in indices:
        among[index] = runs[chosen[index]]
    joined, starts = whole.join_among(
        np.arange(len(chosen)).astype(kind),
        np.array(indices, np.intp),
        np.array([chosen[index] for index in indices], np.intp),
    )
    assert joined.tolist() == [number for run in among for number in run]
    assert starts.tolist() == np.cumsum([0, *map(len, among)])[:-1].tolist()


@given(st.lists(st.lists(st.integers(0, 65535), max_size=20), max_size=30), st.integers(0, 100))
def test_ids_that_grow_are_those_that_were_added(added: list[list[int]], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing, "MOST_WAITING", 30)
        patch.setattr(growing, "MOST_ARRAYS", 5)
        ids, expected = growing.GrowingIds(np.dtype(np.uint32)), list[int]()
        for index, more in enumerate(added):
            ids.extend(np.array(more, np.uint16) if index % 2 else more)
            expected += more
            if index == len(added) // 2:
                ids.cut(min(kept, len(expected)))
                del expected[kept:]
            assert len(ids) == len(expected)
        assert ids.array().tolist() == expected


SYMBOLS = st.tuples(st.integers(0, 8) | st.integers(0, MOST_SYMBOLS - 1), st.integers(0, 8))


@given(st.lists(SYMBOLS, max_size=200), st.lists(SYMBOLS))
def test_ranks_are_those_of_a_dict(pairs: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    rank_of = {pair: rank for rank, pair in enumerate(pairs)}  # of equal pairs the last
    asked = pairs + others
    table_of, columns = (np.array(listed, np.int32).reshape(-1, 2).T for listed in (pairs, asked))
    assert RankTable(*table_of).find(*columns).tolist() == [rank_of.get(pair, NO_RANK) for pair in asked]


@pytest.mark.parametrize("unlucky", [12629233970748325887, 7809534080697955625])
def test_buckets_in_which_too_many_pairs_fall_are_drawn_anew(unlucky: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, drawn = ranks._random_odd, [np.array([unlucky], np.uint64)]  # the first draws the buckets
    monkeypatch.setattr(ranks, "_random_odd", lambda: drawn.pop() if drawn else draw())
    left, right = gpt2().pairs.T.astype(np.int32)
    assert RankTable(left, right).find(left, right).tolist() == [*range(len(left))]


PIECES = st.lists(st.binary(min_size=1, max_size=keys.LONGEST), max_size=60)


def keys_of(pieces: list[bytes]) -> keys.Keys:
    lengths = np.array([len(piece) for piece in pieces], np.intp)
    return keys.keys_of(keys.words_at(b"".join(pieces)), np.cumsum(lengths) - lengths, lengths)


@given(PIECES)
def test_a_key_has_all_bytes_of_its_piece(pieces: list[bytes]) -> None:
    data, lengths = keys.bytes_of(keys_of(pieces))
    assert (data.tobytes(), lengths.tolist()) == (b"".join(pieces), [len(piece) for piece in pieces])


@given(PIECES, st.integers(6, 9))
def test_a_table_answers_as_a_dict_does(pieces: list[bytes], bits: int) -> None:
    distinct = list(dict.fromkeys(pieces))[::2]
    known = dict(zip(distinct, range(len(distinct)), strict=True))
    small = hash_table.HashTable(bits)
    small.add(keys_of(distinct), np.arange(len(distinct)))
    for answers in (small, small.grown(bits + 2)):
        found = answers.find(keys_of(pieces)).tolist()
        assert all(value in (known.get(piece), hash_table.ABSENT) for piece, value in zip(pieces, found, strict=True))
        assert found.count(hash_table.ABSENT) <= sum(piece not in known for piece in pieces) + (bits < 8) * len(pieces)


@given(PIECES)
def test_distinct_keys_are_each_piece_once(pieces: list[bytes]) -> None:
    keys_of_all = keys_of(pieces * 2)
    few, which = hash_table.distinct(keys_of_all)
    assert len(few) == len(set(pieces))
    assert np.array_equal(few[which], keys_of_all)


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=60), st.data())
def test_short_pieces_are_found_or_not_but_never_mistaken(pieces: list[bytes], data: st.DataObject) -> None:
    put = list(dict.fromkeys(data.draw(st.lists(st.sampled_from(pieces))))) if pieces else []
    short = ShortPieces()
    short.put(*words_and_lengths(put), np.arange(len(put)))
    entries, missed = short.find(*words_and_lengths(pieces))
    for index in set(range(len(pieces))) - set(missed.tolist()):
        assert put[entries[index]] == pieces[index]
    if put and len(put[0]) <= 7:  # of those that share its slot, it is the first
        assert pieces.index(put[0]) not in missed.tolist()


@given(st.binary(min_size=7, max_size=7), st.sampled_from(range(0, 256, 32)), st.binary(max_size=20))
def test_a_longer_piece_is_never_taken_for_a_short_one(piece: bytes, first: int, rest: bytes) -> None:
    short = ShortPieces()
    short.put(*words_and_lengths([piece, bytes([piece[0] | 1]) + piece[1:]]), np.arange(2))
    longer = [bytes([first]) + piece + rest, piece + rest + b"x"]
    assert short.find(*words_and_lengths(longer))[1].tolist() == [0, 1]


def test_of_short_pieces_that_share_a_slot_the_last_is_held() -> None:
    pieces = [f"{number:x}".encode() for number in range(70_000)]
    short = ShortPieces()
    for half in (slice(35_000), slice(35_000, None)):
        short.put(*words_and_lengths(pieces[half]), np.arange(70_000)[half])
    entries, missed = short.find(*words_and_lengths(pieces))
    found = np.setdiff1d(np.arange(70_000), missed)
    assert 0 < len(missed) < 70_000
    assert np.array_equal(entries[found], found)


def words_and_lengths(pieces: list[bytes]) -> tuple[Words, Indices]:
    lengths = np.array([len(piece) for piece in pieces], np.intp)
    return keys.words_at(b"".join(pieces)).take(np.cumsum(lengths) - lengths), lengths


@given(st.lists(st.integers(0, 50256), max_size=300))
def test_ids_decode_in_arrays_as_they_do_one_by_one(ids: list[int]) -> None:
    expected = b"".join(gpt2().token_bytes[token_id] for token_id in ids)
    assert Decoder(gpt2()).decode(np.array(ids, np.int64)) == expected


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=9), st.data())
def test_so_do_those_of_a_vocabulary_with_empty_tokens(tokens: list[bytes], data: st.DataObject) -> None:
    vocabulary = replace(gpt2(), token_bytes=dict(enumerate(tokens)))
    ids = data.draw(st.lists(st.integers(0, len(tokens) - 1)))
    assert Decoder(vocabulary).decode(np.array(ids, np.int64)) == b"".join(map(tokens.__getitem__, ids))
