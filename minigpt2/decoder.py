"""Token ids to bytes and text: all at once, or as they come."""

import codecs
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from minigpt2.encoder import excerpt
from minigpt2.forking import FORK_WAITS
from minigpt2.vocabulary import Vocabulary

if TYPE_CHECKING:
    from minigpt2.vectorized.decoding import Decoder as Arrays

Ids = Sequence[int] | NDArray[Any]

# Number of ids from which arrays are quicker.
_ARRAYS_FROM = 1000


class Decoder:
    """A vocabulary's way from ids to bytes; threads may share it."""

    def __init__(self, vocabulary: Vocabulary, skipped: frozenset[int]) -> None:
        self._vocabulary = vocabulary
        self._skipped = skipped
        self._arrays: Arrays | None = None

    def data(self, ids: list[int] | NDArray[Any], skip_special_tokens: bool = False) -> bytes:
        """The bytes of token ids that were checked, one after the other."""
        if skip_special_tokens:
            ids = self._without_special(ids)
        if len(ids) < _ARRAYS_FROM:
            return b"".join(self.each(as_list(ids)))
        if self._arrays is None:
            with FORK_WAITS:
                from minigpt2.vectorized.decoding import Decoder as Arrays

                self._arrays = Arrays(self._vocabulary)
        return self._arrays.decode(self._vocabulary.indices_of(np.asarray(ids)))

    def each(self, ids: list[int]) -> list[bytes]:
        """The bytes of each token id.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        try:
            return list(map(self._vocabulary.token_bytes.__getitem__, ids))
        except KeyError as error:
            self._vocabulary.refuse(error.args[0])

    def skips(self, token_id: int) -> bool:
        """Whether an id is a special token's, which stands for no text."""
        return token_id in self._skipped

    def _without_special(self, ids: list[int] | NDArray[Any]) -> list[int] | NDArray[Any]:
        if isinstance(ids, np.ndarray):
            return ids[~np.isin(ids, list(self._skipped))]
        return [token_id for token_id in ids if token_id not in self._skipped]


class DecodeStream:
    """Gives the text of token ids that come one by one, each character as soon as it is whole.

    >>> from minigpt2 import Tokenizer
    >>> stream = Tokenizer().decode_stream()
    >>> [stream.step(token_id) for token_id in (15496, 30325, 222)]
    ['Hello', ' ', '😀']
    >>> stream.step(30325), stream.end()
    (' ', '�')
    """

    def __init__(self, decoder: Decoder, skip_special_tokens: bool = False, errors: str = "replace") -> None:
        self._decoder = decoder
        self._skips = skip_special_tokens
        self._characters = codecs.getincrementaldecoder("utf-8")(errors)

    def step(self, ids: SupportsIndex | Ids) -> str:
        """The characters that the next id, or the next few, complete: an empty string as long as there are none.

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is not in the vocabulary.
        """
        return self._characters.decode(self._decoder.data(checked(ids), self._skips))

    def end(self) -> str:
        """The bytes left at the end, which did not become a character, handled as `errors` says."""
        rest = self._characters.decode(b"", final=True)
        self._characters.reset()
        return rest


