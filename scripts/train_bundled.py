"""Train the small GPT-2 that comes with minigpt2: a folder of books → model.safetensors and config.json.

    python scripts/train_bundled.py BOOKS [--work FOLDER] [--output DIRECTORY] [--tokens 150732800] ...

Every `.txt` file in BOOKS is a book. The books of `--held-back` are not trained on; the loss on them is printed as
training goes. The work folder holds the state of training and a preview of the model, both written every few minutes,
whole or not at all. Run the same command again after an interruption, and training goes on where the state was saved
and ends in the same numbers. `--tokens`, `--decay` and `--full` may be others each time, so a run can be brought to its
end early; the model's header lists them all. Texts, options and seed decide the result, on one machine with one version
of torch and one number of threads (`OMP_NUM_THREADS`).

It runs on the GPU if torch finds one: the bundled model took five minutes on an H100. Without one, these options take
90 minutes on two cores, for 0.07 nats a token more: `--tokens 46000000 --batch 16 --lr 0.004 --weight-decay 0.1
--dropout 0 --full 0.006`. Matrix products are in bfloat16: a processor with AMX does these about five times as fast as
float32. Two settings of the environment help. `OMP_WAIT_POLICY=PASSIVE` keeps threads from waiting in a busy loop.
`MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296` lets several gigabytes of freed memory be used
again.
"""

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from minigpt2.weights.bundled import DIRECTORY
from scripts.bundled.files import write_model
from scripts.bundled.texts import read_texts
from scripts.bundled.training import Recipe, Schedule, Training


def train(training: Training, work: Path, save_every: float) -> None:
    """Train to the end of the schedule; print the losses and save the state every so many seconds."""
    losses: list[float] = []
    start = time.monotonic()
    while training.tokens < training.schedule.tokens:
        losses.append(training.step())
        elapsed = time.monotonic() - start
        if elapsed >= save_every or training.tokens >= training.schedule.tokens:
            held_back = training.held_back_losses(most=16)
            training.seconds += time.monotonic() - start
            training.save(work / "state.pt")
            write_model(work / "preview", training, held_back)
            print(
                f"step {training.steps}, {training.tokens / 1e6:.1f} million tokens, {training.seconds / 60:.0f} min,"
                f" {len(losses) / elapsed:.1f} steps a second, learning rate {training.learning_rate():.5f}:"
                f" loss {sum(losses) / len(losses):.3f}, on windows of the books held back {held_back}",
                flush=True,
            )
            losses, start = [], time.monotonic()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the small GPT-2 that comes with minigpt2.")
    parser.add_argument("books", type=Path, help="a folder of .txt files")
    work = Path.home() / ".cache" / "minigpt2-training"
    parser.add_argument("--work", type=Path, default=work, help=f"where the state of training is kept ({work})")
    parser.add_argument("--output", type=Path, default=DIRECTORY, help="where the trained model goes (the package)")
    parser.add_argument("--held-back", nargs="*", default=["84", "289"], help="books not to train on (84 289)")
    parser.add_argument("--tokens", type=int, default=150_732_800, help="tokens to train on in all (150732800)")
    parser.add_argument("--decay", type=float, default=0.7, help="the last part, in which the rate falls (0.7)")
    parser.add_argument("--full", type=float, default=1.0, help="the last part with the whole softmax (1.0)")
    parser.add_argument("--save-every", type=float, default=240.0, help="seconds from state to state (240)")
    recipe = parser.add_argument_group("the recipe")
    for field in fields(Recipe):
        name = f"--{field.name.replace('_', '-')}"
        recipe.add_argument(name, type=type(field.default), default=field.default, help=f"({field.default})")
    return parser.parse_args()


def main() -> None:
    """Train, and write the model."""
    options = arguments()
    schedule = Schedule(options.tokens, options.decay, options.full)
    recipe = Recipe(**{field.name: getattr(options, field.name) for field in fields(Recipe)})
    state = options.work / "state.pt"
    try:
        options.work.mkdir(parents=True, exist_ok=True)
        training = Training(read_texts(options.books, options.held_back), recipe, schedule)
        if state.exists():
            training.load(state)
        train(training, options.work, options.save_every)
        losses = training.held_back_losses()
        write_model(options.output, training, losses)
    except (OSError, ValueError) as error:
        raise SystemExit(f"train_bundled.py: {error}") from error
    print(f"{options.output}: loss of the books held back {losses}")


if __name__ == "__main__":
    main()
