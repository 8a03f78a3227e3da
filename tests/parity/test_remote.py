"""Models read on the hub by the byte range, bit for bit what transformers and safetensors make of the same files."""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from transformers import GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint, Embeddings, Tokenizer
from minigpt2.cli import main
from scripts.standin import LAYERS, byte_order, header, tensor_shapes
from tests.command import ROOT, Capture, command, complaint, errors_on_a_terminal, files_in, one_line, run, wait_until
from tests.hub_server import Fault, File, Hub
from tests.hub_settings import imported_with, online
from tests.parity.test_weights import assert_same_parameters, hidden_states, random_model, same_bits
from tests.small_gpt2 import write_gpt2

WEIGHTS = "model.safetensors"
PROMPT = "The meaning of life is"


def printed(capsys: Capture, *arguments: object) -> tuple[str, str]:
    """The output of a command, and its line about the bytes that it read from the hub."""
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    return captured.out, one_line(captured.err.encode())


def with_masks(directory: Path) -> None:
    """Rewrite a saved model as the published ones are laid out: no prefix, and a mask in each layer."""
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(directory / WEIGHTS).items()}
    masks = {f"h.{layer}.attn.bias": torch.tril(torch.ones(1, 1, 37, 37)) for layer in range(3)}
    save_file(tensors | masks, directory / WEIGHTS, metadata={"format": "pt"})


