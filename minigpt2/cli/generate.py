"""Continue a text: the prompt, and then the tokens that the model adds, as they come.

The likeliest token comes next, or with --sample one drawn at random; --temperature, --top-k, --top-p and --seed imply
--sample. The text ends with <|endoftext|>, with the token that completes a stop string, or after --max-new-tokens.
Ctrl-C ends it earlier and keeps what came. Without TEXT the prompt is standard input; an empty one starts from
<|endoftext|>.

  minigpt2 generate "The meaning of life is"
  minigpt2 generate "Once upon a time" --temperature 0.8 --top-k 40 --seed 1 --max-new-tokens 100
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, fetch_all, open_or_bundled, print_label
from minigpt2.cli.numbers import above_zero, not_negative, positive, probability
from minigpt2.cli.text import add_text, note_an_empty_prompt, read_text, token_ids

if TYPE_CHECKING:
    from minigpt2 import GPT2, Tokenizer

SAMPLING = ("temperature", "top_k", "top_p", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_text(parser)
    parser.add_argument(
        "--max-new-tokens", type=positive, default=40, metavar="N", help="at most so many (default: 40)"
    )
    parser.add_argument("--sample", action="store_true", help="draw each token by its probability")
    parser.add_argument(
        "--temperature", type=above_zero, metavar="T", help="below 1 the likely ones more often (default: 1)"
    )
    parser.add_argument("--top-k", type=positive, metavar="K", help="draw from the K likeliest alone")
    parser.add_argument("--top-p", type=probability, metavar="P", help="draw from the likeliest that together have P")
    parser.add_argument("--seed", type=not_negative, metavar="N", help="the same number gives the same text")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end once this was added; repeatable"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object at the end")
    add_model(parser, has_default=False)


def run(options: argparse.Namespace) -> None:
    """Print the prompt and what the model adds to it."""
    from minigpt2 import GPT2

    text = read_text(options)
    tokenizer, weights = open_or_bundled(options, fetch_all, labelled=not options.json)
    prompt = token_ids(tokenizer, text, options)
    model = GPT2(weights, tokenizer)
    new = _new_tokens(model, prompt, options)
    note_an_empty_prompt(prompt, model)
    if options.json:
        ids, added, interrupted = _collected(new, tokenizer, show=lambda _: None)
        streams.print_json({"model": options.model, "prompt": text, "text": added, "prompt_ids": prompt, "ids": ids})
    else:
        print_label(weights)
        _show(text)
        _, _, interrupted = _collected(new, tokenizer, _show)
        print()
    if interrupted:
        streams.flush()
        raise KeyboardInterrupt  # what came is printed: now the exit code


def _new_tokens(model: "GPT2", prompt: list[int], options: argparse.Namespace) -> Iterator[int]:
    """The ids of the new tokens as they come. Wrong options are refused now, before anything is printed."""
    sampling = {name: value for name in SAMPLING if (value := getattr(options, name)) is not None}
    stream = model.stream(
        prompt,
        max_new_tokens=options.max_new_tokens,
        do_sample=options.sample or bool(sampling),
        stop_strings=options.stop,
        **sampling,
    )
    return (token_id for token_id in stream if token_id not in model.generation_config.eos_token_ids)


def _collected(new: Iterator[int], tokenizer: "Tokenizer", show: Callable[[str], None]) -> tuple[list[int], str, bool]:
    """All new ids, their text, which is shown as it comes, and whether Ctrl-C ended it. A terminal sees the speed."""
    ids: list[int] = []
    pieces: list[str] = []
    characters, interrupted, start = tokenizer.decode_stream(), False, time.perf_counter()
    try:
        for token_id in new:
            ids.append(token_id)
            with suppress(ValueError):  # a row of wte that the vocabulary has no token for
                pieces.append(characters.step(token_id))
                show(pieces[-1])
    except KeyboardInterrupt:
        interrupted = True
    pieces.append(characters.end())
    show(pieces[-1])
    if sys.stderr.isatty():
        seconds = time.perf_counter() - start
        print(file=sys.stderr)
        streams.note(f"{len(ids)} tokens in {seconds:.1f} s, {len(ids) / seconds:.1f} tokens a second")
    return ids, "".join(pieces), interrupted


def _show(text: str) -> None:
    """Print text at once, exactly; on a terminal nothing in it moves the cursor but the end of a line."""
    if sys.stdout.isatty():
        text = re.sub(r"[^\n\t]+", lambda line: streams.escaped(line[0]), text)
    print(text, end="", flush=True)
