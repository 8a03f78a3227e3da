"""The bundled model: which commands fall back to it, which do not, and what is said where its numbers are shown."""

import json
import re
from pathlib import Path

import pytest

from minigpt2 import Checkpoint, Embeddings, HubError, Tokenizer
from minigpt2.cli import main
from minigpt2.explain.server import ExplainServer
from minigpt2.weights.bundled import LABEL, is_bundled
from tests.command import Capture, answer, complaint, write_small_gpt2

pytestmark = pytest.mark.usefixtures("offline")

FALL_BACK = (
    ["tour", "--no-pause"],
    ["explain", " life"],
    ["nearest", " life"],
    ["next", " life"],
    ["generate", " life", "--max-new-tokens", "1"],
)
DO_NOT = (
    ["next", " life", "--json"],
    ["generate", " life", "--json"],
    ["nearest", " life", "--json"],
    ["params"],
    ["show", "wte.weight"],
    ["stats", "wte.weight"],
    ["embed", " life"],
    ["embed", " life", "-o", "rows.npy"],
    ["embed", " life", "--json"],
    ["extract", "out.safetensors", "wte.weight"],
)


@pytest.mark.parametrize("arguments", FALL_BACK, ids=" ".join)
def test_a_command_that_teaches_falls_back_and_says_so(arguments: list[str], capsys: Capture) -> None:
    assert LABEL in answer(capsys, *arguments)


@pytest.mark.parametrize("arguments", FALL_BACK, ids=" ".join)
def test_a_model_that_was_asked_for_is_never_replaced(arguments: list[str], capsys: Capture) -> None:
    assert "`--model bundled`" in complaint(capsys, *arguments, "--model", "gpt2")


@pytest.mark.parametrize("arguments", FALL_BACK, ids=" ".join)
def test_another_model_is_shown_without_the_label(arguments: list[str], tmp_path: Path, capsys: Capture) -> None:
    write_small_gpt2(tmp_path)
    Tokenizer().save_pretrained(tmp_path)
    assert LABEL not in answer(capsys, *arguments, "--model", tmp_path)


@pytest.mark.parametrize("arguments", DO_NOT, ids=" ".join)
def test_any_other_output_fails_and_names_the_bundled_model(arguments: list[str], capsys: Capture) -> None:
    assert "`--model bundled`" in complaint(capsys, *arguments)


def test_the_page_may_fall_back_because_it_carries_the_label(tmp_path: Path, capsys: Capture) -> None:
    answer(capsys, "explain", " life", "-o", tmp_path / "page.html")
    (data,) = re.findall(r'id="trace">(.*?)</script>', (tmp_path / "page.html").read_text("utf-8"), re.S)
    assert json.loads(data)["rows"]["label"] == LABEL


def test_the_live_page_may_fall_back_because_it_carries_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    monkeypatch.setattr(ExplainServer, "serve_forever", lambda server: pages.append(server.page()))
    assert main(["serve", "--port", "0"]) == 0
    assert main(["serve", "--port", "0", "--model", "gpt2"]) == 1
    assert len(pages) == 1
    assert LABEL in pages[0]


def test_json_of_explain_has_no_rows_rather_than_the_bundled_ones(capsys: Capture) -> None:
    assert main(["explain", " life", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["rows"] is None
    assert "`--model bundled`" in printed.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["params"],
        ["params", "--tree"],
        ["show", "wte.weight"],
        ["stats", "wte.weight"],
        ["embed", " life"],
        ["nearest", " life"],
        ["next", " life"],
        ["next", " life", "--lens"],
        ["generate", " life", "--max-new-tokens", "1"],
        ["explain", " life"],
        ["tour", "--no-pause"],
    ],
    ids=" ".join,
)
def test_every_command_takes_it_by_name_and_labels_its_tables(arguments: list[str], capsys: Capture) -> None:
    assert LABEL in answer(capsys, *arguments, "--model", "bundled")


def test_python_opens_it_by_its_own_method_alone() -> None:
    assert is_bundled(Checkpoint.bundled())
    assert Embeddings(Checkpoint.bundled()).tokens([464]).shape == (1, 8)
    for open_gpt2 in (Checkpoint.from_pretrained, Checkpoint.remote):
        with pytest.raises(HubError, match=r"Checkpoint\.bundled\(\) is a small model that needs no network"):
            open_gpt2("gpt2")


def test_a_copy_of_it_says_what_it_is(tmp_path: Path, small_bundled_model: Path) -> None:
    (tmp_path / "copy.safetensors").write_bytes((small_bundled_model / "model.safetensors").read_bytes())
    assert is_bundled(Checkpoint.open(tmp_path / "copy.safetensors"))
    write_small_gpt2(tmp_path / "other")
    assert not is_bundled(Checkpoint.open(tmp_path / "other"))
