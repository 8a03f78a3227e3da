"""The odd tokens of a vocabulary, found by rules. They show what text the vocabulary was made from."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from minigpt2.explain.characters import segments, text_of
from minigpt2.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Oddity:
    """A kind of odd token: the rule that finds it, the reason for such tokens, and the ids found, ascending."""

    name: str
    rule: str
    reason: str
    ids: tuple[int, ...]


def oddities(tokenizer: Tokenizer) -> list[Oddity]:
    """Each kind of odd token with those that the vocabulary has; special tokens are left out.

    >>> {oddity.name: len(oddity.ids) for oddity in oddities(Tokenizer())}["bytes of no text"]
    13
    """
    special = set(tokenizer.convert_tokens_to_ids(tokenizer.all_special_tokens))
    ids = [token_id for token_id in tokenizer.get_vocab().values() if token_id not in special]
    tokens = list(zip(ids, tokenizer.decode_tokens_bytes(ids), strict=True))
    return [
        Oddity(name, rule, reason, tuple(token_id for token_id, data in tokens if is_odd(data)))
        for name, rule, reason, is_odd in _KINDS
    ]


def _matches(pattern: str) -> Callable[[bytes], bool]:
    search = re.compile(pattern).search
    return lambda data: (text := text_of(data)) is not None and search(text) is not None


def _is_invisible(data: bytes) -> bool:
    return text_of(data) is not None and all(is_sign for _, is_sign in segments(data))


_KINDS: Final[tuple[tuple[str, str, str, Callable[[bytes], bool]], ...]] = (
    (
        "parts of characters",
        "several bytes that are not whole characters",
        "Merges join bytes, not characters. Rare characters stay in pieces, and a piece can include a space.",
        lambda data: len(data) > 1 and text_of(data) is None,
    ),
    (
        "bytes of no text",
        "one of the bytes c0, c1 and f5 to ff",
        "UTF-8 never uses them, so no text has these ids. They are there because every byte is a token.",
        lambda data: len(data) == 1 and (data in b"\xc0\xc1" or data[0] >= 0xF5),
    ),
    (
        "words run together",
        "letters with two capitals or more that follow small letters",
        "User names, things in games, fields of web shops: the text that merges were counted on had many of them. The"
        " text that the model was trained on may have had few, and then training hardly changed their rows.",
        _matches("^ ?[A-Za-z]*[a-z][A-Z][A-Za-z]*[a-z][A-Z][A-Za-z]*$"),
    ),
    (
        "damaged text",
        "Â and Ã next to each other, or U+FFFD",
        "UTF-8 that was read as Latin-1 and saved, several times (Ã and Â are its bytes c3 and c2), or text whose"
        " characters were lost before it was collected.",
        _matches("[ÂÃ]{2}|\ufffd"),
    ),
    (
        "long runs",
        "one character 16 times or more, after a space or not",
        "Lines that divide a page. Each frequent length got a token of its own.",
        _matches(r"^ ?(.)\1{15,}$"),
    ),
    (
        "invisible",
        "several bytes, none of which has a shape",
        "Indented code, empty lines, spaces that do not break, and characters that only join or direct others.",
        lambda data: len(data) > 1 and _is_invisible(data),
    ),
)
