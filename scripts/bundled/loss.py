"""The loss, over all tokens or over those drawn for a step: most of the work of a small model is its output layer."""

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from scripts.bundled.model import Parameters, hidden_states
from scripts.bundled.texts import VOCAB_SIZE


class OutputLayer:
    """The loss of hidden states against their targets.

    A sampled step computes logits only for its own targets and for some tokens drawn: about `draws`, three in four by
    the 3/4th power of their counts, one in four by chance alone, so that rare tokens are pushed down as well. Each
    logit is corrected by the log of its token's chance to be among these tokens, and so the loss has its lowest value
    at the same model as the loss over all tokens.

    Attributes:
        drawn: (n_rows,) the chance that a step draws the token.
        correction: (n_rows,) log of the chance that a step has the token, drawn or as a target.
        share: (n_rows,) log of how many tokens share the row.
    """

    def __init__(self, counts: Tensor, draws: int, batch_tokens: int) -> None:
        counts = counts.double()
        seen, powers = len(counts) - 1, counts**0.75
        q = 0.75 * powers / powers.sum() + 0.25 / seen
        drawn = 1 - (1 - q) ** draws
        drawn[-1] = 1  # the row of all tokens that never occur
        self.drawn = drawn.float()
        self.correction = (1 - (1 - drawn) * (1 - counts / counts.sum()) ** batch_tokens).log().float()
        self.share = torch.zeros(seen + 1, device=counts.device)
        self.share[-1] = math.log(max(1, VOCAB_SIZE - seen))

    def loss(self, h: Tensor, wte: Tensor, targets: Tensor) -> Tensor:
        """(N, n_embd), (n_rows, n_embd), (N,) -> (): the mean over all tokens."""
        return cast(Tensor, CrossEntropy.apply(h, wte, self.share, targets))  # type: ignore[no-untyped-call]

    def sampled_loss(self, h: Tensor, wte: Tensor, targets: Tensor) -> Tensor:
        """(N, n_embd), (n_rows, n_embd), (N,) -> (): the mean over the targets and tokens drawn."""
        chosen = torch.rand(len(wte), device=wte.device) < self.drawn
        chosen[targets] = True
        rows = chosen.nonzero()[:, 0]
        columns = (chosen.cumsum(0) - 1)[targets]  # of the targets' logits
        return cast(Tensor, CrossEntropy.apply(h, wte[rows], (self.share - self.correction)[rows], columns))  # type: ignore[no-untyped-call]


class CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of the logits `h @ w.T + bias` in bfloat16 products.

    It goes through the hidden states some at a time and keeps the gradients instead of the logits: these stay in the
    processor's cache, where those of a whole batch would be a gigabyte. A GPU takes more at a time.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, w: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        """(N, n_embd), (C, n_embd), (C,), (N,) -> ()"""
        narrow_w, narrow_bias = w.bfloat16(), bias.bfloat16()
        h_grads, w_grad, total = [], torch.zeros_like(w), torch.zeros((), device=h.device)
        rows = 8192 if h.is_cuda else 512 if len(w) < 16384 else 128
        for x, y in zip(h.bfloat16().split(rows), targets[:, None].split(rows), strict=True):
            p = torch.addmm(narrow_bias, x, narrow_w.T).softmax(1)  # (rows, C)
            own = p.gather(1, y)
            total -= own.float().log().sum()
            grad = p.scatter_(1, y, own - 1)  # (rows, C)
            h_grads.append((grad @ narrow_w).float())
            w_grad += grad.T @ x
        ctx.save_for_backward(torch.cat(h_grads) / len(h), w_grad / len(h))
        return total / len(h)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """() -> (N, n_embd), (C, n_embd)"""
        h_grad, w_grad = ctx.saved_tensors
        return h_grad * grads[0], w_grad * grads[0], None, None


@torch.no_grad()
def book_loss(p: Parameters, ids: Tensor, output: OutputLayer, n_head: int, most: int | None = None) -> float:
    """Mean loss of a book in nats a token, over all tokens, in windows of the model's context that follow one another.

    Each token is predicted from those before it in its window. A last, shorter window is left out. `most` bounds the
    number of windows: they are then taken from all over the book.
    """
    length = len(p["wpe.weight"])
    starts = torch.arange(0, len(ids) - length, length, device=ids.device)
    step = max(1, len(starts) // most) if most else 1
    losses = []
    for some in starts[::step].split(4):
        found = windows(ids, some, length)
        x, y = found[:, :-1], found[:, 1:].flatten()
        logits = hidden_states(p, x, n_head) @ p["wte.weight"].T + output.share  # (B, T, n_rows)
        row_losses = functional.cross_entropy(logits.flatten(0, 1), y, reduction="none")
        losses.append(row_losses + output.share[y])  # a token has its share of its row's probability
    return torch.cat(losses).mean().item()


def windows(ids: Tensor, starts: Tensor, length: int) -> Tensor:
    """(B, length + 1): the ids from each start on, and the one that is next."""
    return ids[starts[:, None] + torch.arange(length + 1, device=ids.device)]
