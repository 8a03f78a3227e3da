"""Models read on the hub by the byte range, bit for bit what transformers and safetensors make of the same files."""

import json
import mmap
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint, Tokenizer
from scripts.standin import LAYERS, byte_order, header, tensor_shapes
from tests.command import command, one_line, run
from tests.hub_server import Fault, File, Hub
from tests.small_gpt2 import write_gpt2

ROOT = Path(__file__).parents[2]
WEIGHTS = "model.safetensors"
PROMPT = "The meaning of life is"

# Loads every model as transformers loads it from the hub, and reads it from there by the byte range, in one process.
JUDGE = """
import json, sys, numpy, torch, transformers
from minigpt2 import GPT2, Checkpoint, Embeddings
for model in sys.argv[1:]:
    weights = Checkpoint.remote(model)  # first, so that nothing of it is cached
    half = {weights.info(name).dtype for name in weights} == {"F16"}
    dtype = torch.float16 if half else torch.float32
    ids = [[5, 0, 7], [6, 6, 1]]
    rows, states = Embeddings(weights).tokens(ids), Embeddings(weights)(ids)
    ours = [(name, numpy.array(array)) for name, array in weights.named_parameters()]
    judge = transformers.GPT2LMHeadModel.from_pretrained(model, dtype=dtype)
    theirs = list(judge.named_parameters())
    assert [name for name, _ in ours] == [name for name, _ in theirs], model
    for (name, array), (_, tensor) in zip(ours, theirs, strict=True):
        expected = tensor.detach().numpy()
        assert array.dtype == expected.dtype and array.shape == expected.shape, (model, name)
        assert array.tobytes() == expected.tobytes(), (model, name)
    assert rows.tobytes() == judge.transformer.wte(torch.tensor(ids)).detach().numpy().tobytes(), model
    hidden = judge(torch.tensor(ids), output_hidden_states=True).hidden_states[0]
    assert states.tobytes() == hidden.detach().numpy().tobytes(), model
    logits = judge.float()(torch.tensor(ids)).logits.detach().numpy()
    for gpt2 in (GPT2(weights), GPT2.from_pretrained(model)):
        numpy.testing.assert_allclose(gpt2(ids).logits, logits, rtol=0, atol=1e-5)
    assert weights.fetched_bytes >= sum(array.nbytes for _, array in ours) / 2, model
    print(json.dumps([model, len(ours), weights.num_parameters()]))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


def environment(hub: Hub, home: Path, **changes: str) -> dict[str, str]:
    foreign = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "HTTP", "http", "ALL_PROXY", "all_proxy")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | ours | {"HF_HUB_DOWNLOAD_TIMEOUT": "2", "PYTHONPATH": str(ROOT)} | changes


def publish(hub: Hub, directory: Path, model: str) -> None:
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    hub.publish(model, files, large=[name for name in files if name.endswith(".safetensors")])


def random_model(**changes: Any) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 24, "n_head": 2, "n_positions": 37, "vocab_size": 301}
    return GPT2LMHeadModel(GPT2Config(**(sizes | {"bos_token_id": 0, "eos_token_id": 0} | changes)))


def with_masks(directory: Path) -> None:
    """Rewrite a saved model as the published ones are laid out: no prefix, and a mask in each layer."""
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(directory / WEIGHTS).items()}
    masks = {f"h.{layer}.attn.bias": torch.tril(torch.ones(1, 1, 37, 37)) for layer in range(2)}
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
    model("untied", tie_word_embeddings=False)
    model("untied-sharded", tie_word_embeddings=False, max_shard_size="20KB")
    random_model().transformer.save_pretrained(tmp_path / "headless")
    grown = random_model()
    grown.resize_token_embeddings(317)
    grown.save_pretrained(tmp_path / "added-tokens")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 11 and len(list((tmp_path / "float32-20kb").glob("*.safetensors"))) > 1
    for name in names:
        publish(hub, tmp_path / name, f"owner/{name}")
    judged = subprocess.run(
        [sys.executable, "-c", JUDGE, *(f"owner/{name}" for name in names)],
        env=environment(hub, tmp_path / "home"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert judged.returncode == 0, judged.stderr
    assert [json.loads(line)[0] for line in judged.stdout.splitlines()] == [f"owner/{name}" for name in names]


def test_the_model_is_computed_with_what_is_read_on_the_hub(hub: Hub, tmp_path: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    write_gpt2(directory, {"vocab_size": 50257})
    Tokenizer().save_pretrained(directory)
    publish(hub, directory, "owner/model")
    env = environment(hub, tmp_path / "home")
    done = run("next", PROMPT, "-k", "2", "--json", "--model", "owner/model", env=env)
    assert "owner/model: read " in one_line(done.stderr)
    expected = GPT2.from_pretrained(directory).next_tokens(PROMPT, k=2)
    assert [entry["id"] for entry in json.loads(done.stdout)] == [token_id for token_id, _, _ in expected]


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
    finished = run("params", env=environment(hub, tmp_path))
    assert finished.returncode == 0 and b"148 parameters: 124,439,808 numbers" in finished.stdout
    assert hub.sent_bytes <= 20_000
    read = f"read {hub.sent_bytes:,} bytes from the hub instead of 548,105,171"
    assert one_line(finished.stderr) == f"minigpt2: gpt2: {read}; `minigpt2 download gpt2` gets them all\n"


def test_five_rows_are_at_most_40_000_bytes_and_a_second_look_none(hub: Hub, published: Path, tmp_path: Path) -> None:
    first = run("embed", PROMPT, "-o", str(tmp_path / "rows.npy"), env=environment(hub, tmp_path))
    assert first.returncode == 0, first.stderr
    sent = hub.sent_bytes
    assert 5 * 3072 < sent <= 40_000
    rows = np.load(tmp_path / "rows.npy")
    np.testing.assert_array_equal(rows, Checkpoint.open(published)["wte.weight"][[464, 3616, 286, 1204, 318]])
    hub.requests.clear()
    again = run("embed", PROMPT, "-o", str(tmp_path / "again.npy"), env=environment(hub, tmp_path))
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "rows.npy").read_bytes()
    assert hub.requests == [] and "read 0 bytes from the hub" in one_line(again.stderr)
    nowhere = environment(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert run("embed", PROMPT, env=nowhere).returncode == 0
    assert "HF_HUB_OFFLINE" in one_line(run("embed", "something else", env=nowhere).stderr)


def test_the_other_commands_read_what_they_show(hub: Hub, published: Path, tmp_path: Path) -> None:
    here = Checkpoint.open(published)
    shown = run("show", "wpe.weight", "--rows", "1000:1002", "--json", env=environment(hub, tmp_path))
    rows = [row["values"] for row in json.loads(shown.stdout)["rows"]]
    np.testing.assert_array_equal(np.array(rows, np.float32), here["wpe.weight"][1000:1002])
    stats = json.loads(run("stats", "wpe.weight", "--json", env=environment(hub, tmp_path)).stdout)
    assert stats["least"] == float(here["wpe.weight"].min())
    assert hub.sent_bytes <= 16384 + here.info("wpe.weight").nbytes + 8192  # a small gap is not worth a request


def test_a_whole_tensor_shows_its_progress_on_a_terminal(hub: Hub, published: Path, tmp_path: Path) -> None:
    ours, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 80))
    arguments = command("stats", "wpe.weight")
    subprocess.run(arguments, env=environment(hub, tmp_path), cwd=ROOT, stderr=stderr, check=True, timeout=60)
    os.close(stderr)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert WEIGHTS in shown and "100%" in shown and "read 3," in shown


# --- several processes, and sudden ends

READ = """
import sys, numpy
from minigpt2 import GPT2, Checkpoint, Tokenizer
array = Checkpoint.remote("gpt2")["wpe.weight"]
for row in numpy.random.default_rng(int(sys.argv[1])).permutation(1024)[:200]:
    numpy.save(sys.stdout.buffer, array[row])
