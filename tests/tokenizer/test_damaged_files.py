"""Tokenizer files with something else where a value should be: opened or refused, never anything worse."""

import copy
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from tests.parity.made_up_tokenizers import MadeUp
from tests.parity.test_tokenizer_files import OPENS, one_file

JUNK = st.sampled_from([None, True, 0, -1, 1.5, float("inf"), float("nan"), "", "x", [], [None], ["x"], {}, {"a": 1}])
NAMED_TWICE = re.compile(r"(\S+\.json): (.*: )?\1: ")
FILES = [files for files in OPENS.values() if "merges.txt" not in files or "tokenizer_config.json" in files]


def paths(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in some JSON, except single tokens and merges."""
    children: list[tuple[Any, Any]] = []
    if isinstance(content, dict):
        children = list(content.items())[:40]
    elif isinstance(content, list):
        children = list(enumerate(content))[:3]
    return [path, *(each for key, child in children for each in paths(child, (*path, key)))]


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    content = copy.copy(content)
    content[path[0]] = replaced(content[path[0]], path[1:], value)
    return content


@settings(max_examples=300)
@given(st.data())
def test_any_value_may_be_something_else(data: st.DataObject) -> None:
    files = data.draw(st.sampled_from(FILES))
    name = data.draw(st.sampled_from(sorted(name for name in files if name.endswith(".json"))))
    path = data.draw(st.sampled_from(paths(files[name])))
    damaged = {**files, name: replaced(files[name], path, data.draw(JUNK))}
    with TemporaryDirectory() as directory:
        MadeUp(damaged).write(Path(directory))
        try:
            tokenizer = Tokenizer.from_pretrained(directory)
        except (ValueError, FileNotFoundError) as refusal:
            assert directory in str(refusal)
            assert not NAMED_TWICE.search(str(refusal))
        else:
            assert tokenizer.decode(tokenizer.encode("the <pad> thing")) is not None


@pytest.mark.parametrize("content", [b"\xff{", b"{", b"[" * 100_000, b"[]"], ids=["not UTF-8", "half", "deep", "list"])
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"]
)
def test_a_file_that_is_not_a_json_object_is_named_once(name: str, content: bytes, tmp_path: Path) -> None:
    MadeUp(one_file()).write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"not UTF-8|not JSON|expected an object") as refusal:
        Tokenizer.from_pretrained(tmp_path)
    assert str(refusal.value).count(str(tmp_path / name)) == 1


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1042301\n"


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "config.json"])
def test_a_pointer_of_git_lfs_is_named_as_one(name: str, tmp_path: Path) -> None:
    Tokenizer().save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{name}: a Git LFS pointer, .*: run `git lfs pull`"):
        Tokenizer.from_pretrained(tmp_path)
