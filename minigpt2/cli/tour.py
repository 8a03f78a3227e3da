"""From a prompt to its rows of wte: a lesson in five steps, each shown, explained, and with a command to try.

Runs on GPT-2's weights: those in the cache of downloads, or else the few rows that it shows are read on the hub. Where
the hub does not answer soon, it runs on small demonstration weights of random numbers, and says so on every table.

  minigpt2 tour
  minigpt2 tour "Your own sentence"
"""

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minigpt2.cli.columns import Row, print_table, value_cells, value_headings
from minigpt2.cli.embed import embedding_header, embedding_rows
from minigpt2.cli.lesson import odd_tokens, why_bytes, why_ranks, why_spaces
from minigpt2.cli.model_option import add_model, open_or_bundled, print_label
from minigpt2.cli.params import HEADER as PARAMETERS_HEADER
from minigpt2.cli.params import parameter_rows, remarks, total
from minigpt2.cli.prose import heading, say
from minigpt2.cli.text import argument
from minigpt2.cli.tokens import HEADER as TOKENS_HEADER
from minigpt2.cli.tokens import name, token_rows
from minigpt2.weights.bundled import is_bundled

if TYPE_CHECKING:
    from minigpt2 import Checkpoint, Embeddings, Tokenizer

PROMPT = "The meaning of life is"
MOST_TOKENS = 24  # a longer prompt is shown by its first and last tokens

