"""The tokenizer that people import: text to token ids and back, as GPT-2 does it.

Here the steps meet: special tokens are found, the rest is split into pretokens, each pretoken's bytes are merged, and
what was merged once is remembered. The names are those of transformers and of tiktoken, with their meanings.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import index
from pathlib import Path
from typing import Any, Literal, NoReturn, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2 import batches, bpe, special_tokens, vocabulary_files
from minigpt2.batches import Encoding, Padding, Side, Truncation
from minigpt2.pretokenize import pretokenize
from minigpt2.special_tokens import Selection
from minigpt2.vocabulary import END_OF_TEXT, Vocabulary, gpt2

# The published models that share GPT-2's vocabulary, under their short and their full names.
_GPT2_MODELS = {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2"}
_GPT2_MODELS |= {f"openai-community/{name}" for name in _GPT2_MODELS} | {"distilbert/distilgpt2"}

Ids = Sequence[int] | NDArray[Any]


class _PretokenIds(dict[str, list[int]]):
    """The token ids of pretokens: merged when first asked for, and remembered up to a bound."""

    MOST = 1 << 16
    LONGEST = 64

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def __missing__(self, pretoken: str) -> list[int]:
        symbols = [self._vocabulary.byte_ids[byte] for byte in pretoken.encode("utf-8")]
        merge = bpe.merge if len(symbols) < bpe.LONG else bpe.merge_long
        token_ids = merge(symbols, self._vocabulary.merges)
        if len(pretoken) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[pretoken] = token_ids
        return token_ids


class Tokenizer:
    """GPT-2's tokenizer, with its vocabulary in the package: no file, no network.

    Immutable in public; it can be pickled, and shared between threads.

    >>> tokenizer = Tokenizer()
    >>> tokenizer.encode("The meaning of life is")
    [464, 3616, 286, 1204, 318]
    >>> tokenizer.decode([464, 3616, 286, 1204, 318])
    'The meaning of life is'
    """

    __slots__ = ("_ids_of", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary | None = None) -> None:
        self._vocabulary = vocabulary or gpt2()
        self._ids_of = _PretokenIds(self._vocabulary)

    # ---- where vocabularies come from and go to

    @classmethod
    def from_files(cls, vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]) -> "Tokenizer":
        """A tokenizer from a `vocab.json` and a `merges.txt` in GPT-2's format, GPT-2's own or not.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is malformed, or lacks a byte or a merge's token.
        """
        return cls(vocabulary_files.read(vocab_file, merges_file))

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
        if Path(model).is_dir():
            return cls(vocabulary_files.read_directory(model))
        if model in _GPT2_MODELS:
            return cls()
        return cls(vocabulary_files.read_from_hub(os.fspath(model), revision, cache_dir, local_files_only))

    def save_pretrained(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write `vocab.json` and `merges.txt`, for GPT-2 byte for byte the published files, and return their paths.

        Tokens that were added beyond `vocab.json` go to `added_tokens.json`.
        """
        return vocabulary_files.write(self._vocabulary, directory)

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
        token_ids = self._encode(text, allowed_special, disallowed_special)
        return token_ids if return_tensors is None else np.array([token_ids], np.int64)

    def encode_ordinary(self, text: str) -> list[int]:
        """The token ids of a text in which special tokens are plain text.

        Raises:
            TypeError: the text is no string.
            ValueError: the text contains a lone surrogate.

        >>> Tokenizer().encode_ordinary("<|endoftext|>")
        [27, 91, 437, 1659, 5239, 91, 29]
        """
        return self._encode(text, (), ())

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
        kind = self._dtype_of_ids(dtype)
        return np.array(self._encode(text, allowed_special, disallowed_special), kind)

    def encode_batch(
        self,
        texts: Sequence[str],
        num_threads: int | None = None,
        *,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> list[list[int]]:
        """The token ids of several texts, in their order.

        >>> Tokenizer().encode_batch(["Hello", " world"])
        [[15496], [995]]
        """
        _require_texts(texts)
        return [self._encode(text, allowed_special, disallowed_special) for text in texts]

    def tokenize(
        self, text: str, *, allowed_special: Selection = "all", disallowed_special: Selection = ()
    ) -> list[str]:
        """The tokens of a text, as GPT-2 writes them.

        >>> Tokenizer().tokenize("The meaning of life")
        ['The', 'Ġmeaning', 'Ġof', 'Ġlife']
        """
        return [self._vocabulary.written(i) for i in self._encode(text, allowed_special, disallowed_special)]

    def __call__(
        self,
        text: str | Sequence[str],
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
        texts = [text] if isinstance(text, str) else list(_require_texts(text))
        rows = [self._encode(each, allowed_special, disallowed_special) for each in texts]
        offsets = [self._offsets(*pair) for pair in zip(texts, rows, strict=True)] if return_offsets_mapping else None
        encoding = batches.lay_out(rows, offsets, layout)
        if return_tensors == "np":
            return batches.as_arrays(encoding)
        return encoding if texts is not text and not isinstance(text, str) else _only_row(encoding)

    def _encode(self, text: str, allowed: Selection, disallowed: Selection) -> list[int]:
        if not isinstance(text, str):
            raise TypeError(f"a text is a str, not {type(text).__name__}: {_excerpt(text)}")
        special = special_tokens.select(self._vocabulary.added_tokens, allowed, disallowed, text)
        try:
            if not special or not special_tokens.finder(special).search(text):
                return list(self._encode_ordinary(text))
            pieces = special_tokens.split(text, special)
            added = self._vocabulary.added_tokens
            return list(
                chain.from_iterable([added[t]] if is_token else self._encode_ordinary(t) for t, is_token in pieces)
            )
        except UnicodeEncodeError:
            _refuse_surrogate(text)

    def _encode_ordinary(self, text: str) -> Iterable[int]:
        return chain.from_iterable(map(self._ids_of.__getitem__, pretokenize(text)))

    def _offsets(self, text: str, token_ids: list[int]) -> list[tuple[int, int]]:
        """Where in the text each token lies: its tokens' bytes, one after the other, are the text's own."""
        lengths = np.array([len(self._vocabulary.token_bytes[i]) for i in token_ids], np.int64)
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

    def decode(self, ids: Ids | int, skip_special_tokens: bool = False, errors: str = "replace") -> str:
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
            skipped = {self._vocabulary.added_tokens[token] for token in self._vocabulary.special_tokens}
            token_ids = [i for i in token_ids if i not in skipped]
        return b"".join(self._bytes_of(token_ids)).decode("utf-8", errors)

    def decode_bytes(self, ids: Ids) -> bytes:
        """The bytes of token ids: what `decode` reads as UTF-8.

        >>> Tokenizer().decode_bytes([30325, 222])
        b' \\xf0\\x9f\\x98\\x80'
        """
        return b"".join(self._bytes_of(self._checked(ids)))

    def decode_tokens_bytes(self, ids: Ids) -> list[bytes]:
        """The bytes of each token id.

        >>> Tokenizer().decode_tokens_bytes([30325, 222])
        [b' \\xf0\\x9f\\x98', b'\\x80']
        """
        return list(self._bytes_of(self._checked(ids)))

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
        tokens = self.decode_tokens_bytes(ids)
        text = b"".join(tokens).decode("utf-8")
        starts = self._offsets(text, self._checked(ids))
        return text, [start for start, _ in starts]

    def _bytes_of(self, token_ids: list[int]) -> Iterable[bytes]:
        try:
            return list(map(self._vocabulary.token_bytes.__getitem__, token_ids))
        except KeyError as error:
            self._refuse_id(error.args[0])

    def _checked(self, ids: Ids | int) -> list[int]:
        """Token ids as a list of Python integers; whether the vocabulary has them is for the look-up to say."""
        if isinstance(ids, np.ndarray):
            return _ids_of_array(ids)
        if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
            return [_id(ids)]
        token_ids = list(ids)
        return token_ids if set(map(type, token_ids)) <= {int} else [_id(i) for i in token_ids]

    def _refuse_id(self, token_id: int) -> NoReturn:
        raise ValueError(f"token id {token_id} is not in the vocabulary, whose ids are 0 to {self.n_vocab - 1}")

    # ---- tokens as GPT-2 writes them

    def convert_ids_to_tokens(self, ids: Ids | int) -> str | list[str]:
        """The tokens of ids, or the token of one, as GPT-2 writes them.

        >>> Tokenizer().convert_ids_to_tokens([3616, 198]), Tokenizer().convert_ids_to_tokens(0)
        (['Ġmeaning', 'Ċ'], '!')
        """
        try:
            tokens = [self._vocabulary.written(i) for i in self._checked(ids)]
        except KeyError as error:
            self._refuse_id(error.args[0])
        return tokens if isinstance(ids, Iterable) else tokens[0]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
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
        return self.decode(self.convert_tokens_to_ids(tokens))

    def get_vocab(self) -> dict[str, int]:
        """Every token as GPT-2 writes it, with its id."""
        return self._vocabulary.token_ids()

    # ---- sizes and special tokens

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


def _require_texts(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, (str, bytes)) or not hasattr(texts, "__iter__"):
        raise TypeError(f"expected a sequence of strings, not {type(texts).__name__}: {_excerpt(texts)}")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"item {place} is no str but {type(text).__name__}: {_excerpt(text)}")
    return texts


def _refuse_surrogate(text: str) -> NoReturn:
    """Raise the error of encoding the text whole, so that it names the index in the text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        error.reason = "a lone surrogate is no text; text.encode('utf-8', 'replace').decode() puts '?' in its place"
        raise error from None
    raise AssertionError("a text that can be encoded was refused")


def _only_row(encoding: Encoding) -> Encoding:
    return Encoding({key: rows[0] for key, rows in encoding.items()})


def _ids_of_array(ids: NDArray[Any]) -> list[int]:
    if ids.size and ids.dtype.kind not in "iu":
        raise TypeError(f"token ids are integers, not {ids.dtype}")
    if ids.ndim > 1:
        raise ValueError(f"expected token ids of shape (tokens,), not {ids.shape}: batch_decode takes rows of them")
    return ids.reshape(-1).tolist()


def _id(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"a token id is an integer, not {type(value).__name__}: {_excerpt(value)}")
    return index(value)


def _excerpt(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
