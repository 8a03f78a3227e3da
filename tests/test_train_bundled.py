"""Training the bundled model: its script, with a toy in place of the model and three pages in place of the books."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional
from transformers import GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.weights.bundled import is_bundled
from scripts import train_bundled
from scripts.bundled.loss import CrossEntropy, OutputLayer
from scripts.bundled.texts import read_texts
from scripts.bundled.training import Recipe, Schedule, Training

TOY = Recipe(n_layer=2, n_embd=8, n_head=2, n_positions=16, batch=2, draws=64, warmup=64)
STEPS = 8
TOKENS = STEPS * TOY.batch * TOY.n_positions


class Interrupted(Exception):  # noqa: N818
    """Power goes off."""


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("books")
    words = Path(train_bundled.__file__).read_text("utf-8").split()
    for n, name in enumerate(("1", "2", "held")):
        (folder / f"{name}.txt").write_text(" ".join(words[n * 100 : n * 100 + 300]), "utf-8")
    return folder


def run(books: Path, work: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Path:
    """Run the script as the command line does, and return where the model goes."""
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in vars(TOY).items()]
    schedule = [f"--tokens={TOKENS}", "--decay=0.25", "--full=0.25"]
    output = work / "trained"
    command = [
        "",
        str(books),
        f"--work={work}",
        f"--output={output}",
        "--held-back",
        "held",
        *sizes,
        *schedule,
        *options,
    ]
    monkeypatch.setattr(sys, "argv", command)
    train_bundled.main()
    return output


def contents(directory: Path) -> tuple[dict[str, bytes], dict[str, object]]:
    """The bytes of each tensor, and the header without the time that training took."""
    with safe_open(directory / "model.safetensors", "np") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118 (it is not a dict)
        metadata = file.metadata()
    training = json.loads(metadata["training"])
    del training["seconds"]
    return tensors, {**metadata, "training": training}


@pytest.fixture(scope="module")
def trained(books: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return run(books, tmp_path_factory.mktemp("work"), monkeypatch)


def test_an_interrupted_run_goes_on_and_ends_in_the_same_numbers(
    books: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Training.step

    def until_power_goes_off(training: Training) -> float:
        if training.steps == 5:
            raise Interrupted
        return step(training)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Training, "step", until_power_goes_off)
        run(books, tmp_path, patch, "--save-every=0")
    assert not (tmp_path / "trained").exists()
    assert contents(run(books, tmp_path, monkeypatch)) == contents(trained)


def test_another_seed_gives_another_model(
    books: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert contents(run(books, tmp_path, monkeypatch, "--seed=2"))[0] != contents(trained)[0]


def test_a_run_does_not_go_on_with_other_options(books: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"state\.pt was made with seed 1, not 2: use that, or another work folder"):
        run(books, trained.parent, monkeypatch, "--seed=2")


def test_a_run_goes_on_by_another_schedule_and_lists_both(
    books: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(books, tmp_path, monkeypatch)
    longer = run(books, tmp_path, monkeypatch, f"--tokens={TOKENS + 64}")
    facts = json.loads(Checkpoint.open(longer).metadata["training"])
    assert facts["steps"] == STEPS + 2
    assert facts["schedules"] == {
        "0": {"tokens": TOKENS, "decay": 0.25, "full": 0.25},
        str(STEPS): {"tokens": TOKENS + 64, "decay": 0.25, "full": 0.25},
    }


def test_a_book_to_hold_back_must_be_there(books: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"has no 84\.txt to hold back"):
        run(books, tmp_path, monkeypatch, "--held-back", "84")


def test_the_header_says_what_the_model_is_and_how_it_was_made(trained: Path) -> None:
    weights = Checkpoint.open(trained)
    assert is_bundled(weights)
    facts = json.loads(weights.metadata["training"])
    assert facts["seed"] == 1
    assert facts["steps"] == STEPS
    assert facts["trained_tokens"] == TOKENS
    assert facts["torch"] == torch.__version__
    assert len(facts["texts_sha256"]) == 64
    assert json.loads(weights.metadata["held_back_losses"]).keys() == {"held"}


def test_the_texts_sha256_is_that_of_sha256sum(books: Path) -> None:
    # cd books && sha256sum 1.txt 2.txt | sha256sum
    lines = subprocess.run(["sha256sum", "1.txt", "2.txt"], cwd=books, capture_output=True, check=True).stdout
    total = subprocess.run(["sha256sum"], input=lines, capture_output=True, check=True).stdout
    assert read_texts(books, ["held"]).sha256 == total.split()[0].decode()


def test_transformers_and_minigpt2_compute_the_same_with_it(trained: Path) -> None:
    ids = [[464, 3616, 286, 1204, 318]]
    model = GPT2LMHeadModel.from_pretrained(trained, dtype=torch.float32)
    with torch.no_grad():
        expected = model(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(GPT2(Checkpoint.open(trained))(ids).logits, expected, atol=1e-5)


def test_the_loss_held_back_is_that_of_transformers(books: Path, trained: Path) -> None:
    """Over the whole vocabulary, tokens that the training books lack included."""
    model = GPT2LMHeadModel.from_pretrained(trained, dtype=torch.float32)
    ids = [*Tokenizer().encode((books / "held.txt").read_text("utf-8")), 50256]
    length = TOY.n_positions
    losses = [
        model(torch.tensor([ids[start : start + length]]))
        .logits[0]
        .log_softmax(1)[range(length), ids[start + 1 : start + length + 1]]
        for start in range(0, len(ids) - length, length)
    ]
    weights = Checkpoint.open(trained)
    # Here a row of a token that never occurs has noise: 0.01 a number, so 0.03 a logit, and this is a mean over many.
    assert json.loads(weights.metadata["held_back_losses"])["held"] == pytest.approx(
        -torch.cat(losses).mean().item(), abs=1e-2
    )


def test_training_lowers_the_loss(books: Path) -> None:
    schedule = Schedule(60 * TOY.batch * TOY.n_positions, decay=0.25, full=0.1)
    training = Training(read_texts(books, ["held"]), Recipe(**{**vars(TOY), "lr": 0.02}), schedule)
    before = training.held_back_losses()["held"]
    while training.tokens < schedule.tokens:
        training.step()
    assert training.held_back_losses()["held"] < before - 1


def test_tokens_that_never_occur_have_rows_alike(books: Path, trained: Path) -> None:
    seen = read_texts(books, ["held"]).seen.numpy()
    wte = Checkpoint.open(trained)["wte.weight"].astype(np.float32)
    unseen = np.delete(wte, seen, axis=0)
    assert len(unseen) == 50257 - len(seen)
    assert 0 < np.abs(unseen - unseen.mean(0)).max() < 0.1
    assert np.abs(wte[seen] - unseen.mean(0)).max() > 0.1


def test_the_learning_rate_rises_stays_and_falls_to_zero(books: Path) -> None:
    schedule = Schedule(tokens=100 * 32, decay=0.25, full=0.0)
    training = Training(read_texts(books, ["held"]), Recipe(**{**vars(TOY), "warmup": 10 * 32}), schedule)
    rates = []
    for training.steps in range(100):
        rates.append(training.learning_rate())
    assert rates[0] == pytest.approx(TOY.lr / 320)
    assert rates[10:76] == pytest.approx([TOY.lr] * 66)
    assert np.diff(rates[75:]) == pytest.approx(-TOY.lr / 25)


def test_cross_entropy_and_its_gradients_are_those_of_torch() -> None:
    torch.manual_seed(0)
    h, w = torch.randn(700, 16, requires_grad=True), torch.randn(300, 16, requires_grad=True)
    bias, targets = torch.randn(300), torch.randint(300, (700,))
    expected = functional.cross_entropy(h @ w.T + bias, targets)
    found = CrossEntropy.apply(h, w, bias, targets)  # type: ignore[no-untyped-call]
    assert found.item() == pytest.approx(expected.item(), rel=1e-2)
    for a, b in zip(torch.autograd.grad(found, (h, w)), torch.autograd.grad(expected, (h, w)), strict=True):
        assert (a - b).norm() < 0.01 * b.norm()  # bfloat16 has 8 bits


def test_the_sampled_loss_pulls_nowhere_where_the_loss_over_all_tokens_is_lowest() -> None:
    """The gradient at the right distribution is zero in the mean; without the correction it is far from it."""
    torch.manual_seed(0)
    n, tokens = 200, 64
    counts = torch.cat([1000 / torch.arange(1, n + 1), torch.zeros(1)]).round()
    output = OutputLayer(counts, draws=40, batch_tokens=tokens)
    log_p = (counts / counts.sum()).log().clamp(min=-30)
    wte = torch.diag(log_p).requires_grad_()  # the logits of a hidden state of ones are log_p
    h = torch.ones(tokens, n + 1)

    def mean_pull() -> float:
        pulls = []
        for _ in range(300):
            targets = torch.multinomial(counts, tokens, replacement=True)
            pulls.append(torch.autograd.grad(output.sampled_loss(h, wte, targets), wte)[0].diag())
        return float(torch.stack(pulls).mean(0).abs().sum())

    right = mean_pull()
    output.correction = torch.zeros(n + 1)
    assert right < 0.1
    assert mean_pull() > 3 * right
