"""From your sentence to the next word: a lesson in short steps, each with a command to try.

It runs on GPT-2's weights if they are in the cache of downloads or if the hub answers soon, or else on the small model
that comes with minigpt2; the steps about layers need all weights on this machine. On a terminal it waits for Enter
between the steps.

  minigpt2 tour
  minigpt2 tour "Your own sentence"
"""

import argparse
import io
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.lesson import PROMPT, TO_LEARN_FROM, Facts, Step, line, steps
from minigpt2.cli.model_option import add_model, open_or_bundled
from minigpt2.cli.terminal import has_colours, say, terminal_width
from minigpt2.cli.text import argument
from minigpt2.standard_input import waiting
from minigpt2.weights.bundled import LABEL, NAME, is_bundled

if TYPE_CHECKING:
    from minigpt2 import Checkpoint, Tokenizer
    from minigpt2.explain.trace import Merge, Pretoken, Trace

MOST_TOKENS = 8  # of a longer text only the beginning is taken, so that a step fits a screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("prompt", nargs="?", default=PROMPT, metavar="TEXT", help=f"any text (default: {PROMPT!r})")
    parser.add_argument("--no-pause", action="store_true", help="do not wait for Enter between the steps")
    add_model(parser, has_default=False)


def run(options: argparse.Namespace) -> None:
    """Take a text from its tokens to the next word."""
    prompt, was_asked_for = argument(options.prompt) or PROMPT, options.model is not None
    tokenizer, weights = open_or_bundled(options, lambda tokenizer, weights: _rows_shown(tokenizer, weights, prompt))
    text = beginning(tokenizer, prompt)
    facts = _facts(tokenizer, weights, text, options)
    _open_tour(text, prompt, weights, facts, was_asked_for)
    for number, step in enumerate(steps(facts), start=1):
        _pause(options)
        show(number, step)
    _pause(options)
    _close_tour(facts)


def show(number: int, step: Step) -> None:
    """Print a step: what it says, and each of its commands with what that prints."""
    print(f"\n{_painted(f'{number}. {step.title}', '1')}\n")
    _say(step.before)
    for command in step.commands:
        print(f"\n{_painted(f'$ {_without_controls(command)}', '36')}")
        run_line(command)
    print()
    _say(step.after)
    if step.aside:
        print()
        _say(step.aside)


def run_line(typed: str) -> None:
    """Run a line of the tour here, as a shell would: the command, or `echo TEXT |` before it."""
    from minigpt2.cli import run_command

    words = shlex.split(typed)
    with _standard_input(f"{TO_LEARN_FROM}\n" if words[0] == "echo" else ""):
        run_command(words[words.index("minigpt2") + 1 :])


def beginning(tokenizer: "Tokenizer", text: str) -> str:
    """The pretokens of a text that have `MOST_TOKENS` tokens at most together; never less than one pretoken."""
    from minigpt2.explain import explain

    end = count = 0
    for pretoken in explain(tokenizer, text).pretokens:
        count += len(pretoken.ids)
        if end and count > MOST_TOKENS:
            break
        end = pretoken.end
    return text[:end]


def _rows_shown(tokenizer: "Tokenizer", weights: "Checkpoint", prompt: str) -> None:
    """Read on the hub what the steps about rows will show."""
    from minigpt2 import Embeddings

    Embeddings(weights)(tokenizer.encode(beginning(tokenizer, prompt)))


def _facts(tokenizer: "Tokenizer", weights: "Checkpoint", text: str, options: argparse.Namespace) -> Facts:
    from minigpt2 import GPT2, CheckpointError, HubError
    from minigpt2.explain import explain
    from minigpt2.vocabulary import gpt2

    trace = explain(tokenizer, text)
    merged, last = _most_merged(tokenizer, trace)
    model = _model_option(options)
    layers_model, fault = model, ""
    try:
        if weights.is_remote:
            raise CheckpointError("of a model on the hub only rows are read for a tour")
        whole = GPT2(weights, tokenizer)
        whole.generation_config.refuse_unsupported(do_sample=False)
    except (CheckpointError, HubError) as error:
        layers_model, whole, fault = f" --model {NAME}", GPT2.bundled(), str(error)
    sizes = whole.options
    return Facts(
        text=text,
        word=merged.text,
        rank=last.rank,
        token_id=last.product,
        neighbour_of=_one_token(tokenizer, trace, last),
        vocabulary="" if tokenizer.vocabulary is gpt2() else model,
        model=model,
        layers_model=layers_model,
        file_model=model if _is_listed(weights) else layers_model,
        fault=fault,
        shape=weights.info("wte.weight").shape,  # type: ignore[arg-type]  # two axes: it is a matrix
        n_layer=sizes.n_layer,
        n_head=sizes.n_head,
        new_tokens=max(1, min(20, sizes.n_positions - 2 * MOST_TOKENS)),
    )


