"""The tokenizer that people import: text to token ids and back, as GPT-2 does it.

Here the steps meet: `encoder` finds added tokens and encodes what is between them, `batches` completes, cuts and pads,
`decoder` goes back. The names are those of transformers and of tiktoken, with their meanings.
"""

import os
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2 import batches, settings
from minigpt2.batches import Encoding, Padding, Row, Side, Template, Truncation, ids_around
from minigpt2.decoder import Decoder, Decoding, checked_id
from minigpt2.encoder import Encoder, OrdinaryText
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.settings import NO_LIMIT, Settings
from minigpt2.special_tokens import Selection
from minigpt2.token_names import TokenNames, require_texts
from minigpt2.vocabulary import Vocabulary, gpt2

if TYPE_CHECKING:
    from pathlib import Path

    from minigpt2.special_tokens import Part


class _State(NamedTuple):
    """All that a tokenizer is made of. A change puts another in its place, so that a call never sees half of one."""

    vocabulary: Vocabulary
    settings: Settings
    ordinary: OrdinaryText
    encoder: Encoder
    decoder: Decoder
    before: list[int]  # what the model wants around each text
    after: list[int]
    adds: bool  # whether it wants anything


class Tokenizer(Decoding, TokenNames):
    """GPT-2's tokenizer, or that of another `vocabulary`; GPT-2's lies in the package: no file, no network.

    Threads can share it, and it can be pickled.

    >>> tokenizer = Tokenizer()
    >>> tokenizer.encode("The meaning of life is")
    [464, 3616, 286, 1204, 318]
    >>> tokenizer.decode([464, 3616, 286, 1204, 318])
    'The meaning of life is'
    """

    __slots__ = ("_state",)

    is_fast = True

    def __init__(self, vocabulary: Vocabulary | None = None, more: Settings | None = None) -> None:
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            way = f"try Tokenizer.from_pretrained({vocabulary!r})"
            raise TypeError(f"vocabulary must be a Vocabulary, not {type(vocabulary).__name__}: {way}")
        vocabulary = vocabulary or gpt2()
        more = more or settings.of(vocabulary)
        self._state = _state(vocabulary, more, OrdinaryText(vocabulary, more.add_prefix_space))

    @property
    def vocabulary(self) -> Vocabulary:
        """Every token's bytes, and the merges that lead to them."""
        return self._state.vocabulary

    @property
    def settings(self) -> Settings:
        """The tokenizer's settings besides its merges."""
        return self._state.settings

    @property
    def _decoder(self) -> Decoder:
        return self._state.decoder

    def _change(self, vocabulary: Vocabulary, more: Settings) -> None:
        # Added tokens change no merge, so what was merged is remembered.
        self._state = _state(vocabulary, more, self._state.ordinary)

    # ---- where vocabularies come from and go to

    @classmethod
    def from_files(cls, vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]) -> "Tokenizer":
        """A tokenizer from a `vocab.json` and a `merges.txt` in GPT-2's format, GPT-2's own or not.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is malformed, or lacks a merge's token.
        """
        with FORK_WAITS, ordered_hooks():
            from minigpt2.tokenizer_files import opening

        return cls(*opening.open_vocab_and_merges(vocab_file, merges_file))

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

        It answers as transformers' `AutoTokenizer` does. gpt2, gpt2-medium, gpt2-large, gpt2-xl and distilgpt2 share
        the vocabulary that the package carries and are answered without a request.

        Raises:
            FileNotFoundError: the directory has no tokenizer.
            HubError: the hub does not answer, or the model has no vocabulary there.
            ValueError: a file is malformed, or of another kind of tokenizer, or says something that this package does
                not do.
        """
        with FORK_WAITS, ordered_hooks():
            from minigpt2.published_models import GPT2_MODELS
            from minigpt2.tokenizer_files import opening

        is_gpt2 = os.fspath(model) in GPT2_MODELS
        if os.path.isdir(model) and not (is_gpt2 and not opening.has_tokenizer(model)):  # noqa: PTH112 - pathlib is slow
            return cls(*opening.open_directory(model))
        return cls(*opening.open_from_hub(os.fspath(model), revision, cache_dir, local_files_only))

    def save_pretrained(self, directory: str | os.PathLike[str]) -> "list[Path]":
        """Write the tokenizer's files, for this package and for transformers, and return their paths.

        `vocab.json` and `merges.txt` are, for GPT-2, byte for byte the published files. `tokenizer_config.json` has the
        added tokens and their roles; what that cannot say goes to `tokenizer.json`.
        """
        with FORK_WAITS, ordered_hooks():
            from minigpt2.tokenizer_files import saving

        return saving.write(self.vocabulary, self.settings, directory)

    # ---- text to token ids

    @overload
    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
        return_tensors: None = None,
    ) -> list[int]: ...
    @overload
    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
        return_tensors: Literal["np"],
    ) -> NDArray[np.int64]: ...
    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
        return_tensors: Literal["np"] | None = None,
    ) -> list[int] | NDArray[np.int64]:
        """The token ids of a text: a list, or with `return_tensors="np"` an int64 array of shape (1, tokens).

        Special tokens in `allowed_special` become their ids, others stay plain text; one in `disallowed_special`
        is refused. Each is "all" or a collection of special tokens. `add_special_tokens=False` leaves out what the
        model wants around a text; GPT-2 wants nothing.

        Raises:
            TypeError: the text is not a string.
            ValueError: the text contains a disallowed special token, or a lone surrogate.

        >>> Tokenizer().encode("The meaning of life is", return_tensors="np")
        array([[ 464, 3616,  286, 1204,  318]])
        """
        if return_tensors is not None:
            batches.require_known_tensors(return_tensors)
            return self._array(text, np.dtype(np.int64), add_special_tokens, allowed_special, disallowed_special)[None]
        state = self._state
        ids = state.encoder.ids(text, allowed_special, disallowed_special)
        return [*state.before, *ids, *state.after] if add_special_tokens and state.adds else ids

    def encode_ordinary(self, text: str) -> list[int]:
        """The token ids of a text in which special tokens are plain text.

        Raises:
            TypeError: the text is not a string.
            ValueError: the text contains a lone surrogate.

        >>> Tokenizer().encode_ordinary("<|endoftext|>")
        [27, 91, 437, 1659, 5239, 91, 29]
        """
        return self._state.encoder.ids(text, (), ())

    def encode_to_numpy(
        self,
        text: str,
        dtype: DTypeLike = np.uint32,
        *,
        add_special_tokens: bool = True,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> NDArray[Any]:
        """The same token ids as `encode` gives, as an array of shape (tokens,).

        Raises:
            TypeError: the text is not a string, or `dtype` not an integer type.
            ValueError: `dtype` cannot hold every id of the vocabulary, or as `encode` does.

        >>> Tokenizer().encode_to_numpy("The meaning of life is", dtype="uint16")
        array([ 464, 3616,  286, 1204,  318], dtype=uint16)
        """
        return self._array(text, self._checked_dtype(dtype), add_special_tokens, allowed_special, disallowed_special)

    def _array(
        self, text: str, dtype: np.dtype[Any], adds: bool, allowed: Selection, disallowed: Selection
    ) -> NDArray[Any]:
        state = self._state
        ids = state.encoder.array(text, dtype, allowed, disallowed)
        return (
            np.concatenate([np.array(state.before, dtype), ids, np.array(state.after, dtype)])
            if adds and state.adds
            else ids
        )

    def encode_batch(
        self,
        texts: Iterable[str],
        num_threads: int | None = None,
        *,
        add_special_tokens: bool = True,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> list[list[int]]:
        """The token ids of several texts, in their order, by `num_threads` threads.

        By default there are two where there are two processors: more would wait for the interpreter's lock. Each takes
        at most 64 MB of working space.

        >>> Tokenizer().encode_batch(["Hello", " world"])
        [[15496], [995]]
        """
        ids, offsets = self.encode_batch_to_numpy(
            texts,
            num_threads,
            np.int64,
            add_special_tokens=add_special_tokens,
            allowed_special=allowed_special,
            disallowed_special=disallowed_special,
        )
        every, bounds = ids.tolist(), offsets.tolist()
        return [every[start:end] for start, end in pairwise(bounds)]

    def encode_ordinary_batch(self, texts: Iterable[str], num_threads: int | None = None) -> list[list[int]]:
        """`encode_batch` for texts in which special tokens are plain text.

        >>> Tokenizer().encode_ordinary_batch(["Hello", "<|"])
        [[15496], [27, 91]]
        """
        return self.encode_batch(texts, num_threads, add_special_tokens=False, allowed_special=())

    def encode_batch_to_numpy(
        self,
        texts: Iterable[str],
        num_threads: int | None = None,
        dtype: DTypeLike = np.uint32,
        *,
        add_special_tokens: bool = True,
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
        if num_threads is not None and checked_id(num_threads, "num_threads") < 1:
            raise ValueError(f"num_threads={num_threads!r}: pass 1 or more, or None to leave it open")
        state, kind = self._state, self._checked_dtype(dtype)
        ids, offsets = state.encoder.batch(require_texts(texts), num_threads, kind, allowed_special, disallowed_special)
        return (
            batches.around_each(ids, offsets, state.before, state.after)
            if add_special_tokens and state.adds
            else (ids, offsets)
        )

    def tokenize(
        self, text: str, *, allowed_special: Selection = "all", disallowed_special: Selection = ()
    ) -> list[str]:
        """The tokens of a text, as GPT-2 writes them; an added token as it stands in the text.

        >>> Tokenizer().tokenize("The meaning of life")
        ['The', 'Ġmeaning', 'Ġof', 'Ġlife']
        """
        return self._state.encoder.located(text, allowed_special, disallowed_special).tokens

    def parts(self, text: str, *, allowed_special: Selection = "all") -> "list[Part]":
        """The added tokens in a text, and the ordinary text between them, each with where it starts and ends.

        >>> Tokenizer().parts("Hi<|endoftext|>")
        [Part(start=0, end=2, token=None), Part(start=2, end=15, token='<|endoftext|>')]
        """
        return self._state.encoder.parts(text, allowed_special)

    def prefixed(self, text: str) -> str:
        """Ordinary text as it is split: with a space before it, where the model wants one and there is none."""
        return self._state.ordinary.prefixed(text)

    def __call__(
        self,
        text: str | Iterable[str],
        *,
        padding: Padding = False,
        truncation: Truncation = False,
        max_length: int | None = None,
        padding_side: Side | None = None,
        return_tensors: Literal["np"] | None = None,
        return_offsets_mapping: bool = False,
        add_special_tokens: bool = True,
        allowed_special: Selection = "all",
        disallowed_special: Selection = (),
    ) -> Encoding:
        """The token ids and attention mask of a text or of several, cut and padded as asked.

        Padding is the model's `pad_token`, or else `<|endoftext|>`, with mask 0. Truncation cuts at `max_length`, or
        else at `model_max_length`. Offsets are half-open, in characters, and do not leave out a token's leading space;
        tokens that share a character overlap on it. With `return_tensors="np"`, ids and mask are int64 arrays of shape
        (texts, tokens), offsets of shape (texts, tokens, 2).

        Raises:
            TypeError: the text is neither a string nor a sequence of strings.
            ValueError: options that do not fit each other, or rows of different lengths asked for as an array.

        >>> Tokenizer()(["Hello", "Hello world"], padding=True).input_ids
        [[15496, 50256], [15496, 995]]
        """
        batches.require_known_tensors(return_tensors)
        state = self._state
        layout = batches.checked(
            padding,
            truncation,
            max_length,
            None if state.settings.model_max_length >= NO_LIMIT else state.settings.model_max_length,
            padding_side or state.settings.padding_side,
            state.settings.truncation_side,
            self.pad_token_id,
            [step for step in state.settings.post_processing if add_special_tokens or not isinstance(step, Template)],
        )
        texts = [text] if isinstance(text, str) else require_texts(text)
        if return_offsets_mapping:
            rows = [Row(*state.encoder.located(each, allowed_special, disallowed_special)) for each in texts]
        else:
            rows = [Row(state.encoder.ids(each, allowed_special, disallowed_special)) for each in texts]
        encoding = batches.lay_out(rows, layout)
        if return_tensors == "np":
            return batches.as_arrays(encoding)
        return Encoding({key: row[0] for key, row in encoding.items()}) if isinstance(text, str) else encoding

    def _checked_dtype(self, dtype: DTypeLike) -> np.dtype[Any]:
        kind = np.dtype(dtype)
        if kind.kind not in "iu":
            raise TypeError(f"token ids are integers: dtype {kind} holds none")
        if np.iinfo(kind).max < self.max_token_value:
            raise ValueError(f"dtype {kind} cannot hold the token ids up to {self.max_token_value}")
        return kind

    # ---- what a good object does

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, special_tokens={self.all_special_tokens})"

    def __reduce__(self) -> tuple[Any, ...]:
        vocabulary, more = self.vocabulary, self.settings
        is_gpt2s = vocabulary is gpt2() and more is settings.of(vocabulary)
        # A subclass may take other arguments, and has a dict.
        return _again, (type(self), *(() if is_gpt2s else (vocabulary, more))), getattr(self, "__dict__", None)


def _again(kind: type[Tokenizer], *more: Any) -> Tokenizer:
    """A tokenizer of a class, from what a pickle of it holds."""
    tokenizer = kind.__new__(kind)
    Tokenizer.__init__(tokenizer, *more)
    return tokenizer


def _state(vocabulary: Vocabulary, more: Settings, ordinary: OrdinaryText) -> _State:
    before, after = ids_around(more.post_processing)
    encoder = Encoder(more.added, ordinary, vocabulary)
    skipped = frozenset(more.added.ids[token] for token in more.added.special)
    decoder = Decoder(vocabulary, skipped)
    return _State(vocabulary, more, ordinary, encoder, decoder, before, after, bool(before or after))
