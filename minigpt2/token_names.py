"""A tokenizer's tokens by their names: as GPT-2's files write them, as bytes, as ids; and how many there are."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import SupportsIndex, overload

from minigpt2 import decoder as decoding
from minigpt2.decoder import Ids
from minigpt2.encoder import excerpt
from minigpt2.special_tokens.roles import SpecialTokens


class TokenNames(SpecialTokens):
    """The lookups that need nothing but the vocabulary, under the names that transformers and tiktoken give them."""

    __slots__ = ()

    @abstractmethod
    def decode(self, ids: Ids | SupportsIndex) -> str:
        """The text of token ids."""

    def convert_ids_to_tokens(self, ids: Ids | SupportsIndex) -> str | list[str]:
        """The tokens of ids, or the token of one, as GPT-2 writes them.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().convert_ids_to_tokens([3616, 198]), Tokenizer().convert_ids_to_tokens(0)
        (['Ġmeaning', 'Ċ'], '!')
        """
        vocabulary = self.vocabulary
        try:
            tokens = [vocabulary.written(i) for i in decoding.as_list(decoding.checked(ids))]
        except KeyError as error:
            vocabulary.refuse(error.args[0])
        return tokens if isinstance(ids, Iterable) else tokens[0]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """The ids of tokens, or the id of one, as GPT-2 writes them.

        Raises:
            ValueError: a token is not in the vocabulary.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().convert_tokens_to_ids(["Ġmeaning", "Ċ"]), Tokenizer().convert_tokens_to_ids("!")
        ([3616, 198], 0)
        """
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in require_texts(tokens)]
        token_id = self.vocabulary.id_of(tokens)
        if token_id is None:
            raise ValueError(f"{tokens!r} is not a token of this vocabulary (GPT-2 writes a leading space as 'Ġ')")
        return token_id

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens as GPT-2 writes them.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().convert_tokens_to_string(["The", "Ġmeaning"])
        'The meaning'
        """
        return self.decode(self.convert_tokens_to_ids(require_texts(tokens)))

    def get_vocab(self) -> dict[str, int]:
        """Every token as GPT-2 writes it, with its id."""
        return self.vocabulary.token_ids()

    def __len__(self) -> int:
        """The number of tokens, added ones included."""
        return len(self.vocabulary.token_bytes)

    @property
    def vocab_size(self) -> int:
        """The number of tokens in `vocab.json`: 50257 for GPT-2; tokens added beyond it do not count."""
        vocabulary = self.vocabulary
        return len(vocabulary.token_bytes) - len(vocabulary.beyond)

    @property
    def n_vocab(self) -> int:
        """One more than the largest token id: 50257 for GPT-2."""
        return self.max_token_value + 1

    @property
    def max_token_value(self) -> int:
        """tiktoken's name for the largest token id: 50256 for GPT-2."""
        return next(reversed(self.vocabulary.token_bytes))  # ids ascend

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of one token, given as its text or its bytes; special tokens count too.

        Raises:
            TypeError: it is neither text nor bytes.
            ValueError: it is not exactly one token.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().encode_single_token(" life"), Tokenizer().encode_single_token("<|endoftext|>")
        (1204, 50256)
        """
        if not isinstance(text_or_bytes, (str, bytes)):
            raise TypeError(f"expected a str or bytes, not {type(text_or_bytes).__name__}: {excerpt(text_or_bytes)}")
        data = text_or_bytes.encode("utf-8") if isinstance(text_or_bytes, str) else text_or_bytes
        vocabulary = self.vocabulary
        for token, token_id in vocabulary.added_tokens.items():
            if token.encode("utf-8") == data:
                return token_id
        if data not in vocabulary.id_of_bytes:
            raise ValueError(f"{excerpt(text_or_bytes)} is not one token of this vocabulary")
        return vocabulary.id_of_bytes[data]

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes of one token id.

        Raises:
            TypeError: the id is not an integer.
            ValueError: the id is not in the vocabulary.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().decode_single_token_bytes(1204)
        b' life'
        """
        token_id = decoding.checked_id(token)
        if token_id not in self.vocabulary.token_bytes:
            self.vocabulary.refuse(token_id)
        return self.vocabulary.token_bytes[token_id]

    def token_byte_values(self) -> list[bytes]:
        """The bytes of every token that is not an added one, in the order of bytes, as in tiktoken.

        >>> from minigpt2 import Tokenizer
        >>> len(Tokenizer().token_byte_values()), Tokenizer().token_byte_values()[:2]
        (50256, [b'\\x00', b'\\x01'])
        """
        vocabulary = self.vocabulary
        added = set(vocabulary.added_tokens.values())
        return sorted(data for token_id, data in vocabulary.token_bytes.items() if token_id not in added)


def require_texts(texts: Iterable[str]) -> list[str]:
    """A sequence of strings as a list.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise TypeError(f"expected a sequence of strings, not {type(texts).__name__}: {excerpt(texts)}")
    found = list(texts)
    for index, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"item {index} is not a str but {type(text).__name__}: {excerpt(text)}")
    return found
