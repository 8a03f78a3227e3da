"""The real libraries on the vocabulary that this package regenerates, and texts of every character."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tiktoken
import transformers

from minigpt2 import Tokenizer
from minigpt2.pretokenize import SPLIT_PATTERN
from minigpt2.vocabulary import gpt2

SCALAR_VALUES = [*range(0xD800), *range(0xE000, 0x110000)]
CONTEXTS = ("{}'ve", " {}'s", "'{}'t")
ALIKE = range(0x20000, 0x110000)  # from plane 2 on whole blocks are of one class: one context shows which
PARTS = 4  # so that several processes share them


@cache
def transformers_tokenizer() -> Any:
    """transformers' GPT2Tokenizer on this package's `vocab.json` and `merges.txt`, padding as GPT-2's users do."""
    with TemporaryDirectory() as directory:
        Tokenizer().save_pretrained(directory)
        return load_in_transformers(Path(directory))


def load_in_transformers(directory: Path) -> Any:
    reference = transformers.GPT2Tokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"))
    reference.pad_token = reference.eos_token
    return reference


@cache
def tiktoken_encoding() -> tiktoken.Encoding:
    """tiktoken's encoding on this package's tokens; it takes a token's place among the merges for its id."""
    tokens = [data for token_id, data in gpt2().token_bytes.items() if token_id != 50256]
    return tiktoken.Encoding(
        "gpt2-of-this-package",
        pat_str=SPLIT_PATTERN,
        mergeable_ranks={data: token_id for token_id, data in enumerate(tokens)},
        special_tokens={"<|endoftext|>": 50256},
    )


def texts_of_every_character(part: int) -> Iterator[str]:
    """Every Unicode scalar value in every context, a line each, one of `PARTS` parts of them in texts of 20,000."""
    for start in range(part * 20_000, len(SCALAR_VALUES), PARTS * 20_000):
        yield "\n".join(
            context.format(chr(code_point))
            for code_point in SCALAR_VALUES[start : start + 20_000]
            for context in (CONTEXTS[:1] if code_point in ALIKE else CONTEXTS)
        )


def auto_tokenizer(directory: Path) -> Any:
    """transformers' tokenizer of a directory, or None where it cannot."""
    try:
        return transformers.AutoTokenizer.from_pretrained(str(directory))
    except Exception:  # it raises whatever its parts raise
        return None
