"""`minigpt2 explain` in the terminal: trees, steps, colours where they are wanted, widths that are right."""

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt2 import Checkpoint, Tokenizer
from minigpt2.explain import explain
from minigpt2.explain.characters import display_width, segments, visible
from minigpt2.explain.merge_tree import draw
from minigpt2.explain.terminal import MOST_PRETOKENS, MOST_TOKENS, render
from minigpt2.weights.bundled import LABEL
from tests.command import Capture, answer, complaint, environment, on_a_terminal, one_line, run
from tests.conftest import hurtful_texts

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


pytestmark = pytest.mark.usefixtures("offline")


# ---- what is shown of characters


def test_what_has_no_shape_is_shown() -> None:
    assert visible(b"a \t\n\r\x00\x7f") == "a·→↵␍␀␡"
    assert visible("\xa0\u200b\u202e\ufeff\ufe0f\u3164\ufdd0".encode()) == (
        "‹U+00A0›‹U+200B›‹U+202E›‹U+FEFF›‹U+FE0F›‹U+3164›‹U+FDD0›"
    )
    assert visible("\u0301x".encode()) == "◌\u0301x"
    assert visible(" 😀".encode()[:3] + "é".encode()) == "·⟨f0 9f⟩é"


@given(text=hurtful_texts())
def test_any_text_is_shown_in_one_line_that_prints(text: str) -> None:
    shown = visible(text.encode())
    assert len(shown.splitlines()) <= 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", shown)


@given(text=hurtful_texts())
def test_what_is_no_sign_is_the_text_itself(text: str) -> None:
    itself = "".join(shown for shown, is_sign in segments(text.encode()) if not is_sign)
    signs = [character for character in text if visible(character.encode()) != character]
    marks = {character for character in text if visible(character.encode()) == f"◌{character}"}
    assert itself.replace("◌", "") == "".join(c for c in text if c not in signs or c in marks).replace("◌", "")


# ---- the text in its tokens


def test_without_colours_pretokens_are_apart_and_their_tokens_divided(tokenizer: Tokenizer) -> None:
    lines = list(render(explain(tokenizer, "It's naïveté,\nnot 生命")))
    assert lines[:2] == ["It  's  ·na|ï|vet|é  ,  ↵", "not  ·⟨e7⟩|⟨94⟩|⟨9f⟩|⟨e5 91⟩|⟨bd⟩"]


def test_with_colours_the_bare_text_is_the_tokens_joined(tokenizer: Tokenizer) -> None:
    first = next(render(explain(tokenizer, "It's naïveté"), colour=True))
    assert ESCAPE.sub("", first) == "It's·naïveté"
    assert len(set(ESCAPE.findall(first))) == 1 + 1 + 2 + 1  # It, 's, the last in two shades; and the end of each


@given(text=hurtful_texts())
def test_the_ids_are_those_of_encode(text: str, tokenizer: Tokenizer) -> None:
    _, _, below = "\n".join(render(explain(tokenizer, f"{text}."), width=60)).partition("\n\n")
    assert [int(word) for word in below.partition("\n\n")[0].split()] == tokenizer.encode(f"{text}.")


# ---- the merges


def test_a_tree_has_bytes_at_the_top_and_tokens_at_the_bottom(tokenizer: Tokenizer) -> None:
    assert draw(explain(tokenizer, " lifelike").pretokens[0], 80) == [
        "Ġ    l    i    f    e    l    i    k    e",
        "20   6c   69   66   65   6c   69   6b   65",
        "└─44─┘    └105─┘    └161─┘    │    └109─┘",
        "  └───3612──┘         │       └─266──┘",
        "     Ġlif            el         ike",
        "     3868            417        522",
    ]


