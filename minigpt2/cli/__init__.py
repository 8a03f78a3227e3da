"""The command `minigpt2`: one file for each command; its docstring is the help.

Nothing heavy is imported here or at the top of a command's file, so that `--help` answers at once.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any, NoReturn

from minigpt2 import __version__
from minigpt2.cli import (
    count,
    decode,
    diff,
    download,
    embed,
    encode,
    explain,
    extract,
    generate,
    loss,
    merge,
    nearest,
    params,
    serve,
    show,
    stats,
    streams,
    tokenize,
    tokens,
    tour,
    train_bpe,
    vocab,
)
from minigpt2.cli import next as next_
from minigpt2.cli.model_option import note_what_was_read

COMMANDS: tuple[ModuleType, ...] = (tour, explain, serve, encode, decode, tokens, count, tokenize, merge, vocab)
COMMANDS += (next_, generate, loss, train_bpe, params, show, stats, embed, nearest, diff, extract, download)

# What the package raises for bad input, files and the hub. Anything else is a bug, and shows its traceback.
_EXPECTED = (OSError, ValueError, LookupError, MemoryError, ImportError)
INTERRUPTED, _PIPE_CLOSED = 130, 141  # as a shell reports them: 128 + SIGINT, 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own, and return its exit code.

    0 is success, 1 an error (one line on standard error), 2 wrong usage, 130 an interrupt from the keyboard, 141 a
    pipe that was closed by its reader.

    >>> main(["encode", "The meaning of life is"])
    464 3616 286 1204 318
    0
    """
    try:
        status = _run(argv)
        streams.flush()
        return status
    except KeyboardInterrupt:
        streams.discard(sys.stdout)
        return INTERRUPTED
    except BrokenPipeError:
        streams.discard(sys.stdout)
        return _PIPE_CLOSED
    except _EXPECTED as error:
        streams.note(_message(error))
    except RuntimeError as error:
        # An interrupt during Python's own wait for a lock can end in its failure to release the lock.
        if isinstance(error.__context__, KeyboardInterrupt):
            streams.discard(sys.stdout)
            return INTERRUPTED
        if "start new thread" not in str(error):
            raise
        streams.note("this machine lets this user start no more threads, and the command needs some")
    streams.flush_or_discard()
    return 1


def _run(argv: Sequence[str] | None) -> int:
    streams.prepare()
    try:
        options = _parser().parse_args(argv)
    except SystemExit as request:  # argparse has already printed a help text, or what is wrong with the usage
        return int(request.code or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, where numbers overflow: the results say so
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: streams.note(str(message))
        options.run(options)
    note_what_was_read(options)
    return 0


def run_command(argv: Sequence[str]) -> None:
    """Run a command within another, whose errors and notes they are."""
    options = _parser().parse_args(argv)
    options.run(options)


class _Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line, as every other error is reported."""

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """The values of an argument. `--option=--` lacks its one: argparse takes the `--` out."""
        values = super()._get_values(action, arg_strings)
        if action.nargs is None and values == []:
            raise argparse.ArgumentError(action, "expected one argument")
        return values

    def error(self, message: str) -> NoReturn:
        streams.note(f"{message} (`{self.prog} --help` tells more)")
        self.exit(2)


@cache  # a tour runs a dozen commands
def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="minigpt2",
        description="GPT-2's way from a prompt to numbers: text, tokens, ids, rows of wte. Start with `minigpt2 tour`.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"minigpt2 {__version__}")
    parser.set_defaults(run=lambda options: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        summary, _, rest = (command.__doc__ or "").partition("\n")
        subparser = commands.add_parser(
            command.__name__.rpartition(".")[2].replace("_", "-"),
            help=summary,
            description=f"{summary}\n{rest}".strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename
        return f"{name}: {error.strerror}" if name else error.strerror
    if isinstance(error, MemoryError):
        return "this needs more memory than there is"
    return str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
