"""Interruptions: whatever ends a run, at any moment, the next one continues it or says why it cannot."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.corpus import tokenize
from minigpt2.corpus.journal import Journal, line_of
from minigpt2.corpus.output import Output
from tests.command import files_in
from tests.corpus.samples import DOCUMENTS, STORED, ids_of, lines_of, read


class _Killed(BaseException):
    """Stands for the end of the process."""


def interrupted(sources: Path, out: Path, tokenizer: Tokenizer, after: int, torn: bytes, **options: Any) -> bool:
    """Tokenize as a process that is killed before its chunk number `after` is written, in the middle of two writes."""
    added = 0
    add = Output.add
    scene = out.with_name("scene")

    def kill(self: Output, *arguments: object) -> None:
        nonlocal added
        if added == after:
            scene.mkdir()
            for suffix in [".partial", ".journal"]:
                left = out.with_name(out.name + suffix)
                (scene / left.name).write_bytes(left.read_bytes() + torn)
            raise _Killed
        added += 1
        add(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Output, "add", kill)
        try:
            tokenize(sources, out, tokenizer=tokenizer, resume=True, **options)
        except _Killed:
            shutil.copytree(scene, out.parent, dirs_exist_ok=True)
            shutil.rmtree(scene)
            return True
    return False


@pytest.mark.parametrize(
    ("after", "torn"), [(1, b""), (9, b'{"sou'), (26, b""), (43, b'{"sou'), (60, b""), (77, b'{"sou'), (0, b"")]
)
def test_killed_anywhere_it_can_be_resumed(
    after: int, torn: bytes, small: None, corpus: Path, tmp_path: Path, whole: tuple[bytes, bytes], tokenizer: Tokenizer
) -> None:
    kills = 0
    while interrupted(corpus, tmp_path / "out", tokenizer, after or 12, torn):
        assert not (tmp_path / "out").exists()
        kills += 1
        if after:
            tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, resume=True)
            break
    assert kills == 1 if after else kills > 5
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "out.json").read_bytes()) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out", "out.json"]


def test_files_from_before_1970_can_be_resumed(
    small: None, corpus: Path, tmp_path: Path, whole: tuple[bytes, bytes], tokenizer: Tokenizer
) -> None:
    for path in corpus.iterdir():
        os.utime(path, ns=(-1, -1))
    assert interrupted(corpus, tmp_path / "out", tokenizer, 12, b"")
    tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, resume=True)
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "out.json").read_bytes()) == whole


FORMATS: list[dict[str, Any]] = [
    {"output_format": "llm.c"},
    {"output_format": "megatron", "val_fraction": 0.2, "seed": 1},
    {"val_fraction": 0.1},
    {"separator": "'ll", "input_format": "text"},
]


@pytest.mark.parametrize("options", FORMATS, ids=str)
def test_every_format_is_resumed(options: dict[str, Any], small: None, tmp_path: Path, tokenizer: Tokenizer) -> None:
    sources, out, whole = (tmp_path / name for name in ("corpus", "out", "whole"))
    for directory in (sources, out, whole):
        directory.mkdir()
    for name in ["a.jsonl", "a.jsonl.gz"]:
        STORED[name](sources / name)
    tokenize(sources, whole / "train.bin", tokenizer=tokenizer, **options)
    for after in (2, 3, 2):
        assert interrupted(sources, out / "train.bin", tokenizer, after, b"", **options)
        assert {*files_in(out)} == {"train.bin.partial", "train.bin.journal"}
    tokenize(sources, out / "train.bin", tokenizer=tokenizer, resume=True, **options)
    assert files_in(out) == files_in(whole)


def test_killed_between_two_names_a_run_leaves_no_output_and_can_be_resumed(
    small: None, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    STORED["a.jsonl"](tmp_path / "a.jsonl")
    (tmp_path / "train.bin").write_text("of another corpus")
    replace = Path.replace

    def kill(self: Path, target: Path) -> Path:
        if target.name == "val.bin":
            os._exit(9)
        return replace(self, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "replace", kill)
        tokenize(tmp_path / "a.jsonl", tmp_path / "train.bin", tokenizer=tokenizer, val_fraction=0.3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "train.bin").exists() and not (tmp_path / "val.bin").exists()
    tokenize(tmp_path / "a.jsonl", tmp_path / "train.bin", tokenizer=tokenizer, val_fraction=0.3, resume=True)
    assert len(read(tmp_path / "train.bin")) + len(read(tmp_path / "val.bin")) == len(ids_of(*DOCUMENTS))
    assert {*files_in(tmp_path)} == {"a.jsonl", "train.bin", "train.bin.json", "val.bin"}


def test_an_error_leaves_what_can_be_resumed(small: None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine " * 100)
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"b\.txt is not UTF-8"):
        tokenize(f"{tmp_path}/*.txt", tmp_path / "out")
    with pytest.raises(ValueError, match=r"out.partial is there from an interrupted run: continue it with --resume"):
        tokenize(f"{tmp_path}/*.txt", tmp_path / "out")
    (tmp_path / "b.txt").write_text("café")  # it was not read yet, so it may change
    tokenize(f"{tmp_path}/*.txt", tmp_path / "out", resume=True)
    assert read(tmp_path / "out") == ids_of("fine " * 100, "café")


def test_what_was_interrupted_at_once_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8"):
        tokenize(tmp_path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_resuming_with_nothing_to_resume_starts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    tokenize(tmp_path / "a.txt", tmp_path / "out", resume=True)
    assert read(tmp_path / "out") == ids_of("a")


@pytest.fixture
def left(small: None, tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """Where `out` was interrupted while it was made of what is in `corpus`."""
    (tmp_path / "corpus").mkdir()
    for name in ["a.txt", "b.txt", "c.txt"]:
        (tmp_path / "corpus" / name).write_text("some text " * 20)
    assert interrupted(tmp_path / "corpus", tmp_path / "out", tokenizer, 5, b"")
    return tmp_path


def change_a_source(left: Path) -> None:
    (left / "corpus" / "a.txt").write_text("other text " * 20)


def add_a_source(left: Path) -> None:
    (left / "corpus" / "aa.txt").write_text("new")


def remove_a_source(left: Path) -> None:
    (left / "corpus" / "c.txt").unlink()


def cut_the_ids(left: Path) -> None:
    with (left / "out.partial").open("r+b") as file:
        file.truncate(3)


def damage_the_journal(left: Path) -> None:
    with (left / "out.journal").open("ab") as file:
        file.write(b"\x00\n")


def replace_the_journal(left: Path) -> None:
    (left / "out.journal").write_bytes(b"\x00\n" + (left / "out.journal").read_bytes())


def add_entry(left: Path, **changes: object) -> None:
    entry = {"source": 0, "start": 1, "tokens": 1, "tallies": {}, "states": {}} | changes
    with (left / "out.journal").open("ab") as file:
        file.write(line_of(entry))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_a_source, r"cannot continue: .*corpus/a\.txt changed; delete .*out\.partial to start over"),
        (add_a_source, r"cannot continue: sources changed: '.*b\.txt' then, '.*aa\.txt' now"),
        (remove_a_source, r"cannot continue: sources changed: '.*c\.txt' then, 'nothing' now"),
        (cut_the_ids, r"out\.partial is shorter than its journal says"),
        (damage_the_journal, r"out\.journal is damaged .*: delete it and out\.partial to start over"),
        (replace_the_journal, r"out\.journal is not a journal and would be replaced by one: delete it, or"),
        (partial(add_entry, states={"7": [1, 1]}), r"cannot continue: the journal speaks of source 7, and there are 3"),
        (partial(add_entry, states={"3": [1, 1]}), r"cannot continue: the journal speaks of source 3, and there are 3"),
        (partial(add_entry, tallies={"3": [1, 1, 1]}), r"cannot continue: the journal speaks of source 3"),
        (partial(add_entry, source=9), r"cannot continue: the journal speaks of source 9"),
        (partial(add_entry, tallies={"-1": [1, 1, 1]}), r"cannot continue: the journal speaks of source -1"),
    ],
)
def test_what_changed_cannot_be_resumed(change: Callable[[Path], None], message: str, left: Path) -> None:
    change(left)
    before = (left / "out.partial").read_bytes()
    with pytest.raises(ValueError, match=message):
        tokenize(left / "corpus", left / "out", resume=True)
    assert (left / "out.partial").read_bytes() == before


def test_other_options_cannot_be_resumed(left: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="cannot continue: errors changed: 'strict' then, 'ignore' now"):
        tokenize(left / "corpus", left / "out", resume=True, errors="ignore")
    with pytest.raises(ValueError, match="cannot continue: field changed: 'text' then, 'body' now"):
        tokenize(left / "corpus", left / "out", resume=True, field="body")
    tokenizer.save_pretrained(left)
    (left / "vocab.json").write_text(json.dumps(tokenizer.get_vocab() | {"ĠĠxĠĠ": 50257}))
    other = Tokenizer.from_files(left / "vocab.json", left / "merges.txt")
    with pytest.raises(ValueError, match="cannot continue: vocabulary changed"):
        tokenize(left / "corpus", left / "out", resume=True, tokenizer=other)


def test_a_shard_is_not_resumed_where_a_source_that_it_did_not_read_has_another_size(
    small: None, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    for name in ("a", "b"):
        (corpus / f"{name}.jsonl").write_bytes(lines_of(DOCUMENTS * 3))
    assert interrupted(corpus, out, tokenizer, 2, b"", shard=(2, 2))
    (corpus / "a.jsonl").write_bytes(lines_of(DOCUMENTS * 4))  # more of it belongs to this shard now
    with pytest.raises(ValueError, match=r"sources changed: '.*a\.jsonl, \d+ bytes' then, '.*a\.jsonl, \d+ bytes' now"):
        tokenize(corpus, out, tokenizer=tokenizer, shard=(2, 2), resume=True)


def test_a_stream_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a stream can be read once only: there is no --resume"):
        tokenize("-", tmp_path / "out", resume=True)
    assert not list(tmp_path.iterdir())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRY = {"source": 0, "start": 0, "tokens": 0, "tallies": {"0": [0, 0, 0]}, "states": {"0": [0, 0]}}
# Anything, or an entry with anything in one of its fields.
LINES = JSON | st.tuples(st.sampled_from([*ENTRY]), JSON).map(lambda field: ENTRY | {field[0]: field[1]})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.just({"dtype": "uint16"}) | LINES | st.binary(max_size=9), others=st.lists(LINES, max_size=2))
@example(first={"dtype": "uint16"}, others=[{"\n": None}])
def test_an_odd_journal_is_named_in_one_line(first: object, others: list[object], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "out.partial").write_bytes(b"\0\0")
    lines = [first + b"\n" if isinstance(first, bytes) else line_of(first), *map(line_of, others)]
    (tmp_path / "out.journal").write_bytes(b"".join(lines))
    try:
        tokenize(tmp_path / "a.txt", tmp_path / "out", resume=True)
    except ValueError as error:
        assert re.fullmatch(r".*(out\.journal is (damaged|not a journal)|cannot continue: ).*", str(error))
        assert (tmp_path / "out.partial").read_bytes() == b"\0\0"
        assert (tmp_path / "out.journal").read_bytes() == b"".join(lines)
    else:
        assert read(tmp_path / "out") == ids_of("a")


@given(data=st.data())
def test_a_journal_with_another_byte_is_damaged(data: st.DataObject, left: Path) -> None:
    journal = left / "out.journal"
    before = journal.read_bytes()
    index = data.draw(st.integers(0, len(before) - 2))  # without the last newline, the last line does not count
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte not in {before[index], ord("\n")}))
    journal.write_bytes(before[:index] + bytes([byte]) + before[index + 1 :])
    try:
        with pytest.raises(ValueError, match=r"out\.journal is (damaged|not a journal)"):
            tokenize(left / "corpus", left / "out", resume=True)
        assert journal.read_bytes() == before[:index] + bytes([byte]) + before[index + 1 :]
    finally:
        journal.write_bytes(before)


@pytest.mark.parametrize("step", ["is_ours", "remove", "close"])
def test_an_interrupt_as_a_broken_run_is_closed_leaves_the_output_for_the_next(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    work = getattr(Journal, step)

    def interrupted_step(self: Journal) -> Any:
        signal.raise_signal(signal.SIGINT)
        return work(self)

    def fail(self: Output, *_: object) -> None:
        monkeypatch.setattr(Journal, step, interrupted_step)
        raise MemoryError

    monkeypatch.setattr(Output, "add", fail)
    with pytest.raises(KeyboardInterrupt) as ended:
        tokenize(tmp_path / "a.txt", tmp_path / "out.bin")
    monkeypatch.undo()
    assert files_in(tmp_path) == {"a.txt": b"a"}
    assert tokenize(tmp_path / "a.txt", tmp_path / "out.bin").tokens == 2, ended  # which holds on to what was open


@pytest.mark.parametrize("output_format", ["bin", "megatron"])
def test_an_interrupt_as_the_files_take_their_names_comes_when_all_have_theirs(
    output_format: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    replace = Path.replace

    def interrupted_replace(self: Path, target: Path) -> Path:
        signal.raise_signal(signal.SIGINT)
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", interrupted_replace)
        tokenize(tmp_path / "a.txt", tmp_path / "out.bin", output_format=output_format)
    left = files_in(tmp_path)
    assert tokenize(tmp_path / "a.txt", tmp_path / "out.bin", output_format=output_format).tokens == 2
    assert files_in(tmp_path) == left
