"""Tokenizers that are saved here, opened by the transformers that is installed, which may be version 4."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minigpt2 import AddedToken, Tokenizer
from tests.parity.made_up_tokenizers import MadeUp
from tests.parity.references import auto_tokenizer
from tests.parity.test_tokenizer_files import one_file

TEXT = "Hello <a> and <b>, <|endoftext|>the thing <pad>"

CHANGES: dict[str, Callable[[Tokenizer], Any]] = {
    "nothing": lambda tokenizer: None,
    "a token": lambda tokenizer: tokenizer.add_tokens(["<a>"]),
    "a token with flags": lambda tokenizer: tokenizer.add_tokens([AddedToken("<a>", lstrip=True, rstrip=True)]),
    "a role": lambda tokenizer: tokenizer.add_special_tokens({"pad_token": "<pad>"}),
    "special tokens without a role": lambda tokenizer: tokenizer.add_special_tokens(
        {"extra_special_tokens": [AddedToken("<a>", rstrip=True, special=True), "<b>"]}
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_backend", [False, True])
def test_a_saved_tokenizer_opens_as_the_same(is_backend: bool, change: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer()
    if is_backend:
        MadeUp(one_file() | {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}).write(tmp_path)
        tokenizer = Tokenizer.from_pretrained(tmp_path)
    CHANGES[change](tokenizer)
    tokenizer.save_pretrained(tmp_path / "saved")
    judge = auto_tokenizer(tmp_path / "saved")
    assert judge.encode(TEXT) == tokenizer.encode(TEXT)
    assert judge.all_special_tokens == tokenizer.all_special_tokens
    assert len(judge) == len(tokenizer)
