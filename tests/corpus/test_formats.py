"""The files that training programs read, by readers that are stated here again from the formats' facts."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.corpus import formats, merge, tokenize
from minigpt2.corpus.formats import FileFormat, validation
from minigpt2.corpus.output import Output
from tests.corpus.samples import DOCUMENTS, END, ids_of, large_tokenizer, lines_of, read

MANY = [f"document {number} " * (number % 7) for number in range(200)]


def read_llm_c(path: Path) -> list[int]:
    """llm.c's `dataloader_open`: magic, version, the number of tokens, then so many uint16 and nothing else."""
    header = np.fromfile(path, "<i4", 256)
    tokens = np.fromfile(path, "<u2", offset=1024)
    assert header[:3].tolist() == [20240520, 1, len(tokens)] and not header[3:].any()
    return [*map(int, tokens)]


def read_megatron(path: Path) -> Iterator[list[int]]:
    """Megatron's `IndexedDataset`: each document by the index's offset and length."""
    index = path.with_suffix(".idx").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0"
    assert int.from_bytes(index[9:17], "little") == 1
    dtype = np.dtype({8: "<u2", 4: "<i4"}[index[17]])
    sequences, documents = np.frombuffer(index, "<u8", 2, 18).tolist()
    lengths = np.frombuffer(index, "<i4", sequences, 34)
    offsets = np.frombuffer(index, "<i8", sequences, 34 + lengths.nbytes)
    starts = np.frombuffer(index, "<i8", documents, 34 + lengths.nbytes + offsets.nbytes)
    assert len(index) == 34 + lengths.nbytes + offsets.nbytes + starts.nbytes
    assert starts.tolist() == [*range(sequences + 1)]
    for length, offset in zip(lengths.tolist(), offsets.tolist(), strict=True):
        yield np.fromfile(path, dtype, length, offset=offset).tolist()


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "many.jsonl").write_bytes(lines_of(MANY))
    return tmp_path / "many.jsonl"


@pytest.fixture
def blocks_of_some_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_BLOCK", 100)


