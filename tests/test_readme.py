"""The README's examples, commands and file names are true."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from minigpt2.cli import main

README = Path(__file__).parents[1] / "README.md"


def commands() -> list[tuple[str, str]]:
    """The README's commands that show an output, each with it."""
    blocks = re.findall(r"```console\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    shown = [part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, output) for command, _, output in shown if output.strip()]


def test_its_python_examples_give_what_they_show() -> None:
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert (failed, tried > 20) == (0, True)


@pytest.mark.parametrize(("command", "output"), commands(), ids=[command for command, _ in commands()])
def test_its_commands_print_what_it_shows(command: str, output: str, capfd: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(command)
    assert (program, main(arguments)) == ("minigpt2", 0)
    printed = capfd.readouterr().out.rstrip("\n").split("\n")
    assert printed == output.rstrip("\n").split("\n")


def test_the_files_it_names_are_there() -> None:
    for path in re.findall(r"`((?:scripts|docs|tests|minigpt2)/[\w./*]+)`", README.read_text("utf-8")):
        assert list(README.parent.glob(path)), path


def test_its_links_and_pictures_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text("utf-8"))
    assert "docs/weights.md" in links
    assert [link for link in links if not (README.parent / link).is_file()] == []


def test_it_has_at_most_260_lines() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 260
