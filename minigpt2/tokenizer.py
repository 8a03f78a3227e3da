"""The tokenizer that people import: text to token ids and back, as GPT-2 does it.

Here the steps meet: special tokens are found, the rest is split into pretokens, each pretoken's bytes are merged, and
what was merged once is remembered. Short texts go this way, pretoken by pretoken; long ones through the numpy engine,
which gives the same ids. The names are those of transformers and of tiktoken, with their meanings.
"""

import os
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import index
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2 import batches
from minigpt2.batches import Encoding, Padding, Side, Truncation
from minigpt2.encoder import Encoder, excerpt
from minigpt2.special_tokens import Selection
from minigpt2.vocabulary import END_OF_TEXT, Vocabulary, gpt2

if TYPE_CHECKING:
    from pathlib import Path

    from minigpt2.vectorized.decoding import Decoder

# From how many ids on arrays are quicker to decode.
_ARRAYS_FROM = 1000

Ids = Sequence[int] | NDArray[Any]


class Tokenizer:
    """GPT-2's tokenizer, or that of another `vocabulary`; GPT-2's lies in the package: no file, no network.

    Immutable in public; it can be pickled, and shared between threads.

    >>> tokenizer = Tokenizer()
    >>> tokenizer.encode("The meaning of life is")
    [464, 3616, 286, 1204, 318]
    >>> tokenizer.decode([464, 3616, 286, 1204, 318])
    'The meaning of life is'
    """

    __slots__ = ("_decoder", "_encoder", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary | None = None) -> None:
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                f"a vocabulary is no {type(vocabulary).__name__}: try Tokenizer.from_pretrained({vocabulary!r})"
            )
        self._vocabulary = vocabulary or gpt2()
        self._encoder = Encoder(self._vocabulary)
        self._decoder: Decoder | None = None

    # ---- where vocabularies come from and go to

    @classmethod
    def from_files(cls, vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]) -> "Tokenizer":
        """A tokenizer from a `vocab.json` and a `merges.txt` in GPT-2's format, GPT-2's own or not.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is malformed, or lacks a byte or a merge's token.
        """
        from minigpt2 import tokenizer_files

        return cls(tokenizer_files.read(vocab_file, merges_file))

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = "gpt2",
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> "Tokenizer":
        """A model's tokenizer: of a directory, or of a model on the hub.

        gpt2, gpt2-medium, gpt2-large, gpt2-xl and distilgpt2 share the vocabulary that the package carries and are
        answered without a request. Of any other, `vocab.json` and `merges.txt` are read, or else `tokenizer.json`.

        Raises:
            FileNotFoundError: the directory has no vocabulary.
            HubError: the hub does not answer, or the model has no vocabulary there.
            ValueError: the vocabulary is malformed or not of GPT-2's kind.
        """
        from minigpt2 import tokenizer_files
        from minigpt2.hub.names import GPT2_MODELS

        if os.path.isdir(model):  # noqa: PTH112 - importing pathlib would take longer than all else here
            return cls(tokenizer_files.read_directory(model))
        if os.fspath(model) in GPT2_MODELS:
            return cls()
        return cls(tokenizer_files.read_from_hub(os.fspath(model), revision, cache_dir, local_files_only))

    def save_pretrained(self, directory: str | os.PathLike[str]) -> "list[Path]":
        """Write `vocab.json` and `merges.txt`, for GPT-2 byte for byte the published files, and return their paths.

        Tokens that were added beyond `vocab.json` go to `added_tokens.json`.
        """
        from minigpt2 import tokenizer_files

        return tokenizer_files.write(self._vocabulary, directory)

    # ---- text to token ids

    @overload
    def encode(
        self,
        text: str,
        *,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
        return_tensors: None = None,
    ) -> list[int]: ...
    @overload
    def encode(
        self,
        text: str,
        *,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
        return_tensors: Literal["np"],
    ) -> NDArray[np.int64]: ...
    def encode(
        self,
        text: str,
        *,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
        return_tensors: Literal["np"] | None = None,
    ) -> list[int] | NDArray[np.int64]:
        """The token ids of a text: a list, or with `return_tensors="np"` an int64 array of shape (1, tokens).

        Special tokens in `allowed_special` become their ids, others stay plain text; one in `disallowed_special`
        is refused. Each is "all" or a collection of special tokens.

        Raises:
            TypeError: the text is no string.
            ValueError: the text contains a disallowed special token, or a lone surrogate.

        >>> Tokenizer().encode("The meaning of life is", return_tensors="np")
        array([[ 464, 3616,  286, 1204,  318]])
        """
        batches.require_known_tensors(return_tensors)
        if return_tensors is None:
            return self._encoder.ids(text, allowed_special, disallowed_special)
        return self._encoder.array(text, np.dtype(np.int64), allowed_special, disallowed_special)[None]

    def encode_ordinary(self, text: str) -> list[int]:
        """The token ids of a text in which special tokens are plain text.

        Raises:
            TypeError: the text is no string.
            ValueError: the text contains a lone surrogate.

        >>> Tokenizer().encode_ordinary("<|endoftext|>")
        [27, 91, 437, 1659, 5239, 91, 29]
        """
        return self._encoder.ids(text, (), ())

    def encode_to_numpy(
        self,
        text: str,
        dtype: DTypeLike = np.uint32,
        *,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> NDArray[Any]:
        """The same token ids as `encode` gives, as an array of shape (tokens,).

        Raises:
            TypeError: the text is no string, or `dtype` no integer type.
            ValueError: `dtype` cannot hold every id of the vocabulary, or as `encode` does.

        >>> Tokenizer().encode_to_numpy("The meaning of life is", dtype="uint16")
        array([ 464, 3616,  286, 1204,  318], dtype=uint16)
        """
        return self._encoder.array(text, self._dtype_of_ids(dtype), allowed_special, disallowed_special)

    def encode_batch(
        self,
        texts: Iterable[str],
        num_threads: int | None = None,
        *,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> list[list[int]]:
        """The token ids of several texts, in their order, by `num_threads` threads.

        By default there are two where there are two processors: more would wait for the interpreter's lock. Each takes
        at most 64 MB of working space.

        >>> Tokenizer().encode_batch(["Hello", " world"])
        [[15496], [995]]
        """
        ids, offsets = self._encode_batch(texts, num_threads, np.int64, allowed_special, disallowed_special)
        every, bounds = ids.tolist(), offsets.tolist()
        return [every[start:end] for start, end in pairwise(bounds)]

    def encode_batch_to_numpy(
        self,
        texts: Iterable[str],
        num_threads: int | None = None,
        dtype: DTypeLike = np.uint32,
        *,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The token ids of several texts as one flat array with offsets, as Arrow and training pipelines hold lists.

        The ids have shape (tokens,), the offsets (texts + 1,) int64: those of text i are
        `ids[offsets[i]:offsets[i + 1]]`. Threads are as in `encode_batch`.

        >>> ids, offsets = Tokenizer().encode_batch_to_numpy(["Hello", "", " world!"])
        >>> ids.tolist(), offsets.tolist()
        ([15496, 995, 0], [0, 1, 1, 3])
        """
        return self._encode_batch(texts, num_threads, dtype, allowed_special, disallowed_special)

    def _encode_batch(
        self,
        texts: Iterable[str],
        num_threads: int | None,
        dtype: DTypeLike,
        allowed: Selection,
        disallowed: Selection,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if num_threads is not None and _id(num_threads, "num_threads") < 1:
            raise ValueError(f"num_threads={num_threads!r}: pass 1 or more, or None to leave it open")
        return self._encoder.batch(_require_texts(texts), num_threads, self._dtype_of_ids(dtype), allowed, disallowed)

    def tokenize(
        self, text: str, *, allowed_special: Selection = "all", disallowed_special: Selection = ()
    ) -> list[str]:
        """The tokens of a text, as GPT-2 writes them.

        >>> Tokenizer().tokenize("The meaning of life")
        ['The', 'Ġmeaning', 'Ġof', 'Ġlife']
        """
        token_ids = self._encoder.ids(text, allowed_special, disallowed_special)
        written = {token_id: self._vocabulary.written(token_id) for token_id in set(token_ids)}
        return [written[token_id] for token_id in token_ids]

    def __call__(
        self,
        text: str | Iterable[str],
        *,
        padding: Padding = False,
        truncation: Truncation = False,
        max_length: int | None = None,
        padding_side: Side = "right",
        return_tensors: Literal["np"] | None = None,
        return_offsets_mapping: bool = False,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> Encoding:
        """The token ids and attention mask of a text or of several, cut and padded as asked.

        Padding is `<|endoftext|>` with mask 0. Offsets are half-open, in characters, and do not leave out a token's
        leading space; tokens that share a character overlap on it. With `return_tensors="np"`, ids and mask are int64
        arrays of shape (texts, tokens), offsets of shape (texts, tokens, 2).

        Raises:
            TypeError: the text is neither a string nor a sequence of strings.
            ValueError: options that do not fit each other, or rows of different lengths asked for as an array.

        >>> Tokenizer()(["Hello", "Hello world"], padding=True).input_ids
        [[15496, 50256], [15496, 995]]
        """
        batches.require_known_tensors(return_tensors)
        layout = batches.checked(padding, truncation, max_length, padding_side, self.pad_token_id)
        texts = [text] if isinstance(text, str) else _require_texts(text)
        rows = [self._encoder.ids(each, allowed_special, disallowed_special) for each in texts]
        offsets = [self._offsets(*pair) for pair in zip(texts, rows, strict=True)] if return_offsets_mapping else None
        encoding = batches.lay_out(rows, offsets, layout)
        if return_tensors == "np":
            return batches.as_arrays(encoding)
        return _only_row(encoding) if isinstance(text, str) else encoding

    def _offsets(self, text: str, token_ids: list[int]) -> list[tuple[int, int]]:
        """Where in the text each token lies: its tokens' bytes, one after the other, are the text's own."""
        indices = self._vocabulary.indices_of(np.fromiter(token_ids, np.int64, len(token_ids)))
        lengths = self._vocabulary.lengths.take(indices)
        for token, token_id in self._vocabulary.added_tokens.items():  # they stand in the text as they are written
            lengths[indices == self._vocabulary.indices_of(np.array([token_id]))] = len(token.encode("utf-8"))
        data = np.frombuffer(text.encode("utf-8"), np.uint8)
        character_of_byte = np.cumsum((data & 0xC0) != 0x80) - 1  # a character's first byte is no 10xxxxxx
        ends = np.cumsum(lengths)
        first, last = character_of_byte[ends - lengths], character_of_byte[ends - 1]
        return list(zip(first.tolist(), (last + 1).tolist(), strict=True))

    def _dtype_of_ids(self, dtype: DTypeLike) -> np.dtype[Any]:
        kind = np.dtype(dtype)
        if kind.kind not in "iu":
            raise TypeError(f"token ids are integers: dtype {kind} holds none")
        if np.iinfo(kind).max < self.n_vocab - 1:
            raise ValueError(f"dtype {kind} cannot hold the token ids up to {self.n_vocab - 1}")
        return kind

    # ---- token ids to text

    def decode(self, ids: Ids | SupportsIndex, skip_special_tokens: bool = False, errors: str = "replace") -> str:
        """The text of token ids, a list or an array of shape (tokens,) of any integer type.

        Bytes that are no UTF-8 are handled as `errors` says, in the words of `bytes.decode`.

        Raises:
            TypeError: an id is no integer.
            ValueError: an id is not in the vocabulary.

        >>> Tokenizer().decode([30325, 222, 50256]), Tokenizer().decode([30325, 50256], skip_special_tokens=True)
        (' 😀<|endoftext|>', ' �')
        """
        token_ids = self._checked(ids)
        if skip_special_tokens:
            token_ids = self._without_special(token_ids)
        return self._join(token_ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Ids) -> bytes:
        """The bytes of token ids: what `decode` reads as UTF-8.

        >>> Tokenizer().decode_bytes([30325, 222])
        b' \\xf0\\x9f\\x98\\x80'
        """
        return self._join(self._checked(ids))

    def decode_tokens_bytes(self, ids: Ids) -> list[bytes]:
        """The bytes of each token id.

        >>> Tokenizer().decode_tokens_bytes([30325, 222])
        [b' \\xf0\\x9f\\x98', b'\\x80']
        """
        return self._tokens_bytes(_as_list(self._checked(ids)))

    def batch_decode(
        self, batch: Iterable[Ids], skip_special_tokens: bool = False, errors: str = "replace"
    ) -> list[str]:
        """The texts of several lists of token ids, or of the rows of an array.

        >>> Tokenizer().batch_decode([[15496], [995]])
        ['Hello', ' world']
        """
        return [self.decode(ids, skip_special_tokens, errors) for ids in batch]

    decode_batch = batch_decode

    def decode_with_offsets(self, ids: Ids) -> tuple[str, list[int]]:
        """The text of token ids, and at which of its characters each token starts.

        A token that starts within a character starts at that one, as in tiktoken.

        Raises:
            ValueError: the bytes are no UTF-8 (a `UnicodeDecodeError`), or an id is not in the vocabulary.

        >>> Tokenizer().decode_with_offsets([40, 1101, 30325, 222, 12876])
        ("I'm 😀 ok", [0, 1, 3, 4, 5])
        """
        token_ids = _as_list(self._checked(ids))
        text = self._join(token_ids).decode("utf-8")
        return text, [start for start, _ in self._offsets(text, token_ids)]

    def _join(self, ids: list[int] | NDArray[Any]) -> bytes:
        if len(ids) < _ARRAYS_FROM:
            return b"".join(self._tokens_bytes(_as_list(ids)))
        if self._decoder is None:
            from minigpt2.vectorized.decoding import Decoder

            self._decoder = Decoder(self._vocabulary)
        return self._decoder.decode(self._vocabulary.indices_of(np.asarray(ids)))

    def _tokens_bytes(self, ids: list[int]) -> list[bytes]:
        try:
            return list(map(self._vocabulary.token_bytes.__getitem__, ids))
        except KeyError as error:
            self._vocabulary.refuse(error.args[0])

    def _without_special(self, ids: list[int] | NDArray[Any]) -> list[int] | NDArray[Any]:
        skipped = {self._vocabulary.added_tokens[token] for token in self._vocabulary.special_tokens}
        if isinstance(ids, np.ndarray):
            return ids[~np.isin(ids, list(skipped))]
        return [token_id for token_id in ids if token_id not in skipped]

    def _checked(self, ids: Ids | SupportsIndex) -> list[int] | NDArray[Any]:
        """Token ids as a list of Python integers or an array; whether the vocabulary has them is for others to say."""
        if isinstance(ids, np.ndarray):
            return _checked_array(ids)
        if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
            return [_id(ids)]
        token_ids = ids if isinstance(ids, list) else list(ids)
        if len(token_ids) >= _ARRAYS_FROM:
            return _as_array(token_ids)
        return token_ids if set(map(type, token_ids)) <= {int} else [_id(i) for i in token_ids]

    # ---- tokens as GPT-2 writes them

    def convert_ids_to_tokens(self, ids: Ids | SupportsIndex) -> str | list[str]:
        """The tokens of ids, or the token of one, as GPT-2 writes them.

        >>> Tokenizer().convert_ids_to_tokens([3616, 198]), Tokenizer().convert_ids_to_tokens(0)
        (['Ġmeaning', 'Ċ'], '!')
        """
        try:
            tokens = [self._vocabulary.written(i) for i in _as_list(self._checked(ids))]
        except KeyError as error:
            self._vocabulary.refuse(error.args[0])
        return tokens if isinstance(ids, Iterable) else tokens[0]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """The ids of tokens, or the id of one, as GPT-2 writes them.

        Raises:
            ValueError: a token is not in the vocabulary.

        >>> Tokenizer().convert_tokens_to_ids(["Ġmeaning", "Ċ"]), Tokenizer().convert_tokens_to_ids("!")
        ([3616, 198], 0)
        """
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in _require_texts(tokens)]
        token_id = self._vocabulary.id_of(tokens)
        if token_id is None:
            raise ValueError(f"{tokens!r} is no token of this vocabulary (GPT-2 writes a leading space as 'Ġ')")
        return token_id

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens as GPT-2 writes them.

        >>> Tokenizer().convert_tokens_to_string(["The", "Ġmeaning"])
        'The meaning'
        """
        return self.decode(self.convert_tokens_to_ids(_require_texts(tokens)))

    def get_vocab(self) -> dict[str, int]:
        """Every token as GPT-2 writes it, with its id."""
        return self._vocabulary.token_ids()

    # ---- sizes and special tokens

    @property
    def vocabulary(self) -> Vocabulary:
        """Every token's bytes, and the merges that lead to them."""
        return self._vocabulary

    def __len__(self) -> int:
        """The number of tokens, added ones included."""
        return len(self._vocabulary.token_bytes)

    @property
    def vocab_size(self) -> int:
        """The number of tokens in `vocab.json`: 50257 for GPT-2; tokens added beyond it do not count."""
        return len(self) - len(self._vocabulary.beyond)

    @property
    def n_vocab(self) -> int:
        """One more than the largest token id: 50257 for GPT-2."""
        return next(reversed(self._vocabulary.token_bytes)) + 1  # ids ascend

    @property
    def eos_token_id(self) -> int:
        """The id of `<|endoftext|>`: 50256 for GPT-2."""
        return self._vocabulary.added_tokens[END_OF_TEXT]

    @property
    def bos_token_id(self) -> int:
        """GPT-2 begins a text with the token that ends one."""
        return self.eos_token_id

    @property
    def pad_token_id(self) -> int:
        """GPT-2 has no token for padding; its users pad with `<|endoftext|>` under a mask of 0."""
        return self.eos_token_id

    @property
    def eot_token(self) -> int:
        """tiktoken's name for the id of `<|endoftext|>`."""
        return self.eos_token_id

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, in the order of their ids."""
        return sorted(self._vocabulary.special_tokens, key=self._vocabulary.added_tokens.__getitem__)

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, special_tokens={self.all_special_tokens})"

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Vocabulary, ...]]:
        return (Tokenizer, () if self._vocabulary is gpt2() else (self._vocabulary,))


def _require_texts(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise TypeError(f"expected a sequence of strings, not {type(texts).__name__}: {excerpt(texts)}")
    found = list(texts)
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"item {place} is no str but {type(text).__name__}: {excerpt(text)}")
    return found


def _only_row(encoding: Encoding) -> Encoding:
    return Encoding({key: rows[0] for key, rows in encoding.items()})


def _checked_array(ids: NDArray[Any]) -> NDArray[Any]:
    if ids.size and ids.dtype.kind not in "iu":
        raise TypeError(f"token ids are integers, not {ids.dtype}")
    if ids.ndim > 1:
        raise ValueError(f"expected token ids of shape (tokens,), not {ids.shape}: batch_decode takes rows of them")
    return ids.reshape(-1)


def _as_list(ids: list[int] | NDArray[Any]) -> list[int]:
    return ids if isinstance(ids, list) else ids.tolist()


def _as_array(ids: list[int]) -> NDArray[np.int64]:
    """A list of integers as an array, quicker than by looking at each one's type: only a bool passes for 0 or 1."""
    try:
        found = np.frombuffer(array("q", ids), np.int64)
    except (TypeError, OverflowError):
        found = np.array([_id(token_id) for token_id in ids], object)
        huge = found[(found < -(2**63)) | (found >= 2**63)]
        raise ValueError(f"token id {huge[0]} is in no vocabulary") from None
    suspects = [ids[place] for place in np.flatnonzero((found == 0) | (found == 1)).tolist()]
    if bool in set(map(type, suspects)):
        raise TypeError("a token id is an integer, not bool")
    return found


def _id(value: Any, name: str = "a token id") -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is an integer, not {type(value).__name__}: {excerpt(value)}")
    return index(value)
