"""The text that a command works on: its argument, or standard input."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt2.atomic_write import naming
from minigpt2.cli import streams
from minigpt2.standard_input import is_standard_input

if TYPE_CHECKING:
    from minigpt2 import GPT2, Tokenizer


def add_text(parser: argparse.ArgumentParser) -> None:
    """Let a command take a text, and say how special tokens in it are meant."""
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text; without it, standard input, exactly")
    parser.add_argument(
        "--ordinary", action="store_true", help="take special tokens such as <|endoftext|> in the text as plain text"
    )


def read_text(options: argparse.Namespace, output: Path | None = None) -> str:
    """The text that the options name; `output` is the file that the command writes.

    Raises:
        OSError: standard input cannot be read.
        ValueError: the text is not UTF-8, or the output would be written over it.
    """
    if options.text is None and output and is_standard_input(output):
        raise ValueError(f"standard input is {output}, and would be written over: name another output")
    return streams.read_utf8() if options.text is None else argument(options.text)


def read_file(name: str) -> str:
    """The text of a file, or for `-` that of standard input.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, or an archive or a table.
    """
    if name == "-":
        return streams.read_utf8()
    with naming(name):
        data = Path(name).read_bytes()
    return streams.decoded(name, data, name if Path(name).is_file() else "")  # a pipe is empty now


def token_ids(tokenizer: "Tokenizer", text: str, options: argparse.Namespace) -> list[int]:
    """The token ids of a text, special tokens in it meant as the options say."""
    return tokenizer.encode(text, allowed_special=() if options.ordinary else "all")


def not_empty(text: str) -> str:
    """An argument that is not empty, as that of a shell's variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def file_name(text: str) -> Path:
    """An argument that names a file or a directory. `Path` takes an empty one for the current directory."""
    return Path(not_empty(text))


def note_an_empty_prompt(ids: list[int], model: "GPT2") -> None:
    """Tell the user which token the model started from, if the prompt had none."""
    from minigpt2.generation import written

    if not ids and (start := model.generation_config.bos_token_id) is not None:
        streams.note(f"the prompt is empty: starting from {written(model.tokenizer, start)}")


def argument(text: str) -> str:
    """An argument as text; bytes that are not UTF-8 arrive as lone surrogates.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        try:
            return os.fsencode(text).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(streams.not_utf8("the argument", error)) from None
    return text