@given(text=hurtful_texts())
def test_any_tree_ends_in_the_tokens_and_fits(text: str, tokenizer: Tokenizer) -> None:
    recorded = [each for each in explain(tokenizer, text, allowed_special=()).pretokens if each.merges is not None]
    for pretoken in recorded:
        lines = draw(pretoken, 2000)
        assert lines is not None
        assert max(map(display_width, lines)) <= 2000
        assert lines[0].split() == list(pretoken.characters)
        assert "".join(lines[1].split()) == pretoken.data.hex()
        assert lines[-2].split() == tokenizer.convert_ids_to_tokens(list(pretoken.ids))
        assert lines[-1].split() == list(map(str, pretoken.ids))
        ranks = sorted(int(number) for line in lines[2:-2] for number in re.findall(r"\d+", line))
        assert ranks == sorted(merge.rank for merge in pretoken.merges or ())


def test_trees_that_do_not_fit_side_by_side_stand_below_each_other(tokenizer: Tokenizer) -> None:
    (pretoken,) = explain(tokenizer, "Donaudampfschifffahrt").pretokens
    lines = draw(pretoken, 40)
    assert lines is not None
    assert max(map(len, lines)) <= 40
    assert "".join(re.findall(r"[A-Za-z]+", " ".join(line for line in lines if not re.match(r"[0-9a-f]{2} ", line))))


def test_a_token_too_wide_for_a_tree_is_said_to_be(tokenizer: Tokenizer) -> None:
    shown = " ".join(" ".join(render(explain(tokenizer, "-" * 16), width=40)).split())
    assert "16 bytes, a tree too wide for this terminal: --steps lists its merges" in shown


@given(text=hurtful_texts())
def test_the_steps_are_the_merges_in_their_order(text: str, tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, text)
    different = {(each.text, each.branch): each for each in trace.pretokens}
    merges = [merge for each in different.values() for merge in each.merges or () if len(each.data) > 1]
    chosen = [re.match(r" +→ (.+)  rank (\d+),", line) for line in render(trace, width=10_000, steps=True)]
    assert [(each[1], int(each[2])) for each in chosen if each] == [(merge.token, merge.rank) for merge in merges]


def test_a_step_shows_the_pair_and_what_it_was_chosen_from(tokenizer: Tokenizer) -> None:
    lines = list(render(explain(tokenizer, " life"), steps=True))
    place = lines.index("   1  [Ġ l] i f e")
    assert lines[place + 1] == "      → Ġl  rank 44, the lowest of Ġl 44, if 105, li 4272, fe 4780"
    assert lines[place + 6 : place + 8] == ["   4  [Ġl ife]", "      → Ġlife  rank 948, the only pair"]
    assert lines[-1] == "      one token: nothing is left to merge"


def test_equal_pretokens_are_shown_once(tokenizer: Tokenizer) -> None:
    lines = list(render(explain(tokenizer, "life life life")))
    assert sum("characters " in line and "letters" in line for line in lines) == 2


def test_a_long_text_is_shown_by_its_beginning_and_says_so(tokenizer: Tokenizer) -> None:
    lines = list(render(explain(tokenizer, " ".join(f"w{number}" for number in range(3000)))))
    assert f"the first {MOST_TOKENS:,} tokens are shown above" in " ".join(lines)
    assert sum(", letters" in line or ", numbers" in line for line in lines) == MOST_PRETOKENS
    assert re.search(r"and [\d,]+ more different pretokens: --json has every one", lines[-1])


def test_a_pretoken_whose_merges_are_not_recorded_says_so(tokenizer: Tokenizer) -> None:
    assert "  1,000 bytes → 250 tokens: merges are recorded up to 256 bytes" in render(explain(tokenizer, "a" * 1000))


def test_an_empty_text_is_said_to_be(capsys: Capture) -> None:
    assert answer(capsys, "explain", "") == "The text is empty, so it has no tokens.\n"


def test_wide_characters_take_two_columns(tokenizer: Tokenizer) -> None:
    text = "の" * 80
    lines = list(render(explain(tokenizer, text), width=41))
    shown = lines[: lines.index("")]
    assert "".join(shown).replace("|", "") == text
    assert all(36 <= display_width(line) <= 41 for line in shown[:-1])


# ---- the rows


