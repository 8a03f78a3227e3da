"""Print what the bundled model has learnt, as transformers computes it.

    python scripts/check_bundled.py BOOKS [--model DIRECTORY] [--held-back 84 289] [--seed 1]

It prints the neighbours of ten words in `wte`, and how many of the words have the neighbours that they should; what
follows "Once upon a"; ten samples; and, after some minutes, the loss on each book held back and the probability of all
tokens that the training books lack. BOOKS and the books held back are those that `train_bundled.py` was given.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GPT2LMHeadModel

from minigpt2 import Checkpoint, Tokenizer
from minigpt2.weights.bundled import DIRECTORY
from scripts.bundled.texts import VOCAB_SIZE, read_texts, token_ids

# Ten words, chosen before the model was trained: how many of which words should be among the nearest ten of each.
NEIGHBOURS = {
    "king": (1, "queen prince"),
    "sea": (1, "ocean shore ship"),
    "three": (3, "one two four five six seven eight nine ten twelve twenty hundred"),
    "ran": (3, "rushed walked hurried went came flew jumped sprang leaped crept rode started turned drove"),
    "mother": (2, "father sister brother aunt uncle daughter wife husband son"),
    "red": (3, "white black blue green yellow brown grey golden purple pink scarlet"),
    "summer": (1, "winter autumn spring"),
    "hand": (1, "hands arm arms finger fingers shoulder foot"),
    "said": (3, "cried replied asked answered exclaimed remarked returned whispered says observed"),
    "horse": (1, "horses pony dog donkey cow ass carriage mule"),
}

PROMPTS = (
    "<|endoftext|>",
    "Once upon a time",
    "The king",
    "It was a cold morning, and",
    '"I do not know," said',
    "The sea",
    "When the door opened,",
    "My dear sister,",
    "They walked through the forest until",
    "In the year 18",
)


@torch.no_grad()
def losses(model: GPT2LMHeadModel, ids: NDArray[np.int64], never: Tensor) -> tuple[float, float]:
    """Mean loss of a book, and the mean probability of all tokens that `never` marks.

    The book is read in windows of the model's context that follow one another, without a last, shorter one. Every
    token is predicted from what comes before it in its window.
    """
    length = model.config.n_positions
    total, probability, n = 0.0, 0.0, (len(ids) - 1) // length
    for start in range(0, n * length, length):
        window = torch.from_numpy(ids[start : start + length + 1])
        logits = model(window[None, :-1]).logits[0]  # (length, vocab_size)
        log_z = logits.logsumexp(1)
        total += (log_z - logits.gather(1, window[1:, None])[:, 0]).mean().item()
        probability += (logits[:, never].logsumexp(1) - log_z).exp().mean().item()
    return total / n, probability / n


def neighbours(wte: Tensor, token_id: int, k: int = 10) -> list[int]:
    """The k tokens other than itself whose rows have the highest cosine with the token's."""
    rows = torch.nn.functional.normalize(wte, dim=1)
    return [int(i) for i in (rows @ rows[token_id]).argsort(descending=True) if i != token_id][:k]


def token_of(tokenizer: Tokenizer, word: str) -> int:
    (token_id,) = tokenizer.encode(f" {word}")
    return token_id


def neighbour_lines(wte: Tensor, tokenizer: Tokenizer) -> Iterator[str]:
    """Each word with its nearest ten, and last how many words have the neighbours that they should."""
    passed = 0
    for word, (least, wanted) in NEIGHBOURS.items():
        found = [tokenizer.decode([i]) for i in neighbours(wte, token_of(tokenizer, word))]
        good = len({f.strip().lower() for f in found} & set(wanted.split())) >= least
        passed += good
        yield f"{'yes' if good else 'NO ':4}{word:8}{' '.join(f.replace(' ', '_') for f in found)}"
    yield f"{passed} of {len(NEIGHBOURS)} words have the neighbours that they should"


@torch.no_grad()
def sample(model: GPT2LMHeadModel, ids: list[int], n: int = 100, temperature: float = 0.8) -> list[int]:
    """The ids and n more."""
    for _ in range(n):
        logits = model(torch.tensor([ids])).logits[0, -1] / temperature  # (vocab_size,)
        ids = [*ids, int(torch.multinomial(logits.softmax(0), 1))]
    return ids


def report(model: GPT2LMHeadModel, books: Path, held_back: list[str]) -> Iterator[str]:
    """The lines to print, the quick things first."""
    tokenizer = Tokenizer()
    yield from neighbour_lines(model.transformer.wte.weight.detach(), tokenizer)
    with torch.no_grad():
        best = model(torch.tensor([tokenizer.encode("Once upon a")])).logits[0, -1].softmax(0).topk(5)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    yield "Once upon a: " + ", ".join(f"{tokenizer.decode([i])!r} {p:.1%}" for i, p in pairs)
    for n, prompt in enumerate(PROMPTS, 1):
        yield f"--- sample {n}\n{tokenizer.decode(sample(model, tokenizer.encode(prompt)))}"
    yield "---"
    never = torch.ones(VOCAB_SIZE, dtype=torch.bool)
    never[read_texts(books, held_back).seen] = False
    total = 0.0
    for name in held_back:
        loss, probability = losses(model, token_ids([books / f"{name}.txt"]).astype(np.int64), never)
        yield f"book {name}: {loss:.4f} nats a token; the {never.sum():,} tokens that never occur: {probability:.3%}"
        total += loss
    yield f"mean: {total / len(held_back):.4f} nats a token"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Print what the bundled model has learnt.")
    parser.add_argument("books", type=Path, help="the folder that it was trained on")
    parser.add_argument("--model", type=Path, default=DIRECTORY, help="a directory (the package's own)")
    parser.add_argument("--held-back", nargs="+", default=["84", "289"], help="books not trained on (84 289)")
    parser.add_argument("--seed", type=int, default=1, help="of the samples (1)")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    weights = Checkpoint.open(options.model)
    print(json.dumps(dict(weights.metadata), indent=2), f"{weights.num_parameters():,} numbers", sep="\n")
    model = GPT2LMHeadModel.from_pretrained(options.model, dtype=torch.float32)
    for line in report(model, options.books, options.held_back):
        print(line, flush=True)


if __name__ == "__main__":
    main()
