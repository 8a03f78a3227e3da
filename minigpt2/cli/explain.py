"""Everything that happens to a text: its pretokens, every merge, its tokens, their rows, and the next word.

In the terminal each pretoken's merges are a tree, bytes at the top and tokens at the bottom, the ranks on the way;
--steps lists them with the pairs that each was chosen from. Then come the rows of the tokens, the attention of one
head, what each layer would say next, and the next tokens; --part shows one of these alone. With -o or --open it is a
page to play with. The weights are GPT-2's, from the cache of downloads (or its rows alone from the hub, if it answers
soon), or else those of the bundled model. Output of --json has no numbers of the bundled model unless --model names it.

  minigpt2 explain "The meaning of life is"
  minigpt2 explain "Your own sentence" --open
  minigpt2 explain "Your own sentence" -o page.html
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt2.atomic_write import atomic_write
from minigpt2.cli import streams
from minigpt2.cli.model_option import SOON, add_model, default_model, open_both, open_or_bundled, open_tokenizer
from minigpt2.cli.terminal import has_colours, terminal_width
from minigpt2.cli.text import add_text, file_name, read_text
from minigpt2.explain import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from minigpt2.explain import Trace

NO_ROWS = "GPT-2's weights are not at hand, so there are no rows; `--model bundled` has rows and needs no network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_text(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--steps", action="store_true", help="list each merge with its candidates")
    form.add_argument("-o", "--output", type=file_name, metavar="FILE", help="write a page, one HTML file, instead")
    form.add_argument("--json", action="store_true", help="print the whole trace as a JSON object")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--part", choices=PARTS, help="show this part alone, in the terminal")
    parser.add_argument(
        "--head", type=_head, default=(0, 0), metavar="LAYER.HEAD", help="whose attention is shown (default: 0.0)"
    )
    add_model(parser, has_default=False)


def run(options: argparse.Namespace) -> None:
    """Explain a text in the terminal, as a page, or as JSON."""
    from minigpt2.explain import explain
    from minigpt2.explain.page import page

    if options.open and (options.json or options.steps):
        raise ValueError("--open opens the page, which goes neither with --json nor with --steps")
    if options.part and (options.json or options.output or options.open):
        raise ValueError("--part is for the terminal; a page and --json have all parts")
    text = read_text(options, options.output)
    trace_of = partial(explain, text=text, allowed_special=() if options.ordinary else "all")
    if options.part in ("tokens", "merges"):
        options.model = options.model or default_model()
        trace = trace_of(open_tokenizer(options))
    elif options.json and options.model is None:
        trace = _trace_without_bundled_rows(options, trace_of)
    else:
        tokenizer, weights = open_or_bundled(options, lambda tokenizer, weights: trace_of(tokenizer, weights=weights))
        if options.output:
            weights.refuse_to_replace(options.output)
        trace = trace_of(tokenizer, weights=weights)
    if options.json:
        streams.print_json(trace.to_json())
    elif options.output or options.open:
        _write_page(page(trace), options)
    else:
        _show(trace, options)


def _trace_without_bundled_rows(options: argparse.Namespace, trace_of: "Callable[..., Trace]") -> "Trace":
    """The trace with GPT-2's rows, or with none: JSON has no label that tells the bundled model's from GPT-2's."""
    from minigpt2 import HubError, Tokenizer

    options.model = default_model()
    try:
        tokenizer, weights = open_both(options, timeout=SOON)
        return trace_of(tokenizer, weights=weights)
    except HubError:
        streams.note(NO_ROWS)
        return trace_of(Tokenizer())


def _show(trace: "Trace", options: argparse.Namespace) -> None:
    from minigpt2.explain.terminal import render

    shown = {"steps": options.steps, "part": options.part, "head": options.head}
    for line in render(trace, width=terminal_width() or 100, colour=has_colours(), **shown):
        print(line)


def _head(text: str) -> tuple[int, int]:
    layer, _, head = text.partition(".")
    if layer.isdecimal() and head.isdecimal():
        return int(layer), int(head)
    raise argparse.ArgumentTypeError(f"expected LAYER.HEAD, such as 0.0, not {text!r}")


def _write_page(html: str, options: argparse.Namespace) -> None:
    import tempfile

    # A temporary page is in a directory that is its user's alone.
    path = options.output or Path(tempfile.mkdtemp(prefix="minigpt2-")) / "page.html"
    with atomic_write(path) as file:
        file.write(html.encode("utf-8"))
    streams.print_about(path, str(path))
    if options.open:
        import webbrowser

        sys.stdout.flush()
        if not webbrowser.open(path.resolve().as_uri()):
            streams.note(f"there is no browser to open it with; the page is {path}")
