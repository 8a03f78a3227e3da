"""The vocabulary: how many tokens there are, the longest, those that contain a text, the odd ones.

Without an option, counts are printed. TEXT is searched for as text and, with Ġ or Ċ in it, as GPT-2 writes tokens:
" life" and Ġlife find the same.

  minigpt2 vocab --longest
  minigpt2 vocab --search magi
  minigpt2 vocab --odd
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.columns import print_table, quoted
from minigpt2.cli.lesson import line
from minigpt2.cli.model_option import add_model, open_tokenizer
from minigpt2.cli.numbers import positive
from minigpt2.cli.terminal import say
from minigpt2.cli.text import argument
from minigpt2.cli.tokens import as_json
from minigpt2.explain.characters import cut, text_of

if TYPE_CHECKING:
    from minigpt2 import Tokenizer

HEADER = [">id", ">bytes", "text"]
WIDEST = 72  # columns of a token's text
MOST_ODD = 20  # of each kind; --json lists all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--longest", nargs="?", type=positive, const=20, metavar="N", help="the longest N (default: 20)")
    what.add_argument("--search", metavar="TEXT", help="the tokens that contain TEXT")
    what.add_argument("--odd", action="store_true", help="the odd ones, by kind, each found by a rule")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print what was asked of the vocabulary."""
    text = None if options.search is None else argument(options.search)
    tokenizer = open_tokenizer(options)
    if options.longest is not None:
        _print_tokens(tokenizer, longest(tokenizer, options.longest), options.json)
    elif text is not None:
        _search(tokenizer, text, options.json)
    elif options.odd:
        _print_odd(tokenizer, options.json)
    else:
        _print_summary(tokenizer, options.json)


def longest(tokenizer: "Tokenizer", count: int) -> list[int]:
    """The ids of the tokens with the most bytes, the lower id first among equals."""
    ids = list(tokenizer.get_vocab().values())
    lengths = dict(zip(ids, map(len, tokenizer.decode_tokens_bytes(ids)), strict=True))
    return sorted(ids, key=lambda token_id: (-lengths[token_id], token_id))[:count]


def token_rows(tokenizer: "Tokenizer", ids: Sequence[int]) -> list[list[str]]:
    """A row of the table under `HEADER` for each token id."""
    data = tokenizer.decode_tokens_bytes(ids)
    return [[str(i), str(len(each)), cut(quoted(each), WIDEST)] for i, each in zip(ids, data, strict=True)]


def _print_tokens(tokenizer: "Tokenizer", ids: list[int], in_json: bool) -> None:
    if in_json:
        streams.print_json_list(as_json(tokenizer, ids))
    else:
        print_table(HEADER, token_rows(tokenizer, ids))


def _search(tokenizer: "Tokenizer", text: str, in_json: bool) -> None:
    vocabulary = tokenizer.get_vocab()
    # Only with Ġ or Ċ in it: in a token as written, another non-ASCII letter is a byte of something else.
    as_written = bool({"Ġ", "Ċ"} & set(text))
    tokens = zip(vocabulary.items(), tokenizer.decode_tokens_bytes(list(vocabulary.values())), strict=True)
    found = [i for (written, i), data in tokens if text.encode() in data or (as_written and text in written)]
    if not found and not in_json:
        way = f"; `{line('tokens', text)}` shows its tokens" if text.isprintable() else ""
        print(f"No token contains {text!r}{way}.")
        return
    _print_tokens(tokenizer, found, in_json)
    if not in_json:
        print(f"\n{len(found):,} of {len(vocabulary):,} tokens contain {text!r}")


def _print_odd(tokenizer: "Tokenizer", in_json: bool) -> None:
    from minigpt2.explain.oddities import oddities

    kinds = oddities(tokenizer)
    if in_json:
        streams.print_json(
            [
                {"kind": each.name, "rule": each.rule, "reason": each.reason, "tokens": [*as_json(tokenizer, each.ids)]}
                for each in kinds
            ]
        )
        return
    for index, kind in enumerate(kinds):
        print("\n" * (index > 0) + f"{kind.name}: {len(kind.ids)} tokens")
        say(f"Rule: {kind.rule}. {kind.reason}")
        print_table(HEADER, token_rows(tokenizer, kind.ids[:MOST_ODD]), "  ")
        if len(kind.ids) > MOST_ODD:
            print(f"  … and {len(kind.ids) - MOST_ODD} more: --json lists all")


def _print_summary(tokenizer: "Tokenizer", in_json: bool) -> None:
    ids = list(tokenizer.get_vocab().values())
    data = tokenizer.decode_tokens_bytes(ids)
    counts = {
        "tokens": len(ids),
        "single bytes": sum(len(each) == 1 for each in data),
        "made by merges": len({*tokenizer.vocabulary.products.tolist()}),
        "special tokens": len(tokenizer.all_special_tokens),
        "begin with a space": sum(each.startswith(b" ") for each in data),
        "part of a character": sum(text_of(each) is None for each in data),
        "bytes of the longest": max(map(len, data)),
    }
    if in_json:
        streams.print_json(counts)
    else:
        print_table(["", ">count"], [[name, f"{count:,}"] for name, count in counts.items()])