def _is_listed(weights: "Checkpoint") -> bool:
    """Whether `minigpt2 params` lists the weights: they are a GPT-2, or nothing but `wte` and `wpe`."""
    from minigpt2 import CheckpointError

    with suppress(CheckpointError):
        weights.parameter_names()
        return True
    return False


def _most_merged(tokenizer: "Tokenizer", trace: "Trace") -> "tuple[Pretoken, Merge]":
    """The pretoken of a text with the most merges, and the last; of another text, where nothing in this one is merged.

    Raises:
        ValueError: the vocabulary has no merges.
    """
    from minigpt2.explain import explain

    vocabulary = tokenizer.vocabulary
    products = (vocabulary.token_bytes[product].decode("utf-8", "ignore") for product in vocabulary.products.tolist())
    others = (explain(tokenizer, text) for text in chain([" meaning"], products))
    for each in chain([trace], others):
        merged = max(each.pretokens, key=lambda pretoken: len(pretoken.merges or ()), default=None)
        if merged and merged.merges:
            return merged, merged.merges[-1]
    raise ValueError("this tokenizer merges nothing: a tour needs one that does")


def _model_option(options: argparse.Namespace) -> str:
    """The options that name the model to a command, with a space before them; gpt2 needs none."""
    model = "" if options.model == "gpt2" else f" --model {shlex.quote(options.model)}"
    return model + (f" --revision {shlex.quote(options.revision)}" if options.revision else "")


def _one_token(tokenizer: "Tokenizer", trace: "Trace", last: "Merge") -> str:
    """The longest word of a text that is one token, or else " life", or else what a merge makes, as GPT-2 writes it."""
    words = [pretoken.text for pretoken in trace.pretokens if len(pretoken.ids) == 1 and pretoken.branch == "letters"]
    if not words and len(tokenizer.encode_ordinary(" life")) == 1:
        words = [" life"]
    return max(words, key=len, default=tokenizer.vocabulary.written(last.product))


def _open_tour(text: str, prompt: str, weights: "Checkpoint", facts: Facts, was_asked_for: bool) -> None:
    print(_painted("FROM A SENTENCE TO THE NEXT WORD", "1"))
    print()
    _say(f"The sentence: {text!r}{'' if text == prompt else ', the beginning of yours'}")
    print("The weights:")
    say(LABEL if is_bundled(weights) else streams.escaped(str(weights.path)))
    if is_bundled(weights) and not was_asked_for:
        _say(
            """GPT-2's weights are neither in the cache of downloads nor in reach on the hub. `minigpt2 download` gets
            them (548 MB), and then the tour runs on them."""
        )
    elif facts.layers_model != facts.model:
        fault = streams.escaped(facts.fault)
        _say(f"The steps about layers need a whole model on this machine, and {fault}. They run on:")
        say(LABEL)
    print()
    _say("Each line that begins with $ is a command. Type it as it stands, and you get what is shown under it.")


def _close_tour(facts: Facts) -> None:
    print(f"\n{_painted('WHAT TO TRY NEXT', '1')}\n")
    for command, purpose in (
        (line("explain", facts.text, " --open"), "All of this as a page to play with"),
        ("minigpt2 serve", "That page with a box for text: it changes as you type"),
        ('minigpt2 tour "Your own sentence"', "The same with your words"),
        ("minigpt2 vocab --odd", "What else is in the vocabulary"),
        ('minigpt2 explain " lifelike" --part merges --steps', "A word that is cut where no reader would cut it"),
    ):
        _say(f"{purpose}:")
        print(f"    {_without_controls(command)}")


def _say(text: str) -> None:
    say(text, terminal_width() or 80)


def _without_controls(command: str) -> str:
    """A command as it is typed, but with its control characters escaped: a terminal would obey them.

    Among them are those that turn the direction of writing round.
    """
    controls = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    return re.sub(controls, lambda control: streams.escaped(control[0]), command)


def _painted(text: str, codes: str) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m" if has_colours() else text


def _pause(options: argparse.Namespace) -> None:
    """Wait for Enter, where there is someone to press it."""
    if not options.no_pause and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        print("\n(Enter) ", end="", flush=True)
        options.no_pause = not waiting(sys.stdin.buffer).readline()  # Ctrl-D: go on to the end


@contextmanager
def _standard_input(text: str) -> Iterator[None]:
    """Let a command read this text as its standard input."""
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode("utf-8")), "utf-8")
    try:
        yield
    finally:
        sys.stdin = before
