"""The vocabulary: 256 bytes, a list of merges, and the token that each merge makes.

GPT-2's vocabulary is 50,000 pairs of token ids, and that is what the package carries: 200,000 bytes. Ids 0 to 255 are
the bytes in the byte alphabet's order, id 256 + rank is the token that a merge makes, and 50256 is `<|endoftext|>`.
Both published files follow from the pairs byte for byte, which a test checks by their SHA-256.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import groupby
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from minigpt2 import byte_alphabet, data
from minigpt2.bpe import Merges

END_OF_TEXT = "<|endoftext|>"

Value = TypeVar("Value")


class ComputedOnce(Generic[Value]):
    """`functools.cached_property` without the lock that it has in Python 3.11: a forked child may inherit it locked."""

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, instance: object, owner: type) -> Value:
        value = instance.__dict__[self._compute.__name__] = self._compute(instance)
        return value


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary:
    """Every token's bytes by its id, and the merges that lead to them.

    Attributes:
        token_bytes: the bytes of each token by its id, ids ascending.
        byte_ids: the token id of each of the 256 bytes, or -1: the symbols that merging starts from.
        pairs: the two token ids that each merge joins, by rank, shape (merges, 2) int64.
        products: the token id that each merge makes, by rank, shape (merges,) int64.
        added_tokens: tokens found in a text as they stand, before it is split, with their ids.
        beyond: those of the added tokens that `vocab.json` does not list.
        verbatim: the few tokens that are not written in the byte alphabet, by id.
        unknown: the token id that stands for a byte without one; None drops such bytes, as in transformers.
        fuses_unknown: whether bytes without an id that stand side by side become one unknown token.
        ignores_merges: whether a pretoken that is a token is not merged, even where merges would not lead there.

    >>> vocabulary = gpt2()
    >>> len(vocabulary.token_bytes), vocabulary.token_bytes[464], vocabulary.written(3616)
    (50257, b'The', 'Ġmeaning')
    """

    token_bytes: dict[int, bytes]
    byte_ids: list[int]
    pairs: NDArray[np.int64]
    products: NDArray[np.int64]
    added_tokens: Mapping[str, int]
    beyond: tuple[str, ...]
    verbatim: Mapping[int, str]
    unknown: int | None = None
    fuses_unknown: bool = False
    ignores_merges: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @ComputedOnce
    def merges(self) -> Merges:
        """The merges as the loops of `bpe` look them up."""
        left, right = self.pairs.T.tolist()
        ranks = {pair: rank for rank, pair in enumerate(zip(left, right, strict=True))}
        return Merges(ranks, self.products.tolist())

    @ComputedOnce
    def id_of_bytes(self) -> dict[bytes, int]:
        """The token id of a token's bytes, for tokens of `vocab.json` written in the byte alphabet."""
        others = {*self.verbatim, *(self.added_tokens[token] for token in self.beyond)}
        return {token: token_id for token_id, token in self.token_bytes.items() if token_id not in others}

    @ComputedOnce
    def ids(self) -> NDArray[np.int64]:
        """Every token id, ascending, shape (tokens,)."""
        return np.fromiter(self.token_bytes, np.int64)

    @ComputedOnce
    def lengths(self) -> NDArray[np.intp]:
        """The number of bytes of each token, ids ascending, shape (tokens,)."""
        return np.fromiter(map(len, self.token_bytes.values()), np.intp)

    def indices_of(self, ids: NDArray[np.integer]) -> NDArray[np.intp]:
        """The index of each id among the ascending ids, in the shape given: the id itself, where no id is left out.

        Raises:
            ValueError: an id is not in the vocabulary.

        >>> gpt2().indices_of(np.array([464, 3616])).tolist()
        [464, 3616]
        """
        last = len(self.ids) - 1
        if self.ids[-1] == last:
            indices, unknown = ids, (ids < 0) | (ids > last)
        else:
            indices = np.minimum(np.searchsorted(self.ids, ids), last)
            unknown = self.ids.take(indices) != ids
        if unknown.any():
            self.refuse(int(ids[unknown.argmax()]))
        return indices.astype(np.intp, copy=False)

    def refuse(self, token_id: int) -> NoReturn:
        """Raise the `ValueError` for an id that the vocabulary does not have."""
        raise ValueError(f"token id {token_id} is not in the vocabulary, whose ids are {self.ids[0]} to {self.ids[-1]}")

    @ComputedOnce
    def is_complete(self) -> bool:
        """Whether merges alone decide the ids of any text: each byte has an id, and no token goes before the merges."""
        return -1 not in self.byte_ids and not self.ignores_merges

    def symbols(self, pretoken: bytes) -> list[int]:
        """The ids that merging a pretoken starts from: the ids of its bytes, of those at least that have one.

        >>> gpt2().symbols(b" life")
        [220, 75, 72, 69, 68]
        """
        if self.is_complete:
            return [self.byte_ids[byte] for byte in pretoken]
        return [symbol for symbol, _ in self.symbols_with_bytes(pretoken)]

    def symbols_with_bytes(self, pretoken: bytes) -> list[tuple[int, bytes]]:
        """As `symbols`, each with the bytes that it stands for: several, where unknown bytes become one token."""
        symbols: list[tuple[int, bytes]] = []
        ids = map(self.byte_ids.__getitem__, pretoken)
        for is_unknown, group in groupby(zip(ids, pretoken, strict=True), lambda pair: pair[0] < 0):
            if not is_unknown:
                symbols += [(symbol, bytes([byte])) for symbol, byte in group]
            elif self.unknown is not None:
                data = bytes(byte for _, byte in group)
                parts = [data] if self.fuses_unknown else [bytes([byte]) for byte in data]
                symbols += [(self.unknown, part) for part in parts]
        return symbols

    def and_also(self, added: Mapping[str, int]) -> "Vocabulary":
        """This vocabulary with these added tokens, by their ids, in place of its own.

        Raises:
            ValueError: an id belongs to another token, or to two of these.
        """
        more: dict[int, bytes] = {}
        verbatim, beyond = dict(self.verbatim), dict.fromkeys(self.beyond)
        for token, token_id in added.items():
            if self.added_tokens.get(token) == token_id:
                continue  # it is here already; with thousands of them, to look again would take most of the time
            if token_id in more:
                raise ValueError(f"two added tokens get the id {token_id}, the second is {token!r}")
            if token_id not in self.token_bytes:
                beyond[token] = None
                more[token_id], is_verbatim = bytes_of(token)
                if is_verbatim:
                    verbatim[token_id] = token
            elif self.written(token_id) != token:
                owner = self.written(token_id)
                raise ValueError(f"the added token {token!r} gets the id {token_id}, which is {owner!r}'s already")
        token_bytes = _in_order(self.token_bytes, more)
        vocabulary = replace(self, token_bytes=token_bytes, added_tokens=added, beyond=tuple(beyond), verbatim=verbatim)
        for name in ("merges", "id_of_bytes"):  # what added tokens do not change need not be made again
            if name in self.__dict__:
                vocabulary.__dict__[name] = self.__dict__[name]
        return vocabulary

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

    @ComputedOnce
    def _id_of_verbatim(self) -> dict[str, int]:
        return {token: token_id for token_id, token in self.verbatim.items()}

    def token_ids(self) -> dict[str, int]:
        """Every token as GPT-2's files write it, with its id, in the order of the ids."""
        return {self.written(token_id): token_id for token_id in self.token_bytes}

    def vocab_json(self) -> str:
        """The text of `vocab.json`: for GPT-2, byte for byte the published file."""
        beyond = set(self.beyond)
        return json.dumps({token: i for token, i in self.token_ids().items() if token not in beyond})

    def merges_txt(self) -> str:
        """The text of `merges.txt`: for GPT-2, byte for byte the published file."""
        written = {token_id: self.written(token_id) for token_id in self.token_bytes}
        lines = [f"{written[left]} {written[right]}" for left, right in self.pairs.tolist()]
        return "\n".join(["#version: 0.2", *lines, ""])


def _in_order(token_bytes: dict[int, bytes], more: dict[int, bytes]) -> dict[int, bytes]:
    """The bytes of tokens whose ids ascend, and those of more tokens, ids ascending."""
    both = token_bytes | dict(sorted(more.items()))
    follow = not more or not token_bytes or min(more) > next(reversed(token_bytes))
    return both if follow else dict(sorted(both.items()))


def bytes_of(token: str) -> tuple[bytes, bool]:
    """The bytes of a token as GPT-2's files write it, and whether these are its UTF-8.

    They are where a character is not in the byte alphabet.

    >>> bytes_of("Ġlife"), bytes_of("日")
    ((b' life', False), (b'\\xe6\\x97\\xa5', True))
    """
    try:
        return byte_alphabet.to_bytes(token), False
    except ValueError:
        return token.encode("utf-8", "surrogatepass"), True


@cache
def gpt2() -> Vocabulary:
    """GPT-2's own vocabulary, built from the pairs that the package carries, without other files or a network."""
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
        beyond=(),
        verbatim={},
    )
