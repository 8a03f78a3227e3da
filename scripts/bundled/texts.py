"""A folder of books → the token ids to train on and those of the books held back."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minigpt2.corpus import tokenize

VOCAB_SIZE = 50257


@dataclass(frozen=True)
class Texts:
    """The token ids of the books, renumbered: token `seen[i]` of the vocabulary is token i here.

    All tokens that the training books lack are one token here, number `len(seen)`. They share one row of `wte`, which
    brings their probability down without 17,000 rows that only ever move together.

    Attributes:
        train: (tokens,) int64, one book after the other, `<|endoftext|>` after each.
        held_back: the same of each book that is not trained on, by its name.
        seen: (n_seen,) int64, the token ids that the training books have, ascending.
        counts: (n_seen + 1,) int64, how often they have each; last the 0 of all others.
        sha256: of what `sha256sum` prints for the training books, in the order of their names.
    """

    train: Tensor
    held_back: dict[str, Tensor]
    seen: Tensor
    counts: Tensor
    sha256: str


def read_texts(folder: Path, held_back: list[str]) -> Texts:
    """Tokenize the `.txt` files of a folder; `held_back` names those not to train on, without `.txt`.

    Raises:
        FileNotFoundError: a book to hold back is not there, or no book is left to train on.
    """
    books = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    train = [path for name, path in books.items() if name not in held_back]
    for missing in set(held_back) - set(books):
        raise FileNotFoundError(f"{folder} has no {missing}.txt to hold back")
    if not train:
        raise FileNotFoundError(f"{folder} has no .txt file to train on")
    ids = token_ids(train)
    counts = np.bincount(ids, minlength=VOCAB_SIZE)
    seen = np.flatnonzero(counts)
    number = np.full(VOCAB_SIZE, len(seen))
    number[seen] = np.arange(len(seen))
    return Texts(
        train=torch.from_numpy(number[ids]),
        held_back={name: torch.from_numpy(number[token_ids([books[name]])]) for name in held_back},
        seen=torch.from_numpy(seen),
        counts=torch.from_numpy(np.append(counts[seen], 0)),
        sha256=hashlib.sha256(b"".join(map(sha256sum, train))).hexdigest(),
    )


def token_ids(books: list[Path]) -> NDArray[np.uint16]:
    """The ids of the books, one `<|endoftext|>` after each."""
    with TemporaryDirectory() as directory:
        output = Path(directory, "ids.bin")
        tokenize(books, output)
        return np.fromfile(output, np.uint16)


def sha256sum(path: Path) -> bytes:
    """The line that `sha256sum` prints for a file of the current directory."""
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode()