class Decoding(ABC):
    """A tokenizer's ways from token ids to text and bytes, under the names that transformers and tiktoken give them."""

    __slots__ = ()

    @property
    @abstractmethod
    def _decoder(self) -> Decoder:
        """The way from ids to bytes."""

    def decode(
        self,
        ids: Ids | SupportsIndex,
        skip_special_tokens: bool = False,
        errors: str = "replace",
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """The text of token ids, a list or an array of shape (tokens,) of any integer type.

        Bytes that are not UTF-8 are handled as `errors` says, in the words of `bytes.decode`.
        `clean_up_tokenization_spaces` changes nothing, as in transformers for BPE.

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is not in the vocabulary.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().decode([30325, 222, 50256]), Tokenizer().decode([30325, 50256], skip_special_tokens=True)
        (' 😀<|endoftext|>', ' �')
        """
        return self._decoder.data(checked(ids), skip_special_tokens).decode("utf-8", errors)

    def decode_bytes(self, ids: Ids) -> bytes:
        """The bytes of token ids: what `decode` reads as UTF-8.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().decode_bytes([30325, 222])
        b' \\xf0\\x9f\\x98\\x80'
        """
        return self._decoder.data(checked(ids))

    def decode_tokens_bytes(self, ids: Ids) -> list[bytes]:
        """The bytes of each token id.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().decode_tokens_bytes([30325, 222])
        [b' \\xf0\\x9f\\x98', b'\\x80']
        """
        return self._decoder.each(as_list(checked(ids)))

    def batch_decode(
        self,
        batch: Iterable[Ids],
        skip_special_tokens: bool = False,
        errors: str = "replace",
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The texts of several lists of token ids, or of the rows of an array.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().batch_decode([[15496], [995]])
        ['Hello', ' world']
        """
        return [self.decode(ids, skip_special_tokens, errors) for ids in batch]

    decode_batch = batch_decode

    def decode_with_offsets(self, ids: Ids) -> tuple[str, list[int]]:
        """The text of token ids, and at which of its characters each token starts.

        A token that starts within a character starts at that one, as in tiktoken.

        Raises:
            ValueError: the bytes are not UTF-8 (a `UnicodeDecodeError`), or an id is not in the vocabulary.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().decode_with_offsets([40, 1101, 30325, 222, 12876])
        ("I'm 😀 ok", [0, 1, 3, 4, 5])
        """
        tokens = self.decode_tokens_bytes(ids)
        return b"".join(tokens).decode("utf-8"), starts(tokens)

    def decode_stream(self, skip_special_tokens: bool = False, errors: str = "replace") -> DecodeStream:
        """An object that takes token ids one by one and gives their text as soon as it is whole characters.

        >>> from minigpt2 import Tokenizer
        >>> stream = Tokenizer().decode_stream()
        >>> stream.step(30325) + stream.step(222)
        ' 😀'
        """
        return DecodeStream(self._decoder, skip_special_tokens, errors)


def starts(tokens: Sequence[bytes]) -> list[int]:
    """At which character of their text each of some tokens starts; within a character, at that one, as in tiktoken.

    >>> starts([b"I", b"'m", b" \\xf0\\x9f\\x98", b"\\x80", b" ok"])
    [0, 1, 3, 4, 5]
    """
    found = []
    characters = 0
    for token in tokens:
        continues = bool(token) and token[0] & 0xC0 == 0x80  # a byte 10xxxxxx continues a character
        found.append(max(0, characters - continues))
        characters += sum(byte & 0xC0 != 0x80 for byte in token)
    return found


def checked(ids: Ids | SupportsIndex) -> list[int] | NDArray[Any]:
    """Token ids as a list of Python integers or an array; whether the vocabulary has them is not checked here.

    Raises:
        TypeError: an id is not an integer.
        ValueError: the ids have more than one dimension, or are masked.
    """
    if isinstance(ids, np.ndarray):
        return _checked_array(ids)
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        return [checked_id(ids)]
    token_ids = ids if isinstance(ids, list) else list(ids)
    if len(token_ids) >= _ARRAYS_FROM:
        return _as_array(token_ids)
    return token_ids if set(map(type, token_ids)) <= {int} else [checked_id(i) for i in token_ids]


def _checked_array(ids: NDArray[Any]) -> NDArray[Any]:
    refuse_masked(ids)
    if ids.size and ids.dtype.kind not in "iu":
        raise TypeError(f"token ids are integers, not {ids.dtype}")
    if ids.ndim > 1:
        raise ValueError(f"expected token ids of shape (tokens,), not {ids.shape}: batch_decode takes rows of them")
    return ids.reshape(-1)


def refuse_masked(array: Any) -> None:
    """Refuse an array with masked values, which numpy would quietly take for what is behind the mask.

    Raises:
        ValueError: it is a `numpy.ma.MaskedArray` that has some.
    """
    if hasattr(array, "filled") and array.mask.any():  # importing numpy.ma to ask for its type would take time
        raise ValueError("a masked array has no value where it is masked: pass array.filled(...) or array.compressed()")


def as_list(ids: list[int] | NDArray[Any]) -> list[int]:
    """Ids as a list."""
    return ids if isinstance(ids, list) else ids.tolist()


def _as_array(ids: list[int]) -> NDArray[np.int64]:
    """A list of integers as an array, quicker than by looking at each one's type: only a bool passes for 0 or 1."""
    try:
        found = np.frombuffer(array("q", ids), np.int64)
    except (TypeError, OverflowError):
        found = np.array([checked_id(token_id) for token_id in ids], object)
        huge = found[(found < -(2**63)) | (found >= 2**63)]
        raise ValueError(f"token id {huge[0]} is in no vocabulary") from None
    suspects = [ids[position] for position in np.flatnonzero((found == 0) | (found == 1)).tolist()]
    if bool in set(map(type, suspects)):
        raise TypeError("a token id is an integer, not bool")
    return found


def checked_id(value: Any, name: str = "a token id") -> int:
    """An integer as a Python integer.

    Raises:
        TypeError: it is something else, or a bool.
    """
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is an integer, not {type(value).__name__}: {excerpt(value)}")
    return index(value)
