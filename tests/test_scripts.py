"""The article's five scripts, run as a reader runs them."""

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from minigpt2 import Checkpoint
from tests.command import ROOT, environment

SCRIPTS = sorted((ROOT / "scripts").glob("article_*.py"))
Run = Callable[[str], str]


@pytest.fixture(scope="module")
def wte(small_model: Path) -> NDArray[np.float32]:
    return Checkpoint.open(small_model)["wte.weight"]


@pytest.fixture(scope="module")
def output(small_model: Path) -> Run:
    def run(name: str) -> str:
        script = [sys.executable, str(ROOT / "scripts" / name), str(small_model)]
        return subprocess.run(script, env=environment(), capture_output=True, check=True, text=True).stdout

    return run


def test_there_are_five() -> None:
    assert len(SCRIPTS) == 5


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_is_under_20_lines_and_uses_public_names_alone(script: Path) -> None:
    source = script.read_text("utf-8")
    imported = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert len(source.splitlines()) < 20
    assert imported == {"minigpt2"}


def test_step_1_lists_every_parameter_with_its_shape(output: Run) -> None:
    lines = output("article_1_parameters.py").splitlines()
    assert lines[0] == "transformer.wte.weight (50257, 8)"
    assert len(lines) == 28 + 1
    assert lines[-1] == "403,944 numbers"  # (50257 + 16) * 8 of wte and wpe, 872 a layer, 16 of ln_f


def test_step_2_shows_wte(output: Run, wte: NDArray[np.float32]) -> None:
    assert output("article_2_wte.py") == f"{wte}\n(50257, 8) float32\n"


def test_step_3_shows_the_first_five_tokens_and_their_vectors(output: Run, wte: NDArray[np.float32]) -> None:
    expected = "".join(f"{token_id} {token} {wte[token_id]}\n" for token_id, token in enumerate('!"#$%'))
    assert output("article_3_first_tokens.py") == expected


def test_step_4_encodes_the_prompt_as_a_list_and_as_an_array(output: Run) -> None:
    assert output("article_4_encode.py").splitlines() == [
        "['The', 'Ġmeaning', 'Ġof', 'Ġlife', 'Ġis']",
        "[464, 3616, 286, 1204, 318]",
        "[[ 464 3616  286 1204  318]]",
    ]


def test_step_5_shows_the_rows_of_the_prompts_ids(output: Run, wte: NDArray[np.float32]) -> None:
    assert output("article_5_rows.py") == f"{wte[[[464, 3616, 286, 1204, 318]]]}\n(1, 5, 8) float32\n"
