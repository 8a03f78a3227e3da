"""Values that several tests read off the page, and the texts that they show on it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from minigpt2.byte_alphabet import to_bytes
from minigpt2.explain.characters import visible

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROMPT = "The meaning of life is"
MIXED = "It's naïve to think 生命 is 42!\n\n\tdef f(x):  return\u00a0x <|endoftext|> 👩‍👩‍👧 שלום e\u0301"


def ids_on(page: "Page") -> list[int]:
    """The ids of the tiles."""
    return [int(text) for text in page.locator("#token-list .id").all_text_contents()]


def symbols_on(page: "Page") -> list[str]:
    """The symbols that the player of merges shows."""
    return page.locator("#now .symbol").all_text_contents()


def as_shown(tokens: Iterable[str]) -> list[str]:
    """Tokens as GPT-2 writes them, in the page's own notation."""
    return [visible(to_bytes(token)) for token in tokens]