# The first and last three values of rows 0 to 2 of the wte that OpenAI published, as numpy prints them.
PUBLISHED_ROWS = (
    ["0", "!", "-0.11010301", "-0.03926672", " 0.03310751", "…", "-0.1363697", " 0.01506208", " 0.04531523"],
    ["1", '"', " 0.04034033", "-0.04861503", " 0.04624869", "…", " 0.08605453", " 0.00253983", " 0.04318958"],
    ["2", "#", "-0.12746179", " 0.04793796", " 0.18410145", "…", " 0.08991534", "-0.12972379", "-0.08785918"],
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("prompt", nargs="?", default=PROMPT, metavar="PROMPT", help=f"any text (default: {PROMPT!r})")
    parser.add_argument("--no-pause", action="store_true", help="do not wait for Enter between the steps")
    add_model(parser, default=None)


def run(options: argparse.Namespace) -> None:
    """Take a prompt through the five steps."""
    from minigpt2 import Embeddings

    prompt = argument(options.prompt)
    tokenizer, weights = _model(options, prompt)
    ids = tokenizer.encode(prompt)
    embeddings = Embeddings(weights)
    _opening(prompt, weights)
    _list_parameters(weights)
    _show_wte(tokenizer, weights, embeddings)
    _show_first_tokens(tokenizer, weights, embeddings)
    _encode_prompt(tokenizer, prompt, ids)
    for answer in (why_bytes, why_ranks, why_spaces, odd_tokens):
        answer(tokenizer)
    _look_up_rows(tokenizer, weights, embeddings, ids)
    _try_next(weights, options.model)


def _model(options: argparse.Namespace, prompt: str) -> "tuple[Tokenizer, Checkpoint]":
    """The model that was asked for, or else gpt2, or else the demonstration weights."""
    from minigpt2 import Embeddings

    def rows_shown(tokenizer: "Tokenizer", weights: "Checkpoint") -> None:
        embeddings = Embeddings(weights)
        embeddings.tokens([*range(min(5, len(embeddings.wte))), *_ends_of_wte(embeddings), *tokenizer.encode(prompt)])

    return open_or_bundled(options, rows_shown)


def _opening(prompt: str, weights: "Checkpoint") -> None:
    print("FROM A PROMPT TO VECTORS, IN FIVE STEPS")
    print()
    print(f"prompt:  {prompt!r}")
    if not is_bundled(weights):
        print(f"weights: {weights.path}")
        return
    print("weights: GPT-2's are neither in the cache of downloads nor in reach on the hub, so this tour runs on")
    print()
    print_label(weights)
    print()
    say(
        """Names, layout and vocabulary are GPT-2's, everything said about text and tokens is exact, and every number
        below that comes from weights means nothing. `minigpt2 download` fetches GPT-2's own weights (548 MB); after
        that the tour shows them."""
    )


def _list_parameters(weights: "Checkpoint") -> None:
    heading("1. What the model is made of: its parameters", "minigpt2 params")
    names = weights.parameter_names()
    print_label(weights)
    print_table(PARAMETERS_HEADER, _ends(parameter_rows(weights, names), 7, 3), "  ")
    print()
    print(f"  {total(weights, names)}")
    for remark in remarks(weights):
        print(f"  {remark}")
    print()
    say(
        """A parameter is an array of numbers with a name; the whole model is these and the code that multiplies them.
        The first is all this tour needs: wte, the word token embeddings. wpe holds the position embeddings, h.0 and
        so on are the layers."""
    )
    if is_bundled(weights):
        say("GPT-2 itself has 148 parameters, 124,439,808 numbers: 12 layers, and rows of 768.")


def _show_wte(tokenizer: "Tokenizer", weights: "Checkpoint", embeddings: "Embeddings") -> None:
    heading("2. The table of token embeddings: wte", "minigpt2 show wte.weight")
    rows, width = embeddings.wte.shape
    print_label(weights)
    _print_rows(tokenizer, embeddings, _ends_of_wte(embeddings), most=5)
    print()
    say(
        f"""wte has {rows:,} rows, one for each token of the vocabulary, and {width} numbers in each. A token's id is
        the number of its row: nothing else connects the two. Training has put tokens that are used alike near each
        other (`minigpt2 nearest " life"`)."""
    )
    if is_bundled(weights):
        print()
        print("  GPT-2's own rows 0 to 2, as published:")
        print_table([">id", "token", *value_headings(768)], PUBLISHED_ROWS, "  ")


def _ends_of_wte(embeddings: "Embeddings") -> list[int]:
    rows = len(embeddings.wte)
    return [*range(rows)] if rows <= 6 else [0, 1, 2, rows - 3, rows - 2, rows - 1]


def _show_first_tokens(tokenizer: "Tokenizer", weights: "Checkpoint", embeddings: "Embeddings") -> None:
    heading("3. The first five tokens and their rows", "minigpt2 show wte.weight --rows 0:5")
    ids = [*range(min(5, len(embeddings.wte)))]
    print_label(weights)
    _print_rows(tokenizer, embeddings, ids, most=5)
    print()
    if [name(tokenizer, token_id)[0] for token_id in ids] == ["!", '"', "#", "$", "%"]:
        say(
            """They are punctuation: ! " # $ %. It is said that a vocabulary opens with tokens like [CLS] and [PAD];
            BERT's has those, GPT-2's has neither. Its ids 0 to 255 are the 256 single bytes, first those that print
            as a character of their own, and ! (0x21) is the first of them. Every further token was made by merging
            two earlier ones, and the last, 50256, is <|endoftext|>, GPT-2's only special token."""
        )


def _encode_prompt(tokenizer: "Tokenizer", prompt: str, ids: list[int]) -> None:
    heading("4. The prompt as token ids", "minigpt2 tokens TEXT")
    if ids:
        print_table(TOKENS_HEADER, _ends(token_rows(tokenizer, ids), MOST_TOKENS // 2, MOST_TOKENS // 2), "  ")
    else:
        print("  The prompt is empty, and so is its list of tokens.")
    array = tokenizer.encode(prompt, return_tensors="np")
    print()
    print(f"  as a list:   {_shortened(ids)}")
    print(f"  as an array: {_shortened(array.tolist()[0], '[[', ']]')}, {array.dtype}, shape {array.shape}")
    print()
    say(
        """The array has a row for each text of a batch, which is what a model takes. How the ids came about: the text
        is split into pretokens, words for the most part, each with the space before it; the UTF-8 bytes of each start
        as tokens of one byte; then the two neighbours that come first in a list of merges (GPT-2's has 50,000) become
        one token, again and again, until no two neighbours are in the list. No text is out of vocabulary, because
        every byte is a token."""
    )
    print()
    say(
        """Ġ is no kind of space. The vocabulary is kept in text files, where bytes that do not print would be lost,
        so the 68 bytes with no printable character of their own are written as the characters from U+0100 on, in
        order. The space, byte 0x20, is the 33rd of them, so it is written U+0120, 256 further up, which happens to be
        Ġ; the newline, 0x0A, becomes U+010A, Ċ. In the text itself there is a space: the token is 20 in the column of
        bytes."""
    )


def _look_up_rows(tokenizer: "Tokenizer", weights: "Checkpoint", embeddings: "Embeddings", ids: list[int]) -> None:
    heading("5. The rows of the prompt's ids", "minigpt2 embed TEXT")
    shape = (len(ids), embeddings.wte.shape[1])
    if not ids:
        print(f"  No ids, no rows: an array of shape {shape}.")
        return
    print_label(weights)
    rows = embedding_rows(tokenizer, ids, embeddings.tokens(ids))
    print_table(embedding_header(shape[1]), _ends(rows, MOST_TOKENS // 2, MOST_TOKENS // 2), "  ")
    print()
    say(
        f"""wte[ids], an array of shape {shape}, and no arithmetic: row {ids[0]} of the table in step 2 for the first
        token, and so on. The same token has the same row wherever it stands. Where it stands is told by adding the
        row of its position from wpe (`--positions`); that sum enters the first layer."""
    )
    n_positions = len(embeddings.wpe)
    if len(ids) > n_positions:
        print()
        say(
            f"""This prompt has {len(ids):,} tokens and the model {n_positions:,} positions: every token has its row
            of wte, but the model could take no more than the first {n_positions:,} of them at once."""
        )


def _print_rows(tokenizer: "Tokenizer", embeddings: "Embeddings", ids: list[int], most: int) -> None:
    """Print rows of wte under their ids and tokens, with a gap where ids are left out."""
    values = embeddings.tokens(ids)
    rows = [
        [str(token_id), name(tokenizer, token_id)[0], *value_cells(row)]
        for token_id, row in zip(ids, values, strict=True)
    ]
    header = [">id", "token", *value_headings(values.shape[1])]
    if len(rows) > most:
        rows.insert(3, _gap(len(header)))
    print_table(header, rows, "  ")


def _try_next(weights: "Checkpoint", model: str) -> None:
    same = "" if model == "gpt2" else f" --model {shlex.quote(model)}"
    print()
    print("WHAT TO TRY NEXT")
    print()
    commands = [
        ['minigpt2 tour "Your own sentence"', "the same with other words"],
        ['minigpt2 explain "Your own sentence" --open', "every step of it, as a page to play with"],
        ["minigpt2 serve", "that page with a box: tokens as you type"],
        ['minigpt2 tokens "I\'m 😀 ok"', "a character can be several tokens"],
        ["minigpt2 vocab --search magi", "which tokens contain a text"],
        [f'minigpt2 nearest " life"{same}', "what lies near a row"],
        [f'minigpt2 embed "The meaning of life is" -o rows.npy{same}', "the rows, for numpy"],
    ]
    if is_bundled(weights):
        commands.insert(0, ["minigpt2 download", "GPT-2's own weights (548 MB), which the last two need"])
    print_table(["command", "what it shows"], commands, "  ")


def _ends(rows: Sequence[Row], first: int, last: int) -> list[Row]:
    """The first and last rows of a long table, with a gap between."""
    if len(rows) <= first + last + 1:
        return list(rows)
    return [*rows[:first], _gap(len(rows[0])), *rows[-last:]]


def _gap(columns: int) -> list[str]:
    return ["…"] * columns


def _shortened(ids: list[int], opening: str = "[", closing: str = "]") -> str:
    written = [str(token_id) for token_id in ids]
    if len(written) > MOST_TOKENS:
        written[MOST_TOKENS // 2 : -MOST_TOKENS // 2] = ["…"]
    return opening + ", ".join(written) + closing
