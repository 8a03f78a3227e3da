"""The tokenizers that ours is measured beside, all with GPT-2's vocabulary."""

import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minigpt2 import Tokenizer
from minigpt2.vocabulary import gpt2
from tests.parity.references import tiktoken_encoding, transformers_tokenizer
from tests.readable import readable_ids

Encode = Callable[[str], Any]

SLOW = {"tokenizers", "transformers", "readable"}  # a few MB/s: measured on a part of the text


def rivals() -> dict[str, Callable[[], Encode]]:
    """By name, a function that makes a fresh encoder: one that has not seen any text yet."""
    makers: dict[str, Callable[[], Encode]] = {"tiktoken": lambda: tiktoken_encoding().encode_to_numpy}
    makers |= {name: make for name, make in (("gigatoken", _gigatoken), ("tokie", _tokie)) if find_spec(name)}
    makers["tokenizers"] = lambda: lambda text: _backend().encode(text).ids
    makers["transformers"] = lambda: transformers_tokenizer().encode
    makers["readable"] = lambda: partial(readable_ids, gpt2())
    return makers


def ours() -> Encode:
    """This package's encoder, fresh."""
    return Tokenizer().encode_to_numpy


def _backend() -> Any:
    return transformers_tokenizer().backend_tokenizer


def _gigatoken() -> Encode:
    from gigatoken import Tokenizer as Gigatoken

    encode: Encode = Gigatoken(_backend()).encode
    return encode


def _tokie() -> Encode:
    from tokie import Tokenizer as Tokie

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tokenizer.json"
        path.write_text(_backend().to_str(), "utf-8")
        tokenizer = Tokie.from_json(str(path))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids
