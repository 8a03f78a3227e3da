"""The page of `minigpt2 explain` with a box for text: it changes as you type.

It is served on 127.0.0.1, to this machine only; nothing that is typed leaves the machine or is kept. The rows are
GPT-2's where its weights are in the cache of downloads, or else those of the bundled model; nothing is downloaded.

  minigpt2 serve
"""

import argparse

from minigpt2.cli.lesson import PROMPT
from minigpt2.cli.model_option import add_model, open_or_bundled
from minigpt2.cli.numbers import port

PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--port", type=port, default=PORT, metavar="N", help=f"the port; 0 takes any that is free (default: {PORT})"
    )
    add_model(parser, has_default=False)


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted."""
    from minigpt2.explain.server import ExplainServer

    tokenizer, weights = open_or_bundled(options, local_files_only=True)
    with ExplainServer(options.port, tokenizer, weights, PROMPT) as server:
        print(f"{server.url}  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()  # after the ^C that the terminal shows
