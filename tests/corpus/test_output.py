"""The output: the ids, and the summary beside them."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from minigpt2 import Tokenizer
from minigpt2.corpus import count, merge, tokenize
from minigpt2.corpus.journal import line_of
from tests.command import files_in
from tests.corpus.samples import END, ids_of, large_tokenizer, read
from tests.parity.made_up_tokenizers import BYTE_LEVEL, MadeUp
from tests.parity.test_tokenizer_files import BACKEND, one_file
from tests.test_vocabulary import PUBLISHED, sha256


def test_the_summary_says_what_made_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The meaning of life is")
    tokenize(f"{tmp_path}/a.txt", tmp_path / "train.bin")
    source = {"path": f"{tmp_path}/a.txt", "bytes": 22, "documents": 1, "tokens": 6}
    assert json.loads((tmp_path / "train.bin.json").read_text()) == {
        "dtype": "uint16",
        "byteorder": "little",
        "eos_token_id": END,
        "vocabulary": PUBLISHED,
        "tokens": 6,
        "documents": 1,
        "bytes": 22,
        "sources": [source],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "train.bin", "train.bin.json"]


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    large = large_tokenizer(tmp_path)
    (tmp_path / "a.txt").write_text("a b")
    tokenize(tmp_path / "a.txt", tmp_path / "out", tokenizer=large)
    assert read(tmp_path / "out", "<u4") == ids_of("a b")
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["dtype"] == "uint32"
    assert summary["vocabulary"]["vocab.json"] == sha256(tmp_path / "vocab.json")


def test_the_output_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b")
    (tmp_path / "real").write_text("old")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert read(tmp_path / "real") == ids_of("a b")


@pytest.mark.parametrize("suffix", [".json", ".partial", ".journal"])
def test_what_nobody_named_and_no_corpus_left_is_not_replaced(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b")
    (tmp_path / f"out{suffix}").write_text("{}")
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"out\{suffix} is .*replaced.* name another output"):
            tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", f"out{suffix}"]
    assert (tmp_path / f"out{suffix}").read_text() == "{}"


@pytest.mark.parametrize("suffix", [".json", ".partial", ".journal", ".idx", ".JSON"])
def test_ids_take_no_name_that_another_run_may_write_beside_its_own(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b")
    with pytest.raises(ValueError, match=rf"out\{suffix} is to hold ids, and a name in \{suffix} is that of another"):
        tokenize(tmp_path / "a.txt", tmp_path / f"out{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("directory", ["/", ".", ".."])
def test_an_output_that_is_a_directory_is_named(directory: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(IsADirectoryError, match="is a directory: name the file to write") as raised:
        tokenize(tmp_path / "a.txt", directory)
    assert raised.value.filename == directory


def test_a_summary_does_not_stay_beside_a_file_of_another_corpus(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    tokenize(tmp_path / "a.txt", tmp_path / "val.bin")
    tokenize(f"{tmp_path}/*.txt", tmp_path / "train.bin", val_fraction=0.3)
    assert sorted(path.name for path in tmp_path.glob("*.bin*")) == ["train.bin", "train.bin.json", "val.bin"]


@pytest.mark.parametrize(
    ("before", "stays"),
    [
        ({"output_format": "megatron"}, "out.idx"),
        ({"output_format": "llm.c", "val_fraction": 0.5}, "out_val.bin"),
        ({"val_fraction": 0.5}, "out_val.bin"),
    ],
)
@pytest.mark.parametrize("output_format", ["bin", "llm.c"])
def test_a_file_of_an_earlier_corpus_does_not_stay_beside_another(
    before: dict[str, Any], stays: str, output_format: str, tmp_path: Path
) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    tokenize(f"{tmp_path}/*.txt", tmp_path / "out.bin", **before)
    with pytest.raises(ValueError, match=rf"{stays} is of a corpus that was here before, .*: delete it"):
        tokenize(f"{tmp_path}/*.txt", tmp_path / "out.bin", output_format=output_format)
    (tmp_path / stays).unlink()
    tokenize(f"{tmp_path}/*.txt", tmp_path / "out.bin", output_format=output_format)


@pytest.mark.parametrize("output_format", ["bin", "llm.c"])
def test_nor_does_the_index_of_the_second_half_of_one(output_format: str, tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    tokenize(f"{tmp_path}/*.txt", tmp_path / "train.bin", output_format="megatron", val_fraction=0.5)
    for output, fraction in [("val.bin", 0), ("train.bin", 0.5)]:
        with pytest.raises(ValueError, match=r"\.idx is of a corpus that was here before, .*: delete it"):
            tokenize(f"{tmp_path}/*.txt", tmp_path / output, output_format=output_format, val_fraction=fraction)


@pytest.mark.parametrize(
    ("name", "others", "output_format"),
    [("train.bin", ["train", "train.u16", "train.npy"], "bin"), ("ids_000005.bin", ["ids.bin"], "llm.c")],
)
def test_the_index_of_a_corpus_that_stays_does_not_stop_one_beside_it(
    name: str, others: list[str], output_format: str, tmp_path: Path
) -> None:
    for document in "abcd":
        (tmp_path / f"{document}.txt").write_text(document)
    names = f"{tmp_path}/*.txt"
    tokenize(names, tmp_path / name, output_format="megatron", val_fraction=0.5)
    before = files_in(tmp_path)
    for other in others:
        tokenize(names, tmp_path / other, output_format=output_format, val_fraction=0.5)
    assert before.items() <= files_in(tmp_path).items()


def test_nor_is_a_file_of_a_third_corpus_taken_for_one_of_it(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    names, megatron = f"{tmp_path}/*.txt", dict[str, Any](output_format="megatron")
    tokenize(names, tmp_path / "train.bin", val_fraction=0.5, **megatron)
    tokenize(names, tmp_path / "val.bin", **megatron)
    tokenize(names, tmp_path / "train.bin", **megatron)
    for suffix in (".bin", ".idx", ".bin.json"):
        shutil.copy(tmp_path / f"train{suffix}", tmp_path / f"copy{suffix}")
    (tmp_path / "train.bin.json").unlink()
    tokenize(names, tmp_path / "copy.bin", **megatron)


@pytest.mark.parametrize("output_format", ["bin", "llm.c", "megatron"])
def test_the_mode_of_a_file_that_is_replaced_stays(output_format: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for _ in range(2):
        tokenize(tmp_path / "a.txt", tmp_path / "out.bin", output_format=output_format)
        (tmp_path / "out.bin").chmod(0o600)
    tokenize(tmp_path / "a.txt", tmp_path / "out.bin", output_format=output_format)
    assert (tmp_path / "out.bin").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("error", [OSError(errno.EBUSY, os.strerror(errno.EBUSY)), KeyboardInterrupt()], ids=repr)
def test_an_output_that_cannot_be_replaced_keeps_its_summary_and_the_rest_can_be_continued(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    before = files_in(tmp_path)

    replace = Path.replace

    def is_busy(path: Path, target: Path) -> Path:  # a mounted file, or one that is open on Windows
        if target.name == "out":
            raise error
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", is_busy)
    with pytest.raises(type(error)):
        tokenize(tmp_path / "b.txt", tmp_path / "out")
    monkeypatch.undo()
    assert {name: data for name, data in files_in(tmp_path).items() if name in before} == before
    tokenize(tmp_path / "b.txt", tmp_path / "out", resume=True)
    assert read(tmp_path / "out") == ids_of("b")
    assert json.loads((tmp_path / "out.json").read_text())["sources"][0]["path"] == str(tmp_path / "b.txt")


def test_an_interrupt_when_the_old_summary_has_moved_brings_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    before = files_in(tmp_path)
    rename = Path.rename

    def interrupt(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if path.name == "out.json":
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert {name: data for name, data in files_in(tmp_path).items() if name in before} == before


def test_a_merge_that_is_interrupted_as_it_takes_its_names_keeps_the_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a b c")
    tokenize(tmp_path / "a.txt", tmp_path / "shard", shard=(1, 1), output_format="llm.c")
    replace = Path.replace

    def interrupt(path: Path, target: Path) -> Path:
        if target.name == "out.json":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        merge(tmp_path / "shard", tmp_path / "out")
    monkeypatch.undo()
    assert read(tmp_path / "out.partial") == ids_of("a b c")
    with pytest.raises(ValueError, match=r"out\.partial is there without a journal and would be replaced: delete it"):
        merge(tmp_path / "shard", tmp_path / "out")


@pytest.mark.parametrize("fraction", [0, 0.5])
def test_an_empty_journal_of_a_validation_set_that_a_killed_run_left_is_no_document(
    fraction: float, tmp_path: Path
) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "val.bin.journal").touch()
    assert tokenize(tmp_path, tmp_path / "train.bin", val_fraction=fraction).documents == 4
    assert (tmp_path / "val.bin.journal").exists() == (fraction == 0)


@pytest.mark.parametrize("journal", [b"", line_of({"dtype": "uint16"})])
def test_what_an_interrupted_run_left_at_the_name_of_the_validation_set_stays(journal: bytes, tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "val.bin.partial").write_bytes(b"ids")
    (tmp_path / "val.bin.journal").write_bytes(journal)
    before = files_in(tmp_path)
    tokenize(f"{tmp_path}/*.txt", tmp_path / "train.bin", val_fraction=0.5)
    assert before.items() <= files_in(tmp_path).items()


@pytest.mark.parametrize(
    ("link", "target", "options"),
    [
        ("val.bin", "train.bin", {"val_fraction": 0.5}),
        ("val.bin", "a.txt", {"val_fraction": 0.5}),
        ("train.idx", "a.txt", {"output_format": "megatron"}),
        ("val.idx", "nothing", {"output_format": "megatron", "val_fraction": 0.5}),
    ],
)
def test_a_link_beside_the_output_is_not_followed(
    link: str, target: str, options: dict[str, Any], tmp_path: Path
) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    tokenize(f"{tmp_path}/*.txt", tmp_path / "train.bin")
    (tmp_path / link).symlink_to(target)
    before = files_in(tmp_path)
    with pytest.raises(ValueError, match=rf"{link} is a symbolic link, and what it leads to would be replaced: delete"):
        tokenize(f"{tmp_path}/*.txt", tmp_path / "train.bin", **options)
    assert files_in(tmp_path) == before


def test_an_empty_file_that_an_early_interrupt_left_does_not_stop_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "out.partial").touch()
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert files_in(tmp_path).keys() == {"a.txt", "out", "out.json"}


def test_a_summary_that_is_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.json").symlink_to("elsewhere/real.json")
    for _ in range(2):
        tokenize(tmp_path / "a.txt", tmp_path / "out")
        assert (tmp_path / "out.json").is_symlink()
        assert json.loads((tmp_path / "elsewhere" / "real.json").read_text())["tokens"] == 2


def test_the_summaries_of_other_corpora_stay(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for name in ("train_000002.bin", "train_000003.bin"):
        tokenize(tmp_path / "a.txt", tmp_path / name)
    tokenize(tmp_path / "a.txt", tmp_path / "train.bin", output_format="llm.c")
    assert {"train_000002.bin.json", "train_000003.bin.json"} <= {path.name for path in tmp_path.iterdir()}


def test_a_start_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a")
    real = Path.open

    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "out.partial":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="No space left on device"):
        tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["out.journal", "out.json"])
def test_another_users_file_that_is_in_the_way_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / name).touch()
    real = Path.open

    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(PermissionError) as raised:
        tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert raised.value.filename == str(tmp_path / name)


@pytest.mark.parametrize("name", ["train.bin", "train.bin.json", "val.bin", "val.bin.json"])
def test_another_users_file_that_cannot_be_replaced_is_named_at_the_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a;" * 100)
    options: dict[str, Any] = {"separator": ";", "val_fraction": 0.5}
    tokenize(tmp_path / "a.txt", tmp_path / "train.bin", **options)
    shutil.copy(tmp_path / "train.bin.json", tmp_path / "val.bin.json")
    for path in {*tmp_path.glob("*.bin*")} - {tmp_path / name}:
        path.unlink()
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    with pytest.raises(PermissionError, match="another user's file") as raised:
        tokenize(tmp_path / "a.txt", tmp_path / "train.bin", **options)
    assert raised.value.filename == str(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.txt", name])


@pytest.mark.parametrize("name", ["out", "out.json"])
def test_a_file_that_is_mounted_is_named_at_the_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    monkeypatch.setattr("minigpt2.atomic_write._is_mount_point", lambda path: path.name == name)
    with pytest.raises(OSError, match="a mount point") as raised:
        tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert raised.value.filename == str(tmp_path / name)


def test_only_what_a_run_made_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for name in (".out.parts.mine", ".out.parts.0123456789"):
        (tmp_path / name).mkdir()
    (tmp_path / ".out.parts.01234567").mkdir()  # as of a run that was killed
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".out.parts.0123456789", ".out.parts.mine"]


def test_what_a_killed_run_left_is_removed_where_it_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an overlay file system refuses it, a container's, for a directory of a layer below."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / ".out.parts.01234567").mkdir()
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.is_dir():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "out", "out.json"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize(("name", "options"), [("out.idx", {}), ("out_val.bin.json", {"val_fraction": 0.5})])
def test_a_pipe_beside_the_output_is_not_waited_for(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 2)
    os.mkfifo(tmp_path / name)
    tokenize(tmp_path / "a.jsonl", tmp_path / "out.bin", **options)


def test_there_must_be_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    assert count(tmp_path).tokens == 0
    with pytest.raises(ValueError, match=r"there is no document in .*a\.jsonl"):
        tokenize(tmp_path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_output_must_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(IsADirectoryError):
        tokenize(tmp_path / "a.txt", tmp_path)
    with pytest.raises(FileNotFoundError) as raised:
        tokenize(tmp_path / "a.txt", tmp_path / "no" / "out")
    assert raised.value.filename == str(tmp_path / "no" / "out")
    with pytest.raises(ValueError, match="/dev/null is not a file"):
        tokenize(tmp_path / "a.txt", "/dev/null")


@pytest.mark.parametrize("name", ["out.bin.json", "out.bin.partial", "out.bin.journal", "out.idx", "out_val.bin"])
def test_what_is_in_the_way_of_a_companion_is_named_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 2)
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"{re.escape(name)} is not a file"):
        tokenize(tmp_path / "a.jsonl", tmp_path / "out.bin", output_format="megatron", val_fraction=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", name]


def test_a_tokenizer_without_an_end_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    endless = Tokenizer()
    endless.eos_token = None
    with pytest.raises(ValueError, match="this tokenizer has no end-of-text token, which must follow each document"):
        tokenize(tmp_path / "a.txt", tmp_path / "out", tokenizer=endless)
    assert count(tmp_path / "a.txt", tokenizer=endless).tokens == 1


def test_an_end_of_text_that_also_occurs_in_text_cannot_tell_documents_apart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a.END")
    pointed = Tokenizer()
    pointed.eos_token = "."
    unknown = made_up(tmp_path / "unknown", "<s>", {"vocab": {"a": 0, "<s>": 1}, "unk_token": "<s>"})
    model = {"vocab": {"a": 0, ".": 1, "END": 2}, "ignore_merges": True}
    unmerged = made_up(tmp_path / "unmerged", "END", model)
    prefixed = made_up(tmp_path / "prefixed", "END", model, pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True})
    assert prefixed.settings.add_prefix_space
    for tokenizer, ids in (
        (pointed, [*Tokenizer().encode("a.END"), 13]),
        (unknown, [0, 1, 1, 1, 1, 1]),
        (unmerged, [0, 1, 2, 2]),
        (prefixed, [0, 1, 2, 2]),
    ):
        tokenize(tmp_path / "a.txt", tmp_path / "out", tokenizer=tokenizer)
        assert read(tmp_path / "out") == ids
        for options in ({"output_format": "megatron"}, {"val_fraction": 0.5}):
            named = f"this tokenizer's end of text, id {tokenizer.eos_token_id}, also occurs in text"
            with pytest.raises(ValueError, match=named):
                tokenize(tmp_path / "a.txt", tmp_path / "out.bin", tokenizer=tokenizer, **options)


def made_up(directory: Path, eos_token: str, model: dict[str, Any], **changes: Any) -> Tokenizer:
    """A tokenizer without merges."""
    directory.mkdir()
    config = BACKEND | {"eos_token": eos_token}
    files = {**one_file(model={"merges": [], **model}, **changes), "tokenizer_config.json": config}
    MadeUp(files).write(directory)
    return Tokenizer.from_pretrained(directory)
