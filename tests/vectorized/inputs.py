"""Words and vocabularies for the tests of the numpy engine."""

import random

import numpy as np
from hypothesis import strategies as st

from minigpt2.byte_alphabet import ALPHABET_ORDER
from minigpt2.vocabulary import Vocabulary
from tests.readable import small_vocabulary

WORDS = "the| the|hahaha|----------------| international|ab|aab|é|日本|\n\n\n\n"
SMALL = small_vocabulary(WORDS)


def words(count: int, seed: int = 0) -> str:
    """Made-up words of 1 to 13 letters, which are not tokens of any vocabulary."""
    source = random.Random(seed)
    return " ".join("".join(source.choices("abehlnort日é", k=source.randrange(1, 14))) for _ in range(count))


def vocabulary_of(tokens: list[bytes], pairs: list[tuple[int, int]], products: list[int]) -> Vocabulary:
    """A vocabulary without special tokens, its first 256 tokens being the bytes."""
    return Vocabulary(
        token_bytes=dict(enumerate(tokens)),
        byte_ids=[ALPHABET_ORDER.index(byte) for byte in range(256)],
        pairs=np.array(pairs, np.int64).reshape(-1, 2),
        products=np.array(products, np.int64),
        added_tokens={},
        beyond=(),
        verbatim={},
    )


@st.composite
def vocabularies_of_three_letters(draw: st.DrawFn) -> Vocabulary:
    """Merges of a, b and c and of what they make, some tokens made in more than one way, before or after their use."""
    tokens = [bytes([byte]) for byte in ALPHABET_ORDER]
    parts = [tokens.index(letter) for letter in (b"a", b"b", b"c")]
    products: dict[tuple[int, int], int] = {}
    for left, right in draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=40)):
        pair = parts[left % len(parts)], parts[right % len(parts)]
        data = tokens[pair[0]] + tokens[pair[1]]
        if pair in products or len(data) > 12:
            continue
        if data not in tokens:
            parts.append(len(tokens))
            tokens.append(data)
        products[pair] = tokens.index(data)
    return vocabulary_of(tokens, list(products), list(products.values()))