"""


def test_processes_at_once_read_the_same_right_numbers(hub: Hub, published: Path, tmp_path: Path) -> None:
    start = [sys.executable, "-c", READ]
    options: dict[str, Any] = {"env": environment(hub, tmp_path), "cwd": ROOT, "stdout": subprocess.PIPE}
    readers = [subprocess.Popen([*start, str(seed % 2)], **options) for seed in range(4)]
    outputs = [reader.communicate(timeout=120)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    assert outputs[0] == outputs[2] and outputs[1] == outputs[3] != outputs[0]
    wpe = Checkpoint.open(published)["wpe.weight"]
    for seed, output in enumerate(outputs[:2]):
        rows = [np.load(each) for each in split_npy(output)]
        np.testing.assert_array_equal(rows, wpe[np.random.default_rng(seed).permutation(1024)[:200]])


def split_npy(data: bytes) -> list[Any]:
    from io import BytesIO

    pieces = data.split(b"\x93NUMPY")[1:]
    return [BytesIO(b"\x93NUMPY" + piece) for piece in pieces]


def test_a_process_that_is_killed_leaves_nothing_that_counts_and_is_not_there(
    hub: Hub, published: Path, tmp_path: Path
) -> None:
    for delay in (0.0, 0.02, 0.1, 0.3):
        start_to_read_and_kill(hub, environment(hub, tmp_path), delay)
    check = (
        'import numpy, sys; from minigpt2 import Checkpoint; ours = Checkpoint.remote("gpt2")["wte.weight"]\n'
        'assert numpy.array_equal(ours, Checkpoint.open(sys.argv[1])["wte.weight"])'
    )
    subprocess.run(
        [sys.executable, "-c", check, published], env=environment(hub, tmp_path), cwd=ROOT, check=True, timeout=120
    )


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


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


# --- where the hub does not do what it should


@pytest.mark.parametrize("fault", [Fault.WHOLE, Fault.STALL, Fault.GATED, Fault.HANG, 500], ids=str)
def test_a_command_fails_in_one_line_where_the_hub_fails(
    hub: Hub, published: Path, tmp_path: Path, fault: Fault | int
) -> None:
    hub.faults[WEIGHTS] = fault
    finished = run("embed", PROMPT, env=environment(hub, tmp_path))
    assert (finished.returncode, finished.stdout) == (1, b"")
    assert "gpt2: model.safetensors" in one_line(finished.stderr)


def test_a_server_without_ranges_is_left_after_its_first_words(hub: Hub, published: Path, tmp_path: Path) -> None:
    hub.faults[WEIGHTS] = Fault.WHOLE
    assert "cannot give a part of a file" in one_line(run("params", env=environment(hub, tmp_path)).stderr)
    assert hub.count("GET") == 1, "and the server could not send the rest: it counts as nothing"
    assert hub.sent_bytes == 0
