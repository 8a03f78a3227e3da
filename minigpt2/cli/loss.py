"""How well the model predicts a text: nats a token, and the perplexity, which is exp of that.

The first token is not predicted. A text that is longer than the model has positions is read in windows, each --stride
tokens after the one before, by default half a window: so every token but those of the first window is predicted from
at least so many tokens before it. A smaller stride takes longer, and the loss is lower.

  minigpt2 loss book.txt
  minigpt2 loss - < book.txt
"""

import argparse

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, open_both, print_label
from minigpt2.cli.numbers import positive
from minigpt2.cli.text import read_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="the text, UTF-8; - for standard input")
    parser.add_argument(
        "--stride", type=positive, metavar="N", help="below the model's number of positions (default: half of it)"
    )
    parser.add_argument("--ordinary", action="store_true", help="take special tokens in the text as plain text")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print the loss of a text."""
    import numpy as np
    from tqdm import tqdm

    from minigpt2 import GPT2
    from minigpt2.inference.windows import losses_in_windows

    text = read_file(options.file)
    tokenizer, weights = open_both(options)
    model = GPT2(weights, tokenizer)
    allowed = () if options.ordinary else "all"
    ids = tokenizer.encode_to_numpy(text, dtype=np.uint32, allowed_special=allowed)
    if len(ids) < 2:
        raise ValueError(f"the text has {len(ids)} tokens: a loss needs at least 2, for the first is not predicted")
    stride = options.stride or max(1, model.options.n_positions // 2)
    count, total = len(ids) - 1, 0.0
    with tqdm(total=count, unit=" tokens", disable=None) as progress:  # on a terminal alone
        for losses in losses_in_windows(model, ids, stride):
            total += float(losses.sum(dtype=np.float64))
            progress.update(len(losses))
    loss = total / count
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(loss))
    window = model.options.n_positions
    if options.json:
        figures = {"loss": loss, "perplexity": perplexity, "tokens": count, "window": window, "stride": stride}
        streams.print_json({"model": options.model, **figures})
        return
    print_label(weights)
    print(f"{loss:.4f} nats a token, perplexity {perplexity:,.2f}, over {count:,} tokens")
    print(f"(windows of {window:,} tokens, stride {stride:,})")
