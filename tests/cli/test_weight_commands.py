"""The commands that read weights: parameters, rows, neighbours, and what is said where there are none."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from minigpt2 import GPT2, Checkpoint, Embeddings, Tokenizer
from minigpt2.cli import main
from tests.command import Capture, answer, complaint, environment, one_line, run, write_small_gpt2
from tests.hub_settings import imported_with
from tests.small_gpt2 import write_gpt2


@pytest.fixture(scope="module")
def wte(model: Path) -> NDArray[np.float32]:
    array: NDArray[np.float32] = Checkpoint.open(model)["wte.weight"]
    return array


# ---- params and show


def test_params_lists_names_dtypes_shapes_counts_and_totals(model: Path, capsys: Capture) -> None:
    weights = Checkpoint.open(model)
    table, _, totals = answer(capsys, "params", "--model", model).partition("\n\n")
    rows = [re.split(r"  +", line) for line in table.splitlines()[1:]]
    assert [row[0] for row in rows] == [name for name, _ in weights.named_parameters()]
    assert rows[0] == ["transformer.wte.weight", "F32", "(50257, 8)", "402,056"]
    assert totals.splitlines() == [
        f"28 parameters: {weights.num_parameters():,} numbers, {4 * weights.num_parameters():,} bytes",
        "not counted: 2 more tensors of the file, such as h.0.attn.bias: causal masks, which are not parameters",
        "not counted: lm_head.weight, which is wte.weight again",
    ]


@pytest.mark.parametrize(
    ("pattern", "count"), [("wte.weight", 1), ("transformer.wte*", 1), ("h.1.*", 12), ("*bias", 13)]
)
def test_params_selects_by_pattern(pattern: str, count: int, model: Path, capsys: Capture) -> None:
    listed = json.loads(answer(capsys, "params", pattern, "--json", "--model", model))
    assert len(listed["parameters"]) == count
    assert listed["num_parameters"] == sum(each["count"] for each in listed["parameters"])


def test_params_of_a_pattern_is_a_part_of_the_models(model: Path, capsys: Capture) -> None:
    printed = answer(capsys, "params", "wte.weight", "--model", model)
    assert printed.endswith("\n\n1 parameter: 402,056 numbers of the model's 403,944, 1,608,224 bytes\n")


def test_params_says_when_nothing_matches(model: Path, capsys: Capture) -> None:
    assert "'wte'" in complaint(capsys, "params", "wte", "--model", model)


def test_params_as_a_tree_has_totals_of_every_part_and_layer(model: Path, capsys: Capture) -> None:
    weights = Checkpoint.open(model)
    lines = answer(capsys, "params", "--tree", "--model", model).partition("\n\n")[0].splitlines()[1:]
    rows = {line.split()[0]: re.split(r"  +", line.strip()) for line in lines}
    for part, row in rows.items():
        below = [name for name in weights.parameter_names() if name == part or name.startswith(part + ".")]
        infos = [weights.info(name) for name in below]
        assert below and row[1] == "F32"
        assert row[-2:] == [f"{sum(info.size for info in infos):,}", f"{sum(info.nbytes for info in infos):,}"]
    assert set(weights.parameter_names()) < set(rows)
    assert {"transformer", "transformer.h", "transformer.h.1", "transformer.h.1.attn.c_proj"} < set(rows)
    assert rows["transformer.h"][2] == "2 layers" and rows["transformer.wpe.weight"][2] == "(16, 8)"


def test_params_as_a_tree_of_a_pattern_sums_what_matches(model: Path, capsys: Capture) -> None:
    printed = answer(capsys, "params", "--tree", "*.bias", "--model", model)
    assert re.search(r"^transformer +F32 +184 +736$", printed, re.M), printed
    assert "wte" not in printed


def test_show_prints_the_first_and_last_values_of_rows(model: Path, wte: NDArray[np.float32], capsys: Capture) -> None:
    title, _, *rows = answer(capsys, "show", "wte.weight", "--rows", "3:5", "--model", model).splitlines()
    assert title == "wte.weight: F32 (50257, 8), 2 of 50,257 rows"
    assert [row.split() for row in rows] == [
        [str(index), *map(str, wte[index, :3]), "…", *map(str, wte[index, -3:])] for index in (3, 4)
    ]


@pytest.mark.parametrize(
    ("rows", "indices"),
    [("7", [7]), ("-1", [50256]), (":2", [0, 1]), ("-2:", [50255, 50256]), ("::20000", [0, 20000, 40000]), ("9:3", [])],
)
def test_show_takes_rows_as_python_writes_them(
    rows: str, indices: list[int], model: Path, wte: NDArray[np.float32], capsys: Capture
) -> None:
    shown = json.loads(answer(capsys, "show", "transformer.wte.weight", f"--rows={rows}", "--json", "--model", model))
    assert [row["row"] for row in shown["rows"]] == indices
    np.testing.assert_array_equal(
        np.array([row["values"] for row in shown["rows"]] or wte[:0], np.float32), wte[indices]
    )


@pytest.mark.parametrize("name", ["h.0.ln_1.bias", "h.0.attn.bias", "lm_head.weight"])
def test_show_takes_tensors_of_any_shape(name: str, model: Path, capsys: Capture) -> None:
    array = Checkpoint.open(model)[name]
    assert answer(capsys, "show", name, "--model", model).startswith(f"{name}: F32 {array.shape}, ")
    shown = json.loads(answer(capsys, "show", name, "--rows", ":", "--json", "--model", model / "model.safetensors"))
    np.testing.assert_array_equal([row["values"] for row in shown["rows"]], array)


def test_show_names_what_there_is_not(model: Path, capsys: Capture) -> None:
    assert "no tensor 'wte.wight'; close to it: wte.weight" in complaint(capsys, "show", "wte.wight", "--model", model)
    assert "50257 rows, so there is no row 60000" in complaint(
        capsys, "show", "wte.weight", "--rows", "60000", "--model", model
    )


def test_json_has_no_nan_and_no_infinity(tmp_path: Path, capsys: Capture) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    tensors = {"a": np.array([np.nan, np.inf, -np.inf, 1.0]), "NaN": np.ones(1)}
    save_file(tensors, tmp_path / "a.safetensors")
    save_file({"a": np.ones(4), "NaN": np.zeros(1)}, tmp_path / "b.safetensors")
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for arguments in (["show", "a", "--model", paths[0]], ["stats", "a", "--model", paths[0]], ["diff", *paths]):
        json.loads(answer(capsys, *arguments, "--json"), parse_constant=refuse)
    shown = json.loads(answer(capsys, "show", "a", "--json", "--model", paths[0]))
    assert [row["values"] for row in shown["rows"]] == [None, None, None, 1.0]
    assert json.loads(answer(capsys, "show", "NaN", "--json", "--model", paths[0]))["name"] == "NaN"


# ---- embed and nearest


def test_embed_prints_a_row_a_token(model: Path, wte: NDArray[np.float32], capsys: Capture) -> None:
    title, _, *rows = answer(capsys, "embed", "The meaning", "--model", model).splitlines()
    assert title == "wte[id]: float32 (2, 8)"
    assert [row.split() for row in rows] == [
        [str(index), str(i), token, *map(str, wte[i, :3]), "…", *map(str, wte[i, -3:])]
        for index, (i, token) in enumerate([(464, "The"), (3616, "Ġmeaning")])
    ]


@pytest.mark.parametrize("positions", [False, True])
def test_embed_saves_the_rows_bit_for_bit(positions: bool, model: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "rows"
    options = ["--positions"] if positions else []
    printed = answer(capsys, "embed", "The meaning of life is", "-o", file, "--model", model, *options)
    assert printed == f"{file}: float32 (5, 8)\n"
    embeddings = Embeddings(Checkpoint.open(model))
    ids = Tokenizer().encode("The meaning of life is")
    saved = np.load(file)
    expected = embeddings(ids) if positions else embeddings.tokens(ids)
    assert (saved.dtype, saved.tobytes()) == (expected.dtype, expected.tobytes())
    assert list(tmp_path.iterdir()) == [file]


def test_embed_json_has_every_value(model: Path, wte: NDArray[np.float32], capsys: Capture) -> None:
    listed = json.loads(answer(capsys, "embed", "--json", " life", "--model", model))
    assert [(each["position"], each["id"], each["token"]) for each in listed] == [(0, 1204, "Ġlife")]
    np.testing.assert_array_equal(np.array(listed[0]["values"], np.float32), wte[1204])


@pytest.mark.parametrize(
    "arguments",
    [
        ("download", ""),
        ("diff", "", "."),
        ("diff", ".", ""),
        *(
            (*command, "--model", "")
            for command in (("params",), ("show", "wte.weight"), ("next", "hi"), ("encode", "hi"))
        ),
    ],
    ids=" ".join,
)
def test_an_empty_name_of_a_model_is_refused_and_not_the_current_directory(
    model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(model)
    assert "the name is empty" in complaint(capsys, *arguments, status=2)


def test_embed_refuses_an_empty_text_and_too_long_a_one(model: Path, capsys: Capture) -> None:
    assert "the text is empty" in complaint(capsys, "embed", "", "--model", model)
    assert "17 ids are more than the model's 16" in complaint(
        capsys, "embed", " a" * 17, "--positions", "--model", model
    )


@pytest.mark.parametrize("token", [[" life"], ["Ġlife"], ["--id", "1204"]], ids=" ".join)
def test_nearest_takes_a_token_as_text_as_written_or_by_id(token: list[str], model: Path, capsys: Capture) -> None:
    listed = json.loads(answer(capsys, "nearest", *token, "-k", "4", "--json", "--model", model))
    expected = Embeddings(Checkpoint.open(model)).nearest(1204, 4)
    assert [(each["id"], each["cosine"]) for each in listed] == expected
    assert [each["token"] for each in listed] == Tokenizer().convert_ids_to_tokens([i for i, _ in expected])


def test_nearest_prints_a_table_of_ten(model: Path, capsys: Capture) -> None:
    lines = answer(capsys, "nearest", " life", "--model", model).splitlines()
    assert lines[0] == "nearest to 1204, Ġlife, ' life':"
    assert lines[1].split() == ["cosine", "id", "token", "text"]
    assert len(lines) == 2 + 10


def test_nearest_says_which_tokens_a_text_is(model: Path, capsys: Capture) -> None:
    error = complaint(capsys, "nearest", " lifelike", "--model", model)
    assert "' lifelike' is 3 tokens, not one: ' lif' (3868) 'el' (417) 'ike' (522)" in error
    assert "is 0 tokens" in complaint(capsys, "nearest", "", "--model", model)
    assert "50257" in complaint(capsys, "nearest", "--id", "50257", "--model", model)


def test_rows_beyond_the_vocabulary_have_no_name(tmp_path: Path, capsys: Capture) -> None:
    tensors = write_small_gpt2(tmp_path)
    larger = {**tensors, "wte.weight": np.vstack([tensors["wte.weight"], tensors["wte.weight"][1204:1205] * 2])}
    save_file(larger, tmp_path / "model.safetensors")
    Tokenizer().save_pretrained(tmp_path)
    listed = json.loads(answer(capsys, "nearest", " life", "-k", "1", "--json", "--model", tmp_path))
    assert [(each["id"], each["token"]) for each in listed] == [(50257, "")]


def test_weights_without_a_vocabulary_are_read_with_gpt2s_and_say_so(tmp_path: Path, capsys: Capture) -> None:
    write_small_gpt2(tmp_path)
    assert main(["embed", "life", "--model", str(tmp_path)]) == 0
    assert capsys.readouterr().err == f"minigpt2: {tmp_path} has no vocabulary beside its weights: using GPT-2's\n"


@pytest.mark.parametrize("command", ["embed", "next", "generate", "explain", "loss -", "nearest"])
def test_a_model_with_too_few_tokens_for_gpt2s_vocabulary_is_refused_with_the_way_out(
    command: str, tmp_path: Path
) -> None:
    write_gpt2(tmp_path)
    arguments = [*command.split(), *([] if command == "loss -" else ["life"])]
    said = one_line(run(*arguments, "--model", str(tmp_path), stdin=b"life").stderr)
    counts = "has 101 tokens and GPT-2's tokenizer 50257"
    assert said == f"minigpt2: {tmp_path} {counts}: put the model's own vocabulary beside its weights\n"


def test_so_are_not_those_whose_vocabulary_has_just_gone(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another process removes or replaces the file between the look for it and the reading of it."""
    write_small_gpt2(tmp_path)
    Tokenizer().save_pretrained(tmp_path)

    def gone(vocab_file: Path, merges_file: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(vocab_file))

    monkeypatch.setattr("minigpt2.tokenizer_files.bpe_model.read_vocab_and_merges", gone)
    error = complaint(capsys, "embed", "life", "--model", tmp_path)
    assert error == f"minigpt2: {tmp_path / 'vocab.json'}: No such file or directory\n"
    with pytest.raises(FileNotFoundError, match=r"vocab\.json"):
        _ = GPT2.from_pretrained(tmp_path).tokenizer


