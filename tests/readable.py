"""The algorithm as one would teach it, to compare the numpy engine with; and vocabularies other than GPT-2's."""

import numpy as np

from minigpt2 import bpe
from minigpt2.byte_alphabet import ALPHABET_ORDER
from minigpt2.pretokenize import pretokenize
from minigpt2.vocabulary import END_OF_TEXT, Vocabulary


def readable_ids(vocabulary: Vocabulary, text: str) -> list[int]:
    """The ids of a text, pretoken by pretoken, with the textbook's loop."""
    ids = []
    for pretoken in pretokenize(text):
        symbols = [vocabulary.byte_ids[byte] for byte in pretoken.encode()]
        merge = bpe.merge if len(symbols) < 200 else bpe.merge_long
        ids += merge(symbols, vocabulary.merges)
    return ids


def small_vocabulary(words: str, step: int = 1, first: int = 0, out_of_order: bool = False) -> Vocabulary:
    """A vocabulary that merges its way to some words, its ids `first`, `first + step`, and so on."""
    index_of = {bytes([byte]): index for index, byte in enumerate(ALPHABET_ORDER)}
    pairs = []
    for word in words.encode().split(b"|"):
        for end in range(2, len(word) + 1):
            if word[:end] not in index_of:
                pairs.append((index_of[word[: end - 1]], index_of[word[end - 1 : end]]))
                index_of[word[:end]] = len(index_of)
    tokens = list(index_of)
    products = np.arange(256, len(tokens))
    order = np.arange(len(pairs))[:: -1 if out_of_order else 1]
    tokens.append(END_OF_TEXT.encode())
    return Vocabulary(
        token_bytes={first + step * index: data for index, data in enumerate(tokens)},
        byte_ids=[first + step * ALPHABET_ORDER.index(byte) for byte in range(256)],
        pairs=first + step * np.array(pairs)[order],
        products=first + step * products[order],
        added_tokens={END_OF_TEXT: first + step * (len(tokens) - 1)},
        beyond=(),
        verbatim={},
    )
