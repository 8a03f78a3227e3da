"""The engine's memory changes no answer: not when it is full, nor written to by a thread, nor forked."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import numpy as np
import pytest

from minigpt2.vectorized import hash_table, keys, memory, short_pieces, store
from minigpt2.vectorized.arrays import Indices
from minigpt2.vectorized.engine import Engine
from minigpt2.vocabulary import gpt2
from tests.readable import readable_ids, small_vocabulary
from tests.vectorized.inputs import SMALL, WORDS, words

FILES = {module.__file__ for module in (hash_table, memory, short_pieces, store)}


def mixed_words(count: int, seed: int) -> str:
    """Words, some of them beyond ASCII or too long for a key."""
    return " ".join(word + "é" * (i % 3) + "ж" * (i % 90) for i, word in enumerate(words(count, seed).split()))


def test_the_second_time_is_as_the_first() -> None:
    engine, text = Engine(gpt2()), words(2000)
    first = engine.encode(text)
    assert np.array_equal(engine.encode(text), first)
    assert first.tolist() == readable_ids(gpt2(), text)


def test_a_full_memory_is_emptied_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_PIECES", 600)
    monkeypatch.setattr(store, "MOST_TAILS", 600)
    monkeypatch.setattr(memory, "MOST_LONG", 5)
    engine = Engine(gpt2(), window=300)
    text = words(1500) + "-" * 90 + "=" * 70 + words(500, seed=1)
    expected = readable_ids(gpt2(), text)
    for _ in range(3):
        before = engine._memory
        assert engine.encode(text).tolist() == expected
        assert engine._memory is not before
    assert engine._memory._store.pieces <= 600


def test_a_growing_table_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FIRST_BITS", 8)
    engine = Engine(SMALL)
    for seed in range(3):
        text = words(3000, seed)
        assert engine.encode(text).tolist() == readable_ids(SMALL, text)
    assert engine._memory._table.bits > 8
    assert engine.encode(words(3000, 0)).tolist() == readable_ids(SMALL, words(3000, 0))


def test_learning_a_few_pieces_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "AT_ONCE", 7)
    monkeypatch.setattr(memory, "BYTES_AT_ONCE", 20)
    text = words(500) + "-" * 90 + "=" * 300 + "-" * 400
    assert Engine(gpt2()).encode(text).tolist() == readable_ids(gpt2(), text)


def test_keys_that_all_collide_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_SALT", np.zeros(3, np.uint64))
    engine = Engine(small_vocabulary(WORDS))
    for _ in range(2):
        assert engine.encode(words(500)).tolist() == readable_ids(SMALL, words(500))


def test_what_was_looked_up_while_a_thread_wrote_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, text, look_up, calls = Engine(gpt2()), words(300), hash_table.HashTable.find, []
    engine.encode(text)
    engine._memory._version += 1

    def half_written_at_first(self: hash_table.HashTable, keys: keys.Keys) -> Indices:
        calls.append(keys)
        return look_up(self, keys)[:: -1 if len(calls) == 1 else 1].copy()

    monkeypatch.setattr(hash_table.HashTable, "find", half_written_at_first)
    assert engine.encode(text).tolist() == readable_ids(gpt2(), text)
    assert len(calls) == 2


def test_a_signal_handler_that_encodes_while_the_memory_learns_breaks_nothing() -> None:
    inside, outside, seen = mixed_words(200, seed=1), mixed_words(200, seed=2), 0
    expected = {text: readable_ids(gpt2(), text) for text in (inside, outside)}

    def encode_at(moment: int) -> None:
        """Encode one text, and at the line with this number of the memory's code another, as a handler would."""
        nonlocal seen
        engine, seen = Engine(gpt2()), 0

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal seen
            if event == "line":
                seen += 1
            if event == "line" and seen == moment:
                assert engine.encode(inside).tolist() == expected[inside]
            return trace if frame.f_code.co_filename in FILES else None

        sys.settrace(trace)
        try:
            assert engine.encode(outside).tolist() == expected[outside]
        finally:
            sys.settrace(None)
        for text, ids in expected.items():
            assert engine.encode(text).tolist() == ids

    encode_at(0)
    for moment in range(1, seen, 3):
        encode_at(moment)


def test_threads_that_share_an_engine_agree_with_one() -> None:
    engine = Engine(gpt2(), window=2000)
    texts = [words(400, seed) + "-" * seed + "a" * (40 * seed) for seed in range(24)]
    expected = [readable_ids(gpt2(), text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(engine.encode, texts * 3))
    assert [ids.tolist() for ids in results] == expected * 3


def test_threads_that_empty_the_memory_agree_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_PIECES", 300)
    test_threads_that_share_an_engine_agree_with_one()