def split(val_fraction: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """The documents for training and for validation."""
    is_val = validation(val_fraction, seed, 0, len(MANY))
    return tuple([text for text, val in zip(MANY, is_val, strict=True) if val == wanted] for wanted in (False, True))  # type: ignore[return-value]


def test_llm_c_reads_the_documents_each_after_its_end_of_text(lines: Path, blocks_of_some_ids: None) -> None:
    tokenize(lines, lines.with_name("train.bin"), output_format="llm.c")
    expected = [token_id for text in MANY for token_id in [END, *ids_of(text)[:-1]]]
    assert read_llm_c(lines.with_name("train.bin")) == expected
    assert json.loads(lines.with_name("train.bin.json").read_text())["output_format"] == "llm.c"
    assert sorted(path.name for path in lines.parent.iterdir()) == ["many.jsonl", "train.bin", "train.bin.json"]


def test_llm_c_has_further_files_where_one_is_full(
    lines: Path, blocks_of_some_ids: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_LLM_C_MOST", 501)
    tokenize(lines, lines.with_name("train.bin"), output_format="llm.c")
    parts = [read_llm_c(path) for path in sorted(lines.parent.glob("train*.bin"))]
    assert [*chain.from_iterable(parts)] == [token_id for text in MANY for token_id in [END, *ids_of(text)[:-1]]]
    assert {*map(len, parts[:-1])} == {501}
    files = json.loads(lines.with_name("train.bin.json").read_text())["files"]
    assert [each["path"] for each in files][:2] == ["train.bin", "train_000001.bin"]
    assert [each["tokens"] for each in files] == [*map(len, parts)]
    assert sum(each["documents"] for each in files) == len(MANY)


def test_a_further_file_of_another_corpus_is_not_mixed_in(lines: Path, small: None) -> None:
    lines.with_name("train_000001.bin").write_text("of another corpus")
    with pytest.raises(ValueError, match=r"train_000001\.bin would be read as a part of this corpus"):
        tokenize(lines, lines.with_name("train.bin"), output_format="llm.c")
    assert not lines.with_name("train.bin").exists()
    lines.with_name("train_000001.bin").unlink()
    tokenize(lines, lines.with_name("train.bin"), output_format="llm.c", resume=True)
    assert len(read_llm_c(lines.with_name("train.bin"))) == len(ids_of(*MANY))


def test_it_is_refused_before_the_work_of_what_cannot_be_continued(
    lines: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = lines.with_name("shard")
    tokenize(lines, shard, output_format="llm.c", shard=(1, 1))
    lines.with_name("train_000001.bin").write_text("of another corpus")
    monkeypatch.setattr(Output, "write", None)
    for work in (partial(merge, shard), partial(tokenize, "-", output_format="llm.c")):
        with pytest.raises(ValueError, match=r"train_000001\.bin would be read as a part of this corpus"):
            work(lines.with_name("train.bin"))


def test_megatron_reads_the_documents(lines: Path, blocks_of_some_ids: None) -> None:
    tokenize(lines, lines.with_name("train.bin"), output_format="megatron")
    assert [*read_megatron(lines.with_name("train.bin"))] == [ids_of(text) for text in MANY]
    assert read(lines.with_name("train.bin")) == ids_of(*MANY)


def test_megatron_reads_a_large_vocabulary(tmp_path: Path) -> None:
    large = large_tokenizer(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(lines_of(DOCUMENTS))
    tokenize(tmp_path / "a.jsonl", tmp_path / "out.bin", tokenizer=large, output_format="megatron")
    assert [*read_megatron(tmp_path / "out.bin")] == [ids_of(text) for text in DOCUMENTS]
    with pytest.raises(ValueError, match=r"llm\.c's files of GPT-2 hold two bytes a token"):
        tokenize(tmp_path / "a.jsonl", tmp_path / "out.bin", tokenizer=large, output_format="llm.c")


@given(st.fractions(0.001, 0.99), st.integers(0, 9), st.integers(0, 5000), st.integers(1, 3000))
def test_the_share_for_validation_is_exact_and_depends_on_nothing_but_number_and_seed(
    fraction: float, seed: int, first: int, count: int
) -> None:
    fraction = round(float(fraction), 4)
    is_val = validation(fraction, seed, 0, first + count)
    assert abs(is_val.sum() - fraction * (first + count)) <= 1
    assert np.array_equal(validation(fraction, seed, first, count), is_val[first:])


def test_another_seed_draws_other_documents() -> None:
    drawn = {tuple(np.flatnonzero(validation(0.01, seed, 0, 10_000))) for seed in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize(("name", "val_name"), [("train.bin", "val.bin"), ("ids.bin", "ids_val.bin")])
def test_a_share_of_the_documents_goes_to_a_second_file(
    name: str, val_name: str, lines: Path, blocks_of_some_ids: None
) -> None:
    counts = tokenize(lines, lines.with_name(name), val_fraction=0.1, seed=3)
    train, val = split(0.1, 3)
    assert (len(train), len(val)) == (180, 20)
    assert read(lines.with_name(name)) == ids_of(*train)
    assert read(lines.with_name(val_name)) == ids_of(*val)
    assert counts.documents == 200
    assert json.loads(lines.with_name(f"{name}.json").read_text())["files"] == [
        {"path": name, "tokens": len(ids_of(*train)), "documents": 180},
        {"path": val_name, "tokens": len(ids_of(*val)), "documents": 20},
    ]


def test_every_format_has_its_share_for_validation(lines: Path, blocks_of_some_ids: None) -> None:
    train, val = split(0.25)
    out = lines.with_name("train.bin")
    tokenize(lines, out, output_format="megatron", val_fraction=0.25)
    assert [*read_megatron(out)] == [ids_of(text) for text in train]
    assert [*read_megatron(out.with_name("val.bin"))] == [ids_of(text) for text in val]
    out = lines.with_name("llm_train.bin")
    tokenize(lines, out, output_format="llm.c", val_fraction=0.25)
    assert sorted(read_llm_c(out)) == sorted(ids_of(*train))
    assert sorted(read_llm_c(out.with_name("llm_val.bin"))) == sorted(ids_of(*val))


@given(st.integers(1, 30), st.floats(0.001, 0.999), st.integers(0, 9))
def test_too_few_documents_are_those_that_leave_a_file_without_any(documents: int, share: float, seed: int) -> None:
    is_val = validation(share, seed, 0, documents)
    if is_val.any() and not is_val.all():
        FileFormat(val_fraction=share, seed=seed).require_enough(documents)
    else:
        with pytest.raises(ValueError, match=rf"{documents} documents? (is|are) too few for a val_fraction of {share}"):
            FileFormat(val_fraction=share, seed=seed).require_enough(documents)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_too_few_documents_for_validation_leave_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minigpt2.corpus.output.INTERVAL", 600)  # a run that is not worth continuing, however slow
    (tmp_path / name).write_text('{"text": "a"}')
    for fraction in [0.5, 0.0005]:
        with pytest.raises(ValueError, match=r"1 document is too few for a val_fraction of .*--separator"):
            tokenize(tmp_path / name, tmp_path / "out", val_fraction=fraction)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_texts_too_few_for_validation_are_refused_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"not UTF-8: \xff")
    with pytest.raises(ValueError, match="too few"):
        tokenize(tmp_path / "a.txt", tmp_path / "out", val_fraction=0.1)


def test_a_long_run_with_too_few_documents_can_be_resumed_with_another_share(small: None, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines_of(["some text " * 20]))
    with pytest.raises(ValueError, match="too few"):
        tokenize(tmp_path / "a.jsonl", tmp_path / "out", val_fraction=0.1)
    tokenize(tmp_path / "a.jsonl", tmp_path / "out", resume=True)
    assert read(tmp_path / "out") == ids_of("some text " * 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_format": "mds"}, "the output format is one of bin, llm.c, megatron, not 'mds'"),
        ({"val_fraction": 1.0}, "val_fraction is a share of the documents, from 0 to less than 1, not 1.0"),
        (
            {"output_format": "megatron"},
            r"Megatron reads NAME\.bin and NAME\.idx: let the name end in \.bin, not .*out",
        ),
    ],
)
def test_an_output_that_is_not_possible_is_refused(options: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ValueError, match=message):
        tokenize(tmp_path / "a.txt", tmp_path / "out", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_large", [False, True], ids=["uint16", "int32"])
def test_megatron_files_are_those_of_datatroves_writer(is_large: bool, lines: Path, blocks_of_some_ids: None) -> None:
    datatrove = pytest.importorskip("datatrove.pipeline.tokens.megatron_tokenizer", reason="datatrove is not installed")
    theirs = datatrove.MegatronTokenizedFile(str(lines.parent), "theirs", token_size=4 if is_large else 2)
    for text in MANY:
        theirs.write(ids_of(text))
    theirs.close()
    tokenizer = large_tokenizer(lines.parent) if is_large else Tokenizer()
    tokenize(lines, lines.with_name("ours.bin"), tokenizer=tokenizer, output_format="megatron")
    for suffix in (".bin", ".idx"):
        assert lines.with_name(f"ours{suffix}").read_bytes() == lines.with_name(f"theirs{suffix}").read_bytes()
