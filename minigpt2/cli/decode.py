"""Token ids to text, as they come.

Writes exactly the bytes that the ids stand for, so that encode and decode give a file back byte for byte; on a
terminal the line is ended. The ids are separated by spaces, line ends or commas, or are a JSON list.

  minigpt2 decode 464 3616 286 1204 318
  minigpt2 encode --json < text.txt | minigpt2 decode
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, open_tokenizer

_SEPARATORS = re.compile(r"[\s,\ufeff]+")  # U+FEFF: where files that begin with a byte order mark were joined


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="token ids; without any, standard input")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Write the bytes of token ids to standard output, each character as soon as it is whole."""
    texts = [" ".join(options.ids)] if options.ids else streams.read_as_it_comes()
    # Bytes that do not become a character pass through text as surrogates, one for each, and come out as they were.
    stream = open_tokenizer(options).decode_stream(errors="surrogateescape")
    for text in chain(map(stream.step, _ids(texts)), [""]):
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    streams.write_bytes(stream.end().encode("utf-8", "surrogateescape"))


def _ids(texts: Iterable[str]) -> Iterator[list[int]]:
    """The ids in a text that comes in parts: those of each part as soon as they are whole, or a JSON list at its end.

    Raises:
        ValueError: something there is not an integer.
    """
    waiting = ""
    for text in texts:
        waiting += text
        waiting = waiting.lstrip(" \t\r\n\ufeff")  # JSON allows it before a list
        if waiting.startswith("["):
            continue
        *words, waiting = _SEPARATORS.split(waiting)  # the last word may go on in the next part
        yield [_integer(word) for word in words if word]
        if len(waiting) > 19:  # more than a sign and 18 digits: it would be split again with each part
            _integer(waiting)
    if waiting.startswith("["):
        yield _json_list(waiting)
    elif waiting:
        yield [_integer(waiting)]


def _json_list(text: str) -> list[int]:
    try:
        return [_integer(word) for word in json.loads(text)]
    except _NotAnIdError:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the token ids start like a JSON list and are not one: {error}") from None


class _NotAnIdError(ValueError):
    """A word is not a token id."""


def _integer(word: object) -> int:
    if type(word) is int:
        return word
    if isinstance(word, str) and re.fullmatch(r"-?[0-9]{1,18}", word):
        return int(word)
    shown = repr(word)
    raise _NotAnIdError(
        f"{shown if len(shown) <= 60 else shown[:57] + '...'} is not a token id: ids are integers below 10^18"
    )
