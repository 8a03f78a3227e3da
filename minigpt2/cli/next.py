"""The likeliest next tokens of a text, with their probabilities.

With --lens, what each layer would say if it were the last one: a line for the embeddings and one for each layer; the
last is the model's own answer. Without TEXT the text is standard input; an empty one stands for <|endoftext|>.

  minigpt2 next "The meaning of life is"
  minigpt2 next "The meaning of life is" --lens -k 3
"""

import argparse
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.bars import bar
from minigpt2.cli.columns import print_table, quoted
from minigpt2.cli.model_option import add_model, fetch_all, open_or_bundled, print_label
from minigpt2.cli.numbers import positive
from minigpt2.cli.text import add_text, note_an_empty_prompt, read_text, token_ids
from minigpt2.cli.tokens import name
from minigpt2.explain.characters import text_of

if TYPE_CHECKING:
    from minigpt2 import Tokenizer
    from minigpt2.generation import Token

WIDTH = 30  # of the longest bar, in characters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_text(parser)
    parser.add_argument("-k", type=positive, metavar="K", help="how many tokens (default: 10; 3 with --lens)")
    parser.add_argument("--lens", action="store_true", help="show what each layer would say")
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects, with --lens one of lists")
    add_model(parser, has_default=False)


def run(options: argparse.Namespace) -> None:
    """Print the likeliest next tokens."""
    from minigpt2 import GPT2

    text = read_text(options)
    tokenizer, weights = open_or_bundled(options, fetch_all, labelled=not options.json)
    model, ids = GPT2(weights, tokenizer), token_ids(tokenizer, text, options)
    layers = model.logit_lens(ids, options.k or 3) if options.lens else [model.next_tokens(ids, options.k or 10)]
    note_an_empty_prompt(ids, model)
    if options.json:
        answers = [[_as_json(tokenizer, token) for token in tokens] for tokens in layers]
        streams.print_json(answers if options.lens else answers[0])
        return
    print_label(weights)
    if options.lens:
        _print_lens(tokenizer, layers)
    else:
        _print_bars(tokenizer, layers[0])


def _print_bars(tokenizer: "Tokenizer", tokens: "list[Token]") -> None:
    most = tokens[0][2]
    rows = [
        [f"{chance:.2%}", bar(chance / most, WIDTH), str(token_id), token, quoted(name(tokenizer, token_id)[1])]
        for token_id, token, chance in tokens
    ]
    print_table([">probability", "", ">id", "token", "text"], rows)


def _print_lens(tokenizer: "Tokenizer", layers: "list[list[Token]]") -> None:
    names = ["embeddings", *(f"h.{index}" for index in range(len(layers) - 1))]
    rows = [[layer, *_cells(tokenizer, tokens)] for layer, tokens in zip(names, layers, strict=True)]
    print_table(["after", *(cell for rank in range(len(layers[0])) for cell in (f">{rank + 1}.", ""))], rows)


def _cells(tokenizer: "Tokenizer", tokens: "list[Token]") -> list[str]:
    """The probability and the text of each token."""
    return [cell for token_id, _, chance in tokens for cell in (f"{chance:.1%}", quoted(name(tokenizer, token_id)[1]))]


def _as_json(tokenizer: "Tokenizer", token: "Token") -> dict[str, object]:
    token_id, written, chance = token
    text = text_of(name(tokenizer, token_id)[1])
    return {"id": token_id, "token": written, "text": text, "probability": chance}
