"""The output of commands fits the width of the terminal: digits are cut, then columns, then the ends of texts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2.cli.fitting import NARROWEST, fitted, needed
from minigpt2.explain.characters import display_width
from tests.command import Capture, answer, write_small_gpt2

pytestmark = pytest.mark.usefixtures("offline")

LONG_TEXT = "internationalization 😀😀 " + "-" * 80 + " 生命生命 supercalifragilistic"
WITH_MODEL = (
    ["params"],
    ["params", "--tree"],
    ["show", "wte.weight"],
    ["show", "h.0.attn.c_attn.weight"],
    ["stats", "wte.weight"],
    ["embed", LONG_TEXT[:30]],
    ["embed", "life", "--positions"],
    ["nearest", " life"],
    ["next", "The meaning of life is"],
    ["next", "The meaning of life is", "--lens"],
    ["explain", LONG_TEXT[:30]],
    ["explain", "life", "--steps"],
)
WITHOUT = (
    ["tokens", LONG_TEXT],
    ["explain", LONG_TEXT, "--part", "tokens"],
    ["explain", LONG_TEXT, "--part", "merges"],
    ["vocab"],
    ["vocab", "--longest", "5"],
    ["vocab", "--search", "magi"],
    ["vocab", "--odd"],
)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("arguments", [*WITH_MODEL, *WITHOUT], ids=" ".join)
def test_no_line_is_wider_than_the_terminal(
    arguments: list[str], width: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    model = ["--model", "bundled"] if arguments in WITH_MODEL else []
    lines = answer(capsys, *arguments, *model).splitlines()
    assert [line for line in lines if display_width(line) > width] == []


def test_a_comparison_fits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("one", "two"):
        write_small_gpt2(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    lines = answer(capsys, "diff", "./one", "./two").splitlines()
    assert [line for line in lines if display_width(line) > 60] == []


def test_without_a_terminal_nothing_is_cut(capsys: Capture) -> None:
    shown = answer(capsys, "show", "wte.weight", "--model", "bundled", "--rows", "0:1")
    assert max(len(cell) for cell in shown.split()) > len("-0.123")
    assert "…" not in answer(capsys, "tokens", "x" + "-" * 64)


def test_digits_go_before_columns_and_columns_before_texts() -> None:
    table = [["id", "token", " 0", " 1", "…", " 8", " 9"], ["7", "Ġlife", *["-0.12345678"] * 2, "…", *["0.5"] * 2]]
    assert fitted(table, needed(table)) == table
    assert fitted(table, 40)[1] == ["7", "Ġlife", "-0.123", "-0.123", "…", "0.5", "0.5"]
    assert fitted(table, 30)[0] == ["id", "token", " 0", "…", " 8", " 9"]
    assert fitted(table, 25)[0] == ["id", "token", " 0", "…", " 9"]
    assert fitted(table, 18)[0] == ["id", "token", "…", " 9"]


@given(
    st.lists(st.lists(st.text("ab 生", max_size=30), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(3 * NARROWEST + 4, 100),
)
def test_any_table_fits_into_what_its_cells_keep(rows: list[list[str]], width: int) -> None:
    assert needed(fitted([["one", "two", "three"], *rows], width)) <= width
