"""Weights beside a tokenizer of another kind, or beside a part of one, are not read with GPT-2's ids."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from minigpt2 import GPT2, Tokenizer
from tests.command import Capture, complaint
from tests.parity.made_up_tokenizers import MadeUp
from tests.parity.references import auto_tokenizer
from tests.parity.test_tokenizer_files import GPT2 as GPT2_CLASS
from tests.parity.test_tokenizer_files import two_files
from tests.small_gpt2 import write_gpt2

TEXT = "The meaning of life is"
BERT = {"tokenizer_class": "BertTokenizer", "strip_accents": None}
OTHER_KINDS: list[dict[str, Any]] = [
    {"tokenizer_config.json": BERT, "vocab.txt": "[UNK]\nlife"},
    {"config.json": {"model_type": "gpt2", **BERT}},
    *({name: "x"} for name in ("vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model")),
    {"tekken.json": {}},
    {"vocab.json": two_files()["vocab.json"]},
    {"merges.txt": two_files()["merges.txt"]},
    {"encoder.json": two_files()["vocab.json"]},
    {"german-merges.txt": two_files()["merges.txt"], "german-vocab.json": two_files()["vocab.json"]},
    {"tokenizer_config.json": GPT2_CLASS},
    {"added_tokens.json": {"<pad>": 50257}},
]
all_kinds = pytest.mark.parametrize("files", OTHER_KINDS, ids=["+".join(files) for files in OTHER_KINDS])


def write_model(directory: Path, files: dict[str, Any]) -> None:
    """Write a small GPT-2 of as many tokens as GPT-2's tokenizer has, beside the files."""
    config = {"model_type": "gpt2", **files.get("config.json", {})}
    write_gpt2(directory, {"vocab_size": 50257, "n_layer": 1, "n_embd": 8}, **config)
    MadeUp({name: content for name, content in files.items() if name != "config.json"}).write(directory)


@all_kinds
def test_neither_transformers_nor_we_answer_with_gpt2s_ids(files: dict[str, Any], tmp_path: Path) -> None:
    write_model(tmp_path, files)
    theirs = auto_tokenizer(tmp_path)
    assert theirs is None or theirs(TEXT)["input_ids"] != Tokenizer().encode(TEXT)
    with pytest.raises(ValueError) as refused:
        Tokenizer.from_pretrained(tmp_path)
    assert str(refused.value).startswith(str(tmp_path / next(iter(files))))


@all_kinds
@pytest.mark.parametrize("name", ["model", "gpt2"])
def test_a_model_beside_it_takes_ids_and_refuses_text(
    name: str, files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / name).mkdir()
    write_model(tmp_path / name, files)
    monkeypatch.chdir(tmp_path)
    refusal = str(Path(name, next(iter(files))))
    for path in (name, str(Path(name, "model.safetensors"))):
        model = GPT2.from_pretrained(path)
        assert model.generate([464, 3616], 1).shape == (1, 3)
        with pytest.raises(ValueError, match=re.escape(refusal)):
            model.next_tokens(TEXT)
        assert refusal in complaint(capsys, "next", TEXT, "--model", path)
        assert refusal in complaint(capsys, "encode", TEXT, "--model", path)


def test_such_files_without_weights_do_not_make_a_folder_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpt2").mkdir()
    for name in ("de-vocab.json", "de-merges.txt"):
        (tmp_path / "gpt2" / name).write_text("x")
    monkeypatch.chdir(tmp_path)
    assert Tokenizer.from_pretrained("gpt2").encode(TEXT) == Tokenizer().encode(TEXT)


@pytest.mark.parametrize("name", ["labels_vocab.json", "clip-tokenizer.json", "._tokenizer.json", "de-merges.txt"])
def test_a_file_of_something_else_is_no_vocabulary(name: str, tmp_path: Path) -> None:
    write_model(tmp_path, {name: "x"})
    assert GPT2.from_pretrained(tmp_path).next_tokens(TEXT, k=1)


@pytest.mark.parametrize("name", ["gpt2", "gpt2-medium", "distilgpt2"])
def test_what_transformers_called_gpt2s_own_vocabulary_is_no_other(name: str, tmp_path: Path) -> None:
    files = two_files()
    write_model(tmp_path, {f"{name}-vocab.json": files["vocab.json"], f"{name}-merges.txt": files["merges.txt"]})
    assert GPT2.from_pretrained(tmp_path).next_tokens(TEXT, k=1)


def test_a_directory_that_cannot_be_listed_is_read_by_its_usual_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    write_model(tmp_path, {})
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert GPT2.from_pretrained(tmp_path).next_tokens(TEXT, k=1)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "vocab.txt"])
def test_a_link_that_leads_nowhere_is_not_taken_for_a_missing_file(name: str, tmp_path: Path, capsys: Capture) -> None:
    write_model(tmp_path, {})
    (tmp_path / name).symlink_to("../blobs/gone")
    with pytest.raises(ValueError, match=rf"{name}: this symbolic link leads nowhere"):
        GPT2.from_pretrained(tmp_path).next_tokens(TEXT)
    assert f"{name}: this symbolic link leads nowhere" in complaint(capsys, "next", TEXT, "--model", tmp_path)
    Tokenizer().save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "added_tokens.json").symlink_to("../blobs/gone")
    with pytest.raises(ValueError, match=r"added_tokens\.json: this symbolic link leads nowhere"):
        Tokenizer.from_pretrained(tmp_path / "saved")


def test_weights_without_any_file_of_a_tokenizer_are_read_with_gpt2s(tmp_path: Path) -> None:
    write_model(tmp_path, {"config.json": {"tokenizer_class": None}})
    assert GPT2.from_pretrained(tmp_path).next_tokens(TEXT, k=1)
