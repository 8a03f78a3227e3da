"""Shards: parts of a corpus that any number of machines tokenize in any order, and merge to the bytes of the whole."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.corpus import merge, tokenize
from minigpt2.corpus.documents import Reader
from minigpt2.corpus.output import Output
from minigpt2.corpus.shards import Shard, shares
from minigpt2.corpus.sources import Source, find
from tests.command import files_in, limit_files, one_line, run
from tests.corpus.samples import DOCUMENTS, ids_of, lines_of, read
from tests.parity.made_up_tokenizers import TOKENS, MadeUp
from tests.parity.test_tokenizer_files import BACKEND, one_file

OPTIONS: list[dict[str, Any]] = [
    {},
    {"separator": "'ll"},
    {"output_format": "llm.c"},
    {"output_format": "megatron", "val_fraction": 0.2, "seed": 5},
]


def write_shards(sources: Path, directory: Path, count: int, tokenizer: Tokenizer, **options: Any) -> list[Path]:
    """Tokenize a corpus in shards, the last first."""
    directory.mkdir(exist_ok=True)
    paths = [directory / f"{number}.bin" for number in range(count, 0, -1)]
    for number, path in zip(range(count, 0, -1), paths, strict=True):
        tokenize(sources, path, tokenizer=tokenizer, shard=(number, count), **options)
    return paths


@pytest.mark.parametrize("count", [1, 2, 3, 17])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_shards_merge_to_the_bytes_of_the_whole(
    options: dict[str, Any], count: int, small: None, corpus: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    whole.mkdir()
    merged.mkdir()
    tokenize(corpus, whole / "train.bin", tokenizer=tokenizer, **options)
    merge(write_shards(corpus, tmp_path / "shards", count, tokenizer, **options), merged / "train.bin")
    assert files_in(merged) == files_in(whole)


def test_shards_one_after_the_other_are_the_whole(
    corpus: Path, tmp_path: Path, whole: tuple[bytes, bytes], tokenizer: Tokenizer
) -> None:
    shards = write_shards(corpus, tmp_path / "shards", 4, tokenizer)
    assert b"".join(path.read_bytes() for path in reversed(shards)) == whole[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    files=st.lists(st.lists(st.text("ab\n'", max_size=30), max_size=9), min_size=1, max_size=5),
    count=st.integers(1, 9),
    are_lines=st.booleans(),
)
def test_every_document_is_in_exactly_one_shard(
    files: list[list[str]], count: int, are_lines: bool, tmp_path: Path
) -> None:
    directory = tmp_path / "files"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for number, texts in enumerate(files):
        data = lines_of(texts) if are_lines else "|>".join(texts).encode()
        (directory / f"{number}.{'jsonl' if are_lines else 'txt'}").write_bytes(data)
    sources, reader = find([directory]), Reader(separator="|>")
    parts = [share for number in range(count) for share in shares(sources, reader, Shard(number + 1, count))]
    ends: dict[Source, int] = {}
    for source, start, stop in parts:
        assert start == ends.get(source, 0)
        ends[source] = source.size if stop is None else stop
    assert ends == {source: source.size for source in sources}


def test_shards_of_lines_are_about_equal(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines_of(["some words"] * 1000))
    (tmp_path / "b.jsonl").write_bytes(lines_of(["some words"] * 3000))
    sizes = [
        sum(share.size for share in shares(find([tmp_path]), Reader(), Shard(number, 8))) for number in range(1, 9)
    ]
    assert max(sizes) - min(sizes) < 100


def test_a_shard_may_have_no_document(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_text("a")
    shards = write_shards(tmp_path / "a.txt", tmp_path / "shards", 3, tokenizer)
    assert sorted(path.stat().st_size for path in shards) == [0, 0, 4]
    merge(shards, tmp_path / "out")
    assert read(tmp_path / "out") == ids_of("a")


def test_a_shard_is_resumed(small: None, tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines_of(DOCUMENTS * 9) + b"[]\n" + lines_of(DOCUMENTS * 2))
    with pytest.raises(ValueError, match="is not a JSON object"):
        tokenize(tmp_path / "a.jsonl", tmp_path / "2", tokenizer=tokenizer, shard=(2, 2))
    with pytest.raises(ValueError, match="cannot continue: shard changed: '2/2' then, '1/2' now"):
        tokenize(tmp_path / "a.jsonl", tmp_path / "2", tokenizer=tokenizer, shard=(1, 2), resume=True)


def copy_of_a_shard(shards: list[Path], tokenizer: Tokenizer) -> None:
    for suffix in ("", ".json"):
        shutil.copy(f"{shards[0]}{suffix}", f"{shards[0].with_name('copy.bin')}{suffix}")
    shards.append(shards[0].with_name("copy.bin"))


def lose_a_shard(shards: list[Path], tokenizer: Tokenizer) -> None:
    shards.pop(1)


def lose_two_shards(shards: list[Path], tokenizer: Tokenizer) -> None:
    del shards[:2]


def cut_a_shard(shards: list[Path], tokenizer: Tokenizer) -> None:
    shards[0].write_bytes(shards[0].read_bytes()[:-1])


def name_a_file_that_is_not_a_shard(shards: list[Path], tokenizer: Tokenizer) -> None:
    shards[0].with_name("3.bin.json").write_text('{"tokens": 1}')


def name_an_unfinished_shard(shards: list[Path], tokenizer: Tokenizer) -> None:
    shards[0].with_name("3.bin.json").unlink()


def use_a_shard_of_other_files(shards: list[Path], tokenizer: Tokenizer) -> None:
    (shards[0].parent / "other.txt").write_text("other")
    tokenize(shards[0].parent / "other.txt", shards[0], tokenizer=tokenizer, shard=(3, 3))


def use_a_shard_with_other_options(shards: list[Path], tokenizer: Tokenizer) -> None:
    tokenize(shards[0].parents[1] / "corpus", shards[0], tokenizer=tokenizer, shard=(3, 3), errors="ignore")


def use_a_shard_of_another_number(shards: list[Path], tokenizer: Tokenizer) -> None:
    tokenize(shards[0].parents[1] / "corpus", shards[0], tokenizer=tokenizer, shard=(3, 4))


def use_a_shard_of_a_tokenizer_that_puts_a_space_before_each_text(shards: list[Path], tokenizer: Tokenizer) -> None:
    other = Tokenizer(more=replace(tokenizer.settings, add_prefix_space=True))
    tokenize(shards[0].parents[1] / "corpus", shards[0], tokenizer=other, shard=(3, 3))


@pytest.mark.parametrize("fuses", [False, True])
def test_shards_of_tokenizers_that_take_unknown_bytes_differently_are_refused(fuses: bool, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a xx a")
    for number, fuse_unk in enumerate((fuses, not fuses), start=1):
        vocabulary = {token: index for index, token in enumerate(TOKENS) if token != "x"}
        model = {"vocab": vocabulary, "unk_token": "a", "fuse_unk": fuse_unk}
        config = BACKEND | {"eos_token": "the"}
        (tmp_path / f"{number}").mkdir()
        MadeUp({**one_file(model=model), "tokenizer_config.json": config}).write(tmp_path / f"{number}")
        tokenizer = Tokenizer.from_pretrained(tmp_path / f"{number}")
        tokenize(tmp_path / "a.txt", tmp_path / f"{number}.bin", tokenizer=tokenizer, shard=(number, 2))
    with pytest.raises(ValueError, match=r"another corpus than .*: vocabulary is"):
        merge([tmp_path / "1.bin", tmp_path / "2.bin"], tmp_path / "all.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (copy_of_a_shard, r"3\.bin and .*copy\.bin are both shard 3/3"),
        (lose_a_shard, r"a shard is missing: 2/3"),
        (lose_two_shards, r"shards are missing: 2/3, 3/3"),
        (cut_a_shard, r"3\.bin has [\d,]+ bytes, and not the [\d,]+ of the shard"),
        (name_a_file_that_is_not_a_shard, r"3\.bin is not a finished shard"),
        (name_an_unfinished_shard, r"3\.bin is not a finished shard"),
        (use_a_shard_of_other_files, r"3\.bin is a shard of another corpus than .*1\.bin: sources is '1, SHA-256"),
        (use_a_shard_with_other_options, r"3\.bin is a shard of another corpus than .*: errors is 'ignore' there"),
        (use_a_shard_of_a_tokenizer_that_puts_a_space_before_each_text, r"another corpus than .*: vocabulary is"),
        (use_a_shard_of_another_number, r"3\.bin is a shard of another corpus than .*: count is 4 there and 3 here"),
    ],
)
def test_what_is_not_every_shard_of_one_corpus_is_refused(
    change: Callable[[list[Path], Tokenizer], None], message: str, corpus: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    shards = write_shards(corpus, tmp_path / "shards", 3, tokenizer)
    change(shards, tokenizer)
    with pytest.raises(ValueError, match=message):
        merge(shards, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def changed(value: Any) -> Iterator[Any]:
    """JSON values with one thing in them missing, too many, or something else."""
    yield from (None, True, -1, 1.5, "x", [], {}, [[]], {"x": 1}, 10**30)
    if isinstance(value, dict):
        yield {**value, "more": 1}
        for key in value:
            yield {other: value[other] for other in value if other != key}
            yield from ({**value, key: each} for each in changed(value[key]))
    if isinstance(value, list):
        yield [*value, *value]
        for index, item in enumerate(value):
            yield from ([*value[:index], each, *value[index + 1 :]] for each in changed(item))


def test_a_damaged_summary_of_a_shard_is_refused_by_its_name(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines_of(DOCUMENTS))
    shards = write_shards(tmp_path / "a.jsonl", tmp_path / "shards", 2, tokenizer)
    whole = merge(shards, tmp_path / "whole")
    path = shards[0].with_name(f"{shards[0].name}.json")
    summary = json.loads(path.read_text())
    for damaged in changed(summary):
        path.write_text(json.dumps(damaged))
        try:
            assert merge(shards, tmp_path / "out").tokens == whole.tokens
            assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
        except ValueError as error:
            assert shards[0].name in str(error) or "missing" in str(error)


def test_of_many_missing_shards_the_first_are_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines_of(DOCUMENTS))
    tokenize(tmp_path / "a.jsonl", tmp_path / "1", tokenizer=tokenizer, shard=(1, 10**6))
    with pytest.raises(ValueError, match=r"shards are missing: 2/10{6}, 3/10{6}, 4/10{6}, 5/10{6} and 999,995 more$"):
        merge(tmp_path / "1", tmp_path / "out")


def test_a_merge_names_the_file_that_cannot_be_written_or_read(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a" * 10_000)
    tokenize(tmp_path / "a.txt", tmp_path / "1", tokenizer=tokenizer, shard=(1, 1))
    full = run("merge", str(tmp_path / "1"), "-o", str(tmp_path / "all"), **limit_files(1000))
    assert (full.returncode, one_line(full.stderr)) == (1, f"minigpt2: {tmp_path / 'all'}: File too large\n")

    def fail(path: Path) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="Input/output error") as raised:
        merge(tmp_path / "1", tmp_path / "all")
    assert raised.value.filename == str(tmp_path / "1.json")


def test_a_shard_may_be_named_by_a_symbolic_link(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "elsewhere").mkdir()
    link, target = tmp_path / "1", tmp_path / "elsewhere" / "shard"
    link.symlink_to(target)
    tokenize(tmp_path / "a.txt", link, tokenizer=tokenizer, shard=(1, 1))
    assert merge(link, tmp_path / "all").documents == 1
    with pytest.raises(ValueError, match="1 is a shard, and the corpus would be written over it"):
        merge(link, target.with_name("shard.json"))


def test_a_merge_does_not_write_over_a_shard(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_text("a")
    shards = write_shards(tmp_path / "a.txt", tmp_path / "shards", 2, tokenizer)
    before = files_in(tmp_path / "shards")
    for output in [shards[0], shards[1].with_name(f"{shards[1].name}.json")]:
        with pytest.raises(ValueError, match="is a shard, and the corpus would be written over it: name another"):
            merge(shards, output)
    assert files_in(tmp_path / "shards") == before


def test_a_shard_that_changes_while_it_is_merged_is_named(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    (shard,) = write_shards(tmp_path / "a.txt", tmp_path / "shards", 1, tokenizer)

    class Later(Output):
        def __enter__(self) -> Output:
            shard.write_bytes(shard.read_bytes()[:2])
            return super().__enter__()

    monkeypatch.setattr("minigpt2.corpus.merging.Output", Later)
    with pytest.raises(ValueError, match=f"{shard.name} changed while it was read"):
        merge(shard, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "shards"]


def test_what_cannot_be_a_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a stream can be read once only: there is no --shard with - or a pipe"):
        tokenize("-", tmp_path / "out", shard=(1, 2))
    for shard in [(0, 2), (3, 2)]:
        with pytest.raises(ValueError, match="a shard is I of N, from 1 to N"):
            tokenize(tmp_path, tmp_path / "out", shard=shard)
    with pytest.raises(ValueError, match="nothing to merge: name the shards"):
        merge([], tmp_path / "out")


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("change", ["reversed", "rotated", "edited"])
def test_shards_of_a_source_that_was_rewritten_between_them_are_refused(
    change: str, count: int, tmp_path: Path
) -> None:
    """Otherwise documents would be lost and others doubled, without a word."""
    lines = [json.dumps({"text": f"document {number:03}"}) for number in range(100)]
    changed = {
        "reversed": lines[::-1],
        "rotated": [*lines[1:], lines[0]],
        "edited": [line.replace("ument", "tor") + " " * 2 for line in lines],
    }[change]
    source = tmp_path / "a.jsonl"
    shards = [tmp_path / f"{number}.bin" for number in range(1, count + 1)]
    for number, shard in enumerate(shards, start=1):
        source.write_text("\n".join(lines if number == 1 else changed))
        tokenize(source, shard, shard=(number, count))
    with pytest.raises(ValueError, match=r"1\.bin, .*2\.bin.*: a source was changed between"):
        merge(shards, tmp_path / "all.bin")
    assert not (tmp_path / "all.bin").exists()
    tokenize(source, shards[0], shard=(1, count))
    assert merge(shards, tmp_path / "all.bin").documents == 100


def test_so_they_are_where_the_source_was_rewritten_while_a_shard_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"text": f"document {number:03}"}) for number in range(100)]
    sources = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    sources[0].write_text("\n".join(lines))
    sources[1].write_text(lines[0])
    shards = [tmp_path / "1.bin", tmp_path / "2.bin"]
    add = Output.add

    def add_and_rewrite(output: Output, encoded: Any) -> None:
        add(output, encoded)
        sources[0].write_text("\n".join(lines[::-1]))

    with monkeypatch.context() as patched:
        patched.setattr(Output, "add", add_and_rewrite)
        tokenize(sources, shards[1], shard=(2, 2))
    tokenize(sources, shards[0], shard=(1, 2))
    with pytest.raises(ValueError, match="a source was changed between"):
        merge(shards, tmp_path / "all.bin")


def test_the_summary_of_a_shard_says_which_it_is(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name in ["a.txt", "b.txt"]:
        (tmp_path / name).write_text("The meaning of life is")
    half: Any = np.float32(0.5)
    tokenize(f"{tmp_path}/*.txt", tmp_path / "2", tokenizer=tokenizer, shard=(2, 2), val_fraction=half)
    shard = json.loads((tmp_path / "2.json").read_text())["shard"]
    assert (shard["number"], shard["count"], shard["indices"]) == (2, 2, [1])
    assert (shard["of"]["val_fraction"], shard["of"]["sources"][:2]) == (0.5, "2,")