def test_what_transformers_loads_from_the_hub_is_what_is_read_there_by_the_range(hub: Hub, tmp_path: Path) -> None:
    def model(name: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
        shard = changes.pop("max_shard_size", "1GB")
        built: Any = random_model(**changes)
        built.to(dtype).save_pretrained(tmp_path / name, max_shard_size=shard)
        return tmp_path / name

    for dtype in ("float32", "float16", "bfloat16"):
        for shard in ("1GB", "20KB"):
            model(f"{dtype}-{shard.lower()}", getattr(torch, dtype), max_shard_size=shard)
    with_masks(model("masks"))
    save_model(random_model(), str(model("under-one-name") / WEIGHTS))
    model("untied", tie_word_embeddings=False)
    model("untied-sharded", tie_word_embeddings=False, max_shard_size="20KB")
    random_model().transformer.save_pretrained(tmp_path / "headless")
    grown = random_model()
    grown.resize_token_embeddings(317)
    grown.save_pretrained(tmp_path / "added-tokens")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 12 and len(list((tmp_path / "float32-20kb").glob("*.safetensors"))) > 1
    for name in names:
        hub.publish(f"owner/{name}", files_in(tmp_path / name))
        compare_with_transformers(f"owner/{name}")


def compare_with_transformers(name: str) -> None:
    """Read a model on the hub by the byte range, then load it from there as transformers does."""
    ids = [[5, 0, 7], [6, 6, 1]]
    weights = Checkpoint.remote(name)  # first, so that nothing of it is cached
    rows, states = Embeddings(weights).tokens(ids), Embeddings(weights)(ids)
    half = {weights.info(tensor).dtype for tensor in weights} == {"F16"}
    judge: Any = GPT2LMHeadModel.from_pretrained(name, dtype=torch.float16 if half else torch.float32)
    assert_same_parameters(weights, judge)
    assert same_bits(rows, judge.transformer.wte(torch.tensor(ids)))
    assert same_bits(states, hidden_states(judge, ids))
    logits = judge.float()(torch.tensor(ids)).logits.detach().numpy()
    for gpt2 in (GPT2(weights), GPT2.from_pretrained(name)):
        np.testing.assert_allclose(gpt2(ids).logits, logits, rtol=0, atol=1e-5)
    assert weights.fetched_bytes >= sum(weights.info(parameter).nbytes for parameter in weights.parameter_names())


def test_the_model_is_computed_with_what_is_read_on_the_hub(hub: Hub, tmp_path: Path, capsys: Capture) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    write_gpt2(directory, {"vocab_size": 50257})
    Tokenizer().save_pretrained(directory)
    hub.publish("owner/model", files_in(directory))
    told, note = printed(capsys, "next", PROMPT, "-k", "2", "--json", "--model", "owner/model")
    assert "owner/model: read " in note
    expected = GPT2.from_pretrained(directory).next_tokens(PROMPT, k=2)
    assert [entry["id"] for entry in json.loads(told)] == [token_id for token_id, _, _ in expected]


# --- the published layout at its full size, of which next to nothing is read


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The published layout with numbers in its wte and wpe, and holes elsewhere."""
    path = tmp_path_factory.mktemp("gpt2") / WEIGHTS
    shapes = tensor_shapes(12, 768, 50257)
    path.write_bytes(header(shapes, byte_order(shapes, len(LAYERS), 0)))
    os.truncate(path, 548_105_171)
    weights, random = Checkpoint.open(path), np.random.default_rng(0)
    with path.open("r+b") as file:
        for name in ("wte.weight", "wpe.weight"):
            file.seek(weights.info(name).begin)
            file.write(random.standard_normal(weights.info(name).shape, np.float32).tobytes())
    yield path
    path.unlink()


@pytest.fixture
def published(hub: Hub, gpt2: Path) -> Iterator[Path]:
    """gpt2 on the hub, under its two names, its content taken from the file as it is asked for."""
    commit = hub.publish("openai-community/gpt2", {"config.json": b'{"model_type": "gpt2", "n_head": 12}'})
    hub.renamed["gpt2"] = "openai-community/gpt2"
    with gpt2.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        stored = File(content, large=True)  # type: ignore[arg-type]  # as good as bytes: it has a length and slices
        stored.hash = "0" * 64  # it is never downloaded whole
        hub.commits["openai-community/gpt2"][commit][WEIGHTS] = stored
        yield gpt2


def test_params_reads_at_most_20_000_bytes_and_says_so(hub: Hub, published: Path, tmp_path: Path) -> None:
    finished = run("params", env=online(hub.url, tmp_path))
    assert finished.returncode == 0 and b"148 parameters: 124,439,808 numbers" in finished.stdout
    assert hub.sent_bytes <= 20_000
    read = f"read {hub.sent_bytes:,} of 548,105,171 bytes from the hub"
    assert one_line(finished.stderr) == f"minigpt2: gpt2: {read}; `minigpt2 download gpt2` gets them all\n"


def test_five_rows_are_at_most_40_000_bytes_and_a_second_look_none(
    hub: Hub, home: Path, published: Path, tmp_path: Path, capsys: Capture
) -> None:
    printed(capsys, "embed", PROMPT, "-o", tmp_path / "rows.npy")
    sent = hub.sent_bytes
    assert 5 * 3072 < sent <= 40_000
    rows = np.load(tmp_path / "rows.npy")
    np.testing.assert_array_equal(rows, Checkpoint.open(published)["wte.weight"][[464, 3616, 286, 1204, 318]])
    hub.requests.clear()
    _, note = printed(capsys, "embed", PROMPT, "-o", tmp_path / "again.npy")
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "rows.npy").read_bytes()
    assert hub.requests == [] and "read 0 of " in note
    with imported_with(online(hub.url, home, HF_HUB_OFFLINE="1")):
        printed(capsys, "embed", PROMPT)
        assert "HF_HUB_OFFLINE" in complaint(capsys, "embed", "something else")


def test_the_other_commands_read_what_they_show(hub: Hub, published: Path, capsys: Capture) -> None:
    here = Checkpoint.open(published)
    shown, _ = printed(capsys, "show", "wpe.weight", "--rows", "1000:1002", "--json")
    rows = [row["values"] for row in json.loads(shown)["rows"]]
    np.testing.assert_array_equal(np.array(rows, np.float32), here["wpe.weight"][1000:1002])
    stats = json.loads(printed(capsys, "stats", "wpe.weight", "--json")[0])
    assert stats["least"] == float(here["wpe.weight"].min())
    assert hub.sent_bytes <= 16384 + here.info("wpe.weight").nbytes + 8192  # a small gap is not worth a request


def test_a_whole_tensor_shows_its_progress_on_a_terminal(hub: Hub, published: Path, tmp_path: Path) -> None:
    shown = errors_on_a_terminal(command("stats", "wpe.weight"), online(hub.url, tmp_path))
    assert WEIGHTS in shown and "100%" in shown and "read 3," in shown


# --- several processes, and sudden ends

READ = """
import sys, numpy
from minigpt2 import GPT2, Checkpoint, Tokenizer
array = Checkpoint.remote("gpt2")["wpe.weight"]
for row in numpy.random.default_rng(int(sys.argv[1])).permutation(1024)[:80]:
    sys.stdout.buffer.write(array[row].tobytes())
"""


def test_processes_at_once_read_the_same_right_numbers(hub: Hub, published: Path, tmp_path: Path) -> None:
    start = [sys.executable, "-c", READ]
    options: dict[str, Any] = {"env": online(hub.url, tmp_path), "cwd": ROOT, "stdout": subprocess.PIPE}
    readers = [subprocess.Popen([*start, str(seed % 2)], **options) for seed in range(4)]
    outputs = [reader.communicate(timeout=120)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    assert outputs[0] == outputs[2] and outputs[1] == outputs[3] != outputs[0]
    wpe = Checkpoint.open(published)["wpe.weight"]
    for seed, output in enumerate(outputs[:2]):
        assert output == wpe[np.random.default_rng(seed).permutation(1024)[:80]].tobytes()


def test_a_process_that_is_killed_leaves_nothing_that_counts_and_is_not_there(
    hub: Hub, published: Path, tmp_path: Path
) -> None:
    for delay in (0.0, 0.02, 0.1, 0.3):
        start_to_read_and_kill(hub, online(hub.url, tmp_path), delay)
    with imported_with(online(hub.url, tmp_path)):
        assert np.array_equal(Checkpoint.remote("gpt2")["wte.weight"], Checkpoint.open(published)["wte.weight"])


def start_to_read_and_kill(hub: Hub, env: dict[str, str], delay: float) -> None:
    hub.requests.clear()
    script = 'from minigpt2 import Checkpoint; Checkpoint.remote("gpt2").fetch(["wte.weight"])'
    with subprocess.Popen([sys.executable, "-c", script], env=env, cwd=ROOT) as process:
        wait_until(lambda: streams(hub) or process.poll() is not None)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)


def streams(hub: Hub) -> bool:
    """Whether the storage was asked for a large part of the file."""
    ranges = [request.range for request in hub.requests if request.range]
    return any(int(last) - int(first) > 100_000 for first, last in (part[6:].split("-") for part in ranges))


# --- where the hub does not do what it should


@pytest.mark.parametrize("fault", [Fault.WHOLE, Fault.STALL, Fault.GATED, Fault.HANG, 500], ids=str)
def test_a_command_fails_in_one_line_where_the_hub_fails(
    hub: Hub, published: Path, fault: Fault | int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    if fault in (Fault.HANG, Fault.STALL):  # do not wait for them for long
        monkeypatch.setattr("minigpt2.hub.answers._CONNECTION_SECONDS", 0.3)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.faults[WEIGHTS] = fault
    assert "gpt2: model.safetensors" in complaint(capsys, "embed", PROMPT)


def test_a_server_without_ranges_is_left_after_its_first_words(
    hub: Hub, published: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 30)  # the file is half a gigabyte
    hub.faults[WEIGHTS] = Fault.WHOLE
    assert "cannot give a part of a file" in complaint(capsys, "params")
    assert hub.count("GET") == 1, "and the server could not send the rest: it counts as nothing"
    assert hub.sent_bytes == 0