# ---- names that are made to disturb a terminal

HOSTILE = "\x1b[2J\x1b]0;owned\x07\nminigpt2: fine\r\u202e\x9b31m\u2028"


@pytest.mark.parametrize(
    "arguments",
    [
        ["params", "--model", "{model}"],
        ["params", "--tree", "--model", "{model}"],
        ["params", HOSTILE, "--model", "{model}"],
        ["show", HOSTILE, "--model", "{model}"],
        ["show", HOSTILE, "--rows", "9", "--model", "{model}"],
        ["show", HOSTILE[:-1], "--model", "{model}"],
        ["stats", HOSTILE, "--model", "{model}"],
        ["stats", HOSTILE[:-1], "--model", "{model}"],
        ["diff", "{model}", "{other}", "--all"],
        ["diff", "{other}", "{model}"],
        ["diff", "{model}", "{model}", "--all"],
        ["extract", "{output}", HOSTILE, "--model", "{model}"],
        ["extract", "{output}", HOSTILE[1:], "--model", "{model}"],
        ["params", "--model", "{strange}"],
        ["show", "x", "--model", "{strange}"],
        ["nearest", HOSTILE, "--model", "{model}"],
        ["embed", HOSTILE, "--model", "{model}"],
        ["tokens", HOSTILE],
        ["show", "x", "--model", HOSTILE],
        ["show", "x", "--model", "./" + HOSTILE],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_name_sends_no_escape_and_no_new_line_to_a_terminal(
    arguments: list[str], tmp_path: Path, capsys: Capture
) -> None:
    tensors = write_small_gpt2(tmp_path / "model")
    save_file(tensors | {HOSTILE: np.zeros(3)}, tmp_path / "model" / "model.safetensors")
    save_file(tensors | {HOSTILE: np.ones(3)}, tmp_path / "other.safetensors")
    save_file({HOSTILE: np.ones(3), f"{HOSTILE}.wte.weight": np.ones(3)}, tmp_path / "strange.safetensors")
    paths = {"model": tmp_path / "model", "output": tmp_path / "output"}
    paths |= {name: tmp_path / f"{name}.safetensors" for name in ("other", "strange")}
    main([argument.format(**paths) for argument in arguments])
    printed = capsys.readouterr()
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))
    assert not any(line.startswith("minigpt2: fine") for line in (printed.out + printed.err).split("\n"))


# ---- models that cannot be had


@pytest.mark.parametrize("arguments", [["params"], ["show", "wte.weight"], ["embed", "x"], ["nearest", "x", "--json"]])
def test_without_weights_a_command_fails_in_one_line(arguments: list[str], capsys: Capture) -> None:
    with imported_with(environment()):
        assert "gpt2: model.safetensors" in complaint(capsys, *arguments)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("<!doctype html><title>not found</title>")
    assert str(path) in complaint(capsys, "params", "--model", path)
    assert str(tmp_path / "none.safetensors") in complaint(capsys, "params", "--model", tmp_path / "none.safetensors")
