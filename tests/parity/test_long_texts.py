"""The numpy engine against the references: real source code, every script, and random text."""

import random
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from minigpt2 import Tokenizer
from scripts.fuzz import BLOCKS, fuzz
from tests.fuzzing import FUZZ_SECONDS
from tests.parity.references import tiktoken_encoding, transformers_tokenizer


def python_sources(size: int) -> str:
    """Some megabytes of Python's own standard library."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return "".join(path.read_text("utf-8") for path in files)[:size]


def test_python_sources_are_tokenized_as_tiktoken_does() -> None:
    text = python_sources(8_000_000)
    tokenizer = Tokenizer()
    for _ in range(2):
        assert np.array_equal(tokenizer.encode_to_numpy(text), tiktoken_encoding().encode_to_numpy(text))


def test_python_sources_are_tokenized_as_transformers_does() -> None:
    text = python_sources(1_000_000)
    assert Tokenizer().encode(text) == transformers_tokenizer().encode(text)


def test_words_of_every_script_are_tokenized_as_both_do() -> None:
    source = random.Random(0)
    for first, last in BLOCKS:
        letters = [chr(code_point) for code_point in range(first, last) if not 0xD800 <= code_point < 0xE000]
        text = " ".join("".join(source.choices(letters, k=source.randrange(1, 20))) for _ in range(4000))
        ids = Tokenizer().encode(text)
        assert ids == tiktoken_encoding().encode_ordinary(text) == transformers_tokenizer().encode(text)


@pytest.mark.parametrize("letters", ["a", "abcdefgh", "0123456789", "-=*_", " \n", "'!", "😀😁", "ÃÂ", "通", "通遚"])
def test_pretokens_larger_than_a_window_are_tokenized_as_tiktoken_does(letters: str) -> None:
    text = f"x {''.join(random.Random(0).choices(letters, k=140_000))} y"
    assert np.array_equal(Tokenizer().encode_to_numpy(text), tiktoken_encoding().encode_to_numpy(text))


def test_random_text_shows_no_difference() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    assert fuzz(FUZZ_SECONDS, seed) > 10_000