def test_rows_are_shown_with_their_bytes_and_neighbours(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    trace = explain(tokenizer, " life", weights)
    assert trace.rows is not None
    begin, end = trace.rows.wte.row(1204)
    (line,) = [line for line in render(trace, width=200) if line.startswith("1204  ·life")]
    first = "  ".join(near.token.replace("Ġ", "·") for near in trace.rows.neighbours[1204][:3])
    values = " ".join(f"{value:+.2f}" for value in weights["wte.weight"][1204, :3])
    assert line == f"1204  ·life  {values} …  {first}  {begin:,} to {end:,}"


@pytest.mark.parametrize("part", ["rows", "attention", "lens", "next"])
def test_numbers_of_the_bundled_model_are_labelled(part: str, tokenizer: Tokenizer, small_bundled_model: Path) -> None:
    trace = explain(tokenizer, "life", Checkpoint.open(small_bundled_model))
    assert next(render(trace, width=100, part=part)) == LABEL


@example(text="-" * 70, width=60, steps=True)
@given(text=hurtful_texts(), width=st.integers(60, 120), steps=st.booleans())
def test_no_line_is_wider_than_the_terminal(text: str, width: int, steps: bool, tokenizer: Tokenizer) -> None:
    for line in render(explain(tokenizer, text, allowed_special=()), width=width, steps=steps):
        assert display_width(line) <= width


# ---- the command


def test_the_command_shows_the_trace(
    tokenizer: Tokenizer, small_bundled_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = answer(capsys, "explain", "The meaning of life is")
    trace = explain(tokenizer, "The meaning of life is", Checkpoint.open(small_bundled_model))
    assert shown.splitlines() == list(render(trace, width=100))


def test_the_command_shows_rows_of_a_model(small_model: Path, capsys: Capture) -> None:
    shown = answer(capsys, "explain", "--model", small_model, " life")
    assert "wte.weight: F32 (50257, 8), 32 bytes a row, in model.safetensors" in shown
    assert "minigpt2 download" not in shown


def test_the_command_reads_standard_input_exactly(tokenizer: Tokenizer) -> None:
    shown = run("explain", stdin="é \n".encode()).stdout.decode().splitlines()
    assert shown[:3] == ["é  ·|↵", "", " ".join(map(str, tokenizer.encode("é \n")))]


def test_special_tokens_are_special_unless_ordinary(capsys: Capture) -> None:
    assert "\n50256\n" in answer(capsys, "explain", "<|endoftext|>")
    assert "\n27 91 437 1659 5239 91 29\n" in answer(capsys, "explain", "--ordinary", "<|endoftext|>")


def test_colours_are_for_terminals_that_want_them() -> None:
    assert ESCAPE.search(on_a_terminal("explain", "It's life", TERM="xterm", NO_COLOR=""))
    assert not ESCAPE.search(on_a_terminal("explain", "It's life", TERM="xterm", NO_COLOR="1"))
    assert not ESCAPE.search(on_a_terminal("explain", "It's life", TERM="dumb", NO_COLOR=""))
    assert b"\x1b" not in run("explain", "It's life", env=environment(NO_COLOR="")).stdout


def test_control_characters_of_a_text_never_reach_the_terminal() -> None:
    shown = on_a_terminal("explain", "\x1b[31mred\x07\x9b2J\u202e", NO_COLOR="1")
    assert not re.search("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202e]", shown)


def test_bad_input_is_one_line(capsys: Capture, tmp_path: Path) -> None:
    assert "not UTF-8" in one_line(run("explain", stdin=b"\xff").stderr)
    assert "--open" in complaint(capsys, "explain", "x", "--open", "--json")
    assert "no_such" in complaint(capsys, "explain", "x", "--model", tmp_path / "no_such.safetensors")
    assert "gpt2: model.safetensors" in complaint(capsys, "explain", "x", "--model", "gpt2")
    assert "--help` tells more)" in complaint(capsys, "explain", "x", "--steps", "--json", status=2)


def test_the_name_of_a_file_of_weights_moves_no_cursor(small_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J\n\u202ex.safetensors"
    shutil.copy(small_model / "model.safetensors", path)
    shown = "\n".join(render(explain(Tokenizer(), "life", Checkpoint.open(path)), part="rows", width=200))
    assert "in a\\x1b[2J\\n\\u202ex.safetensors" in shown
