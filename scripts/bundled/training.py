"""Training: what it goes by, its state, and a step."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils import deterministic

from minigpt2.atomic_write import atomic_write
from scripts.bundled.loss import OutputLayer, book_loss, windows
from scripts.bundled.model import hidden_states, initial_parameters
from scripts.bundled.texts import Texts


@dataclass(frozen=True)
class Recipe:
    """Everything the result depends on besides the texts and the schedule."""

    n_layer: int = 5
    n_embd: int = 128
    n_head: int = 4
    n_positions: int = 256
    batch: int = 128  # windows of n_positions tokens a step
    draws: int = 4096
    dropout: float = 0.05
    lr: float = 8e-3
    weight_decay: float = 0.6
    warmup: int = 500_000  # tokens
    seed: int = 1


@dataclass(frozen=True)
class Schedule:
    """When training ends. Another may take its place while training goes on.

    The learning rate rises to its highest, stays there, and falls to zero in a straight line.
    """

    tokens: int  # to train on in all
    decay: float  # the part of them, at the end, in which the learning rate falls
    full: float  # the part of them, at the end, with the loss over all tokens


def device() -> torch.device:
    """The GPU if there is one, made to sum in the same order each time; or the processor, which does."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it would cost time
    return torch.device("cuda")


class Training:
    """Parameters and how a step changes them.

    A step's batch and random numbers follow from the seed and the step's number alone. So the state to keep is the
    parameters, the optimizers' averages and the number of steps. `schedules` is each schedule by the step that was the
    first to go by it.
    """

    def __init__(self, texts: Texts, recipe: Recipe, schedule: Schedule) -> None:
        self.texts, self.recipe, self.schedule = texts, recipe, schedule
        self.device = device()
        self.steps, self.seconds = 0, 0.0
        self.schedules = {0: asdict(schedule)}
        r = recipe
        parameters = initial_parameters(len(texts.counts), r.n_positions, r.n_embd, r.n_layer, r.seed)
        self.parameters = {name: value.to(self.device).requires_grad_() for name, value in parameters.items()}
        self.output = OutputLayer(texts.counts.to(self.device), r.draws, r.batch * r.n_positions)
        self.optimizers = self._optimizers()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the layers' matrices, AdamW for all else."""
        lr, decay = self.recipe.lr, self.recipe.weight_decay
        matrices = [value for name, value in self.parameters.items() if value.ndim == 2 and name.startswith("h.")]
        tables = {"params": [self.parameters[name] for name in ("wte.weight", "wpe.weight")], "weight_decay": decay}
        vectors = {"params": [value for value in self.parameters.values() if value.ndim == 1], "weight_decay": 0.0}
        return [
            torch.optim.Muon(matrices, lr=lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW([tables, vectors], lr=lr, betas=(0.9, 0.98), fused=True),
        ]

    @property
    def tokens(self) -> int:
        """How many tokens it was trained on, counted each time."""
        return self.steps * self.recipe.batch * self.recipe.n_positions

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        rise = (self.tokens + 1) / self.recipe.warmup
        fall = (1 - self.tokens / self.schedule.tokens) / self.schedule.decay
        return self.recipe.lr * max(0.0, min(1.0, rise, fall))

    def step(self) -> float:
        """Train on one batch and return its loss before."""
        torch.manual_seed((self.recipe.seed << 32) + self.steps)
        ids, targets = (each.to(self.device) for each in self._batch())
        with torch.autocast(self.device.type, torch.bfloat16):
            h = hidden_states(self.parameters, ids, self.recipe.n_head, self.recipe.dropout)
        full = self.tokens >= (1 - self.schedule.full) * self.schedule.tokens
        loss = (self.output.loss if full else self.output.sampled_loss)(
            h.flatten(0, 1), self.parameters["wte.weight"], targets.flatten()
        )
        torch.autograd.backward(loss)
        self._update(self.learning_rate())
        self.steps += 1
        return loss.item()

    def _batch(self) -> tuple[Tensor, Tensor]:
        """(B, T) ids and targets. An epoch is the whole text in windows, in random order and from a random offset.

        Every other time, a token that occurs once in the whole text is taken for one that never occurs: from these the
        model learns what a token that it has never seen is like.
        """
        length, batch, ids = self.recipe.n_positions, self.recipe.batch, self.texts.train
        n = (len(ids) - 1) // length - 1
        epoch, i = divmod(self.steps, n // batch)
        generator = torch.Generator().manual_seed(self.recipe.seed + epoch)
        offset = torch.randint(length, (1,), generator=generator)
        order = torch.randperm(n, generator=generator)
        found = windows(ids, order[i * batch : (i + 1) * batch] * length + offset, length)
        once = (self.texts.counts[found] == 1) & (torch.rand(found.shape) < 0.5)
        found = found.masked_fill(once, len(self.texts.seen))
        return found[:, :-1], found[:, 1:]

    def _update(self, learning_rate: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad()

    def held_back_losses(self, most: int | None = None) -> dict[str, float]:
        """The loss of each book held back, by its name; see `book_loss`."""
        return {
            name: round(book_loss(self.parameters, ids.to(self.device), self.output, self.recipe.n_head, most), 4)
            for name, ids in self.texts.held_back.items()
        }

    def made_of(self) -> dict[str, str | float]:
        """Everything the result depends on, besides the schedule."""
        facts = {"texts_sha256": self.texts.sha256, "torch": str(torch.__version__)}
        if self.device.type == "cuda":
            facts["gpu"] = torch.cuda.get_device_name()
        return asdict(self.recipe) | facts

    def save(self, path: Path) -> None:
        """Write the state."""
        state = {
            "made_of": self.made_of(),
            "steps": self.steps,
            "seconds": self.seconds,
            "schedules": self.schedules,
            "parameters": self.parameters,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with atomic_write(path) as file:
            torch.save(state, file)

    def load(self, path: Path) -> None:
        """Go on from a state that was saved, by this schedule.

        Raises:
            ValueError: it was made of other texts, by another recipe or by another torch.
        """
        state = torch.load(path, map_location=self.device, weights_only=True)
        for name, value in self.made_of().items():
            if (found := state["made_of"].get(name)) != value:
                raise ValueError(f"{path} was made with {name} {found}, not {value}: use that, or another work folder")
        self.steps, self.seconds, self.schedules = state["steps"], state["seconds"], state["schedules"]
        if asdict(self.schedule) != list(self.schedules.values())[-1]:
            self.schedules[self.steps] = asdict(self.schedule)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state["parameters"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
