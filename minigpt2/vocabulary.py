"""The vocabulary: 256 bytes, a list of merges, and the token that each of them makes.

GPT-2's is 50,000 pairs of token ids and nothing else, and that is what the package carries: 200,000 bytes. Ids 0 to
255 are the bytes in the byte alphabet's order, id 256 + rank is the token that a merge makes, and 50256 is
`<|endoftext|>`. Both published files follow from it byte for byte, which a test checks by their SHA-256.
"""

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, cached_property
from threading import Lock
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from minigpt2 import byte_alphabet, data
from minigpt2.bpe import Merges

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary:
    """Every token's bytes by its id, and the merges that lead to them.

    Attributes:
        token_bytes: the bytes of each token by its id, ids ascending.
        byte_ids: the token id of each of the 256 bytes: the symbols that merging starts from.
        pairs: the two token ids that each merge joins, by rank, shape (merges, 2) int64.
        products: the token id that each merge makes, by rank, shape (merges,) int64.
        added_tokens: tokens found in a text as they stand, before it is split, with their ids.
        special_tokens: those of the added tokens that stand for no text, such as `<|endoftext|>`.
        beyond: those of the added tokens that `vocab.json` does not list.
        verbatim: the few tokens that are not written in the byte alphabet, by id.

    >>> vocabulary = gpt2()
    >>> len(vocabulary.token_bytes), vocabulary.token_bytes[464], vocabulary.written(3616)
    (50257, b'The', 'Ġmeaning')
    """

    token_bytes: dict[int, bytes]
    byte_ids: list[int]
    pairs: NDArray[np.int64]
    products: NDArray[np.int64]
    added_tokens: Mapping[str, int]
    special_tokens: frozenset[str]
    beyond: frozenset[str]
    verbatim: Mapping[int, str]

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @cached_property
    def merges(self) -> Merges:
        """The merges as the loops of `bpe` look them up."""
        left, right = self.pairs.T.tolist()
        with _without_collecting_garbage():
            ranks = dict(zip(zip(left, right, strict=True), range(len(left)), strict=True))
        return Merges(ranks, self.products.tolist())

    @cached_property
    def id_of_bytes(self) -> dict[bytes, int]:
        """The token id of a token's bytes, for tokens written in the byte alphabet."""
        return {token: token_id for token_id, token in self.token_bytes.items() if token_id not in self.verbatim}

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """Every token id, ascending, shape (tokens,)."""
        return np.fromiter(self.token_bytes, np.int64)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of bytes of each token, by its place among the ascending ids, shape (tokens,)."""
        return np.fromiter(map(len, self.token_bytes.values()), np.int64)

    def places(self, ids: NDArray[np.integer]) -> NDArray[np.integer]:
        """The place of each id among the ascending ids: the id itself, where no id is left out.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        last = self.ids[-1]
        if last == len(self.ids) - 1:
            if not len(ids) or (ids.min() >= 0 and ids.max() <= last):
                return ids.astype(np.int64, copy=False)
            unknown = (ids < 0) | (ids > last)
        else:
            places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            unknown = self.ids.take(places) != ids
            if not unknown.any():
                return places
        return self.refuse(int(ids[unknown.argmax()]))

    def refuse(self, token_id: int) -> NoReturn:
        """Raise the `ValueError` that an id which the vocabulary does not have deserves."""
        raise ValueError(f"token id {token_id} is not in the vocabulary, whose ids are {self.ids[0]} to {self.ids[-1]}")

    def written(self, token_id: int) -> str:
        """A token as GPT-2's files write it, bytes as characters: `Ġmeaning`."""
        return self.verbatim.get(token_id) or byte_alphabet.to_characters(self.token_bytes[token_id])

    def id_of(self, token: str) -> int | None:
        """The id of a token given as GPT-2's files write it, or None."""
        if token in self.added_tokens:
            return self.added_tokens[token]
        try:
            return self.id_of_bytes.get(byte_alphabet.to_bytes(token))
        except ValueError:
            return self._id_of_verbatim.get(token)

    @cached_property
    def _id_of_verbatim(self) -> dict[str, int]:
        return {token: token_id for token_id, token in self.verbatim.items()}

    def token_ids(self) -> dict[str, int]:
        """Every token as GPT-2's files write it, with its id, in the order of the ids."""
        return {self.written(token_id): token_id for token_id in self.token_bytes}

    def vocab_json(self) -> str:
        """The text of `vocab.json`: for GPT-2, byte for byte the published file."""
        return json.dumps({token: i for token, i in self.token_ids().items() if token not in self.beyond})

    def merges_txt(self) -> str:
        """The text of `merges.txt`: for GPT-2, byte for byte the published file."""
        written = {token_id: self.written(token_id) for token_id in self.token_bytes}
        lines = [f"{written[left]} {written[right]}" for left, right in self.pairs.tolist()]
        return "\n".join(["#version: 0.2", *lines, ""])


_COLLECTING = Lock()


@contextmanager
def _without_collecting_garbage() -> Iterator[None]:
    """For making many small tuples, of which none is garbage: looking through them again and again takes longer."""
    with _COLLECTING:  # or two threads could leave it disabled
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


@cache
def gpt2() -> Vocabulary:
    """GPT-2's own vocabulary, grown from the pairs that the package carries: no file of yours, no network."""
    return from_pairs(np.frombuffer(data.read("gpt2_merges.bin"), "<u2").reshape(-1, 2).astype(np.int64))


def from_pairs(pairs: NDArray[np.int64]) -> Vocabulary:
    """A vocabulary laid out as GPT-2's: 256 bytes, the product of each pair, shape (merges, 2), and `<|endoftext|>`.

    >>> from_pairs(np.array([[75, 78], [256, 86]])).token_bytes[257]
    b'low'
    """
    token_bytes = [bytes([byte]) for byte in byte_alphabet.ALPHABET_ORDER]
    for left, right in zip(*pairs.T.tolist(), strict=True):
        token_bytes.append(token_bytes[left] + token_bytes[right])
    products = np.arange(256, len(token_bytes))
    end_of_text = len(token_bytes)
    token_bytes.append(END_OF_TEXT.encode())
    return Vocabulary(
        token_bytes=dict(enumerate(token_bytes)),
        byte_ids=[byte_alphabet.ALPHABET_ORDER.index(byte) for byte in range(256)],
        pairs=pairs,
        products=products,
        added_tokens={END_OF_TEXT: end_of_text},
        special_tokens=frozenset({END_OF_TEXT}),
        beyond=frozenset(),
        verbatim={},
    )
