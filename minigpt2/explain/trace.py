"""The trace: everything that happens to a text on its way to the next word, as plain data.

`explain` makes it. The terminal, the page and notebooks draw what they show from it and from nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from minigpt2 import bpe, byte_alphabet
from minigpt2.batches import ids_around
from minigpt2.bpe import Candidate
from minigpt2.explain.layers import LayerReader, Layers
from minigpt2.explain.rows import RowReader, Rows
from minigpt2.pretokenize import pretokenize_by_branch
from minigpt2.special_tokens import Part, Selection
from minigpt2.tokenizer import Tokenizer
from minigpt2.vocabulary import Vocabulary
from minigpt2.weights.checkpoint import Checkpoint

#: The branch of special tokens, which are found in the text before the split pattern is tried.
SPECIAL_TOKEN: Final = "special_token"

#: A longer pretoken's merges are not recorded: n bytes have up to n²/2 candidates on the way.
LONGEST_RECORDED: Final = 256
#: After this many candidates, the merges of further pretokens are not recorded. This bounds the trace of any text.
MOST_CANDIDATES: Final = 1_000_000

_Symbol = TypeVar("_Symbol")


@dataclass(frozen=True, slots=True)
class Merge:
    """One merge: the pair of token ids at `position` among the pretoken's symbols becomes the token `product`.

    `rank` is the pair's index in the list of merges, the lowest of all `candidates`; `token` is the product as GPT-2
    writes it. The candidates are the pairs of neighbours that could be merged, from left to right, each with its rank
    and the position of its left symbol.
    """

    rank: int
    position: int
    pair: tuple[int, int]
    product: int
    token: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Pretoken:
    """A pretoken, `text[start:end]`, and how its bytes become tokens.

    A token that the tokenizer puts before or after every text counts as a pretoken, too: `start` and `end` are equal.
    `branch` names the branch of the split pattern that matched it (`minigpt2.pretokenize.BRANCHES`), or is
    `special_token`. `symbols` are the ids of its bytes' tokens, which merging starts from, and `ids` those that it ends
    with. `merges` is None where they are not recorded, and `unrecorded` says why.
    """

    text: str
    start: int
    end: int
    branch: str
    data: bytes
    characters: str
    symbols: tuple[int, ...]
    merges: tuple[Merge, ...] | None
    ids: tuple[int, ...]
    unrecorded: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the text: its id, how GPT-2 writes it, its bytes, where it is in the text, and its pretoken's index.

    `start` and `end` are half-open and in characters; tokens that share a character overlap on it.
    """

    id: int
    written: str
    data: bytes
    start: int
    end: int
    pretoken: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of a text: its pretokens and its tokens, with weights their rows, with layers the next tokens.

    `fault` says why there are no `layers`, where the weights have some that cannot be used.
    """

    text: str
    pretokens: tuple[Pretoken, ...]
    tokens: tuple[Token, ...]
    rows: Rows | None
    layers: Layers | None
    fault: str = ""

    @property
    def ids(self) -> list[int]:
        """The token ids: what `Tokenizer.encode` answers."""
        return [token.id for token in self.tokens]

    def to_json(self) -> dict[str, Any]:
        """The trace in dicts, lists, strings and numbers, for `json.dumps`: bytes in hexadecimal, arrays as lists.

        >>> explain(Tokenizer(), "Hi").to_json()["pretokens"][0]["merges"]
        [{'rank': 16994, 'position': 0, 'pair': [39, 72], 'product': 17250, 'token': 'Hi', 'candidates': [[16994, 0]]}]
        """
        from minigpt2.explain.as_json import as_json

        converted: dict[str, Any] = as_json(self)
        return converted

    def _repr_html_(self) -> str:
        from minigpt2.explain.notebook import trace_html

        return trace_html(self)


class WeightsReader:
    """The parts of a checkpoint that traces need; it can be used for many texts.

    Raises:
        CheckpointError: the checkpoint has no sound `wte` and `wpe`.
    """

    def __init__(self, tokenizer: Tokenizer, weights: Checkpoint) -> None:
        self.rows = RowReader(tokenizer, weights)
        self.layers = LayerReader(tokenizer, weights)


def explain(
    tokenizer: Tokenizer, text: str, weights: Checkpoint | None = None, *, allowed_special: Selection = "all"
) -> Trace:
    """Trace a text from pretokens to tokens and, with weights, to rows of `wte` and `wpe` and to the next tokens.

    Special tokens in `allowed_special` become their ids, others stay plain text. Weights without layers, and those of
    `Checkpoint.remote`, give rows only.

    Raises:
        TypeError: the text is not a string.
        ValueError: the text contains a lone surrogate, or a token that the weights have no row for.
        CheckpointError: the weights have no sound `wte` and `wpe`.

    >>> trace = explain(Tokenizer(), "It's life")
    >>> [(pretoken.text, pretoken.branch) for pretoken in trace.pretokens]
    [('It', 'letters'), ("'s", 'contraction'), (' life', 'letters')]
    >>> [(merge.token, merge.rank) for merge in trace.pretokens[2].merges]
    [('Ġl', 44), ('if', 105), ('ife', 645), ('Ġlife', 948)]
    """
    reader = None if weights is None else WeightsReader(tokenizer, weights)
    return trace_text(tokenizer, text, reader, allowed_special)


def trace_text(
    tokenizer: Tokenizer, text: str, reader: WeightsReader | None = None, allowed_special: Selection = "all"
) -> Trace:
    """As `explain`, with a reader that was made before."""
    if not isinstance(text, str):
        raise TypeError(f"a text is a str, not {type(text).__name__}")
    encoding = tokenizer(text, return_offsets_mapping=True, allowed_special=allowed_special)
    before, after = ids_around(tokenizer.settings.post_processing)
    pretokens = (
        *_around(before, 0, tokenizer.vocabulary),
        *_pretokens(text, tokenizer, tokenizer.parts(text, allowed_special=allowed_special)),
        *_around(after, len(text), tokenizer.vocabulary),
    )
    tokens = tuple(_tokens(tokenizer.vocabulary, pretokens, encoding["offset_mapping"]))
    ids = [token.id for token in tokens]
    rows = None if reader is None else reader.rows.read(ids)
    layers = None if reader is None else reader.layers.read(ids)
    return Trace(text, pretokens, tokens, rows, layers, "" if reader is None else reader.layers.fault)


def replay(
    symbols: Sequence[_Symbol], merges: Iterable[Merge], product: Callable[[Merge], _Symbol]
) -> list[list[_Symbol]]:
    """The symbols before the first merge, and after each: as ids, or as anything else that stands for them.

    >>> pretoken = explain(Tokenizer(), "life").pretokens[0]
    >>> replay(pretoken.characters, pretoken.merges, lambda merge: merge.token)
    [['l', 'i', 'f', 'e'], ['l', 'if', 'e'], ['l', 'ife'], ['life']]
    """
    states = [list(symbols)]
    for merge in merges:
        position = merge.position
        states.append([*states[-1][:position], product(merge), *states[-1][position + 2 :]])
    return states


def _pretokens(text: str, tokenizer: Tokenizer, parts: Iterable[Part]) -> Iterator[Pretoken]:
    recorder = _Recorder(tokenizer.vocabulary)
    for start, end, token in parts:
        if token is not None:
            yield Pretoken(text[start:end], start, end, SPECIAL_TOKEN, *recorder.special_token(token))
            continue
        ordinary = tokenizer.prefixed(text[start:end])
        begin = end - len(ordinary)  # one character too early, where a space was put before the part
        for pretoken, branch in pretokenize_by_branch(ordinary):
            stop = begin + len(pretoken)
            yield Pretoken(pretoken, max(start, begin), max(start, stop), branch, *recorder.merging(pretoken))
            begin = stop


def _around(token_ids: Iterable[int], index: int, vocabulary: Vocabulary) -> Iterator[Pretoken]:
    """The tokens that the tokenizer puts before or after every text."""
    for token_id in token_ids:
        token, data = vocabulary.written(token_id), vocabulary.token_bytes[token_id]
        yield Pretoken(token, index, index, SPECIAL_TOKEN, data, token, (), (), (token_id,), "")


def _tokens(
    vocabulary: Vocabulary, pretokens: Iterable[Pretoken], offsets: Iterable[tuple[int, int]]
) -> Iterator[Token]:
    ids = [(token_id, index) for index, pretoken in enumerate(pretokens) for token_id in pretoken.ids]
    for (token_id, index), (start, end) in zip(ids, offsets, strict=True):
        data = vocabulary.token_bytes[token_id]
        yield Token(token_id, vocabulary.written(token_id), data, start, end, index)


#: The last fields of a `Pretoken`, from `data` to `unrecorded`.
_Merging = tuple[bytes, str, tuple[int, ...], tuple[Merge, ...] | None, tuple[int, ...], str]


class _Recorder:
    """Records the merges of pretokens, once for all that are equal, and within bounds."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._mergings: dict[str, _Merging] = {}
        self._candidates = 0

    def special_token(self, token: str) -> _Merging:
        return token.encode("utf-8"), token, (), (), (self._vocabulary.added_tokens[token],), ""

    def merging(self, pretoken: str) -> _Merging:
        if pretoken not in self._mergings:
            data = pretoken.encode("utf-8")
            symbols = tuple(self._vocabulary.symbols(data))
            unrecorded = self._why_unrecorded(data)
            merges = None if unrecorded else self._merges(symbols)
            ids = self._ids(data, symbols, merges)
            characters = byte_alphabet.to_characters(data)
            self._mergings[pretoken] = data, characters, symbols, merges, ids, unrecorded
        return self._mergings[pretoken]

    def _why_unrecorded(self, data: bytes) -> str:
        """Why the merges of a pretoken are not recorded; nothing where they are."""
        if len(data) > LONGEST_RECORDED:
            return f"merges are recorded up to {LONGEST_RECORDED} bytes"
        if self._candidates >= MOST_CANDIDATES:
            return "the text has too many merges to record them all"
        if any(self._vocabulary.byte_ids[byte] < 0 for byte in data):
            return "the vocabulary has no token for some of its bytes"
        if self._vocabulary.ignores_merges and data in self._vocabulary.id_of_bytes:
            return "this tokenizer takes a pretoken that is a token as it is, without merging"
        return ""

    def _merges(self, symbols: tuple[int, ...]) -> tuple[Merge, ...]:
        merges = tuple(map(self._merge, bpe.merge_steps(symbols, self._vocabulary.merges)))
        self._candidates += sum(len(merge.candidates) for merge in merges)
        return merges

    def _ids(self, data: bytes, symbols: tuple[int, ...], merges: tuple[Merge, ...] | None) -> tuple[int, ...]:
        if merges is not None:
            return tuple(replay(symbols, merges, lambda merge: merge.product)[-1])
        if self._vocabulary.ignores_merges and data in self._vocabulary.id_of_bytes:
            return (self._vocabulary.id_of_bytes[data],)
        return tuple(bpe.merge_long(symbols, self._vocabulary.merges))

    def _merge(self, step: bpe.MergeStep) -> Merge:
        rank, position = step.merged
        left, right = step.symbols[position : position + 2]
        token = self._vocabulary.written(step.product)
        return Merge(rank, position, (left, right), step.product, token, step.candidates)
