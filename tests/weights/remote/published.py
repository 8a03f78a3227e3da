"""The model that these tests read on a hub, and what the hub was asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt2 import Checkpoint
from tests.command import files_in
from tests.hub_server import Hub
from tests.weights.samples import gpt2_tensors, save

MODEL = "owner/tiny"
WEIGHTS = "model.safetensors"
SIZES: Any = {"vocab_size": 400, "n_embd": 64}  # rows of 256 bytes, a wte of 100 KB
Array = NDArray[Any]
Open = Callable[..., Checkpoint]


def publish_other_weights(hub: Hub, directory: Path) -> None:
    """Commit the model again, each of its numbers larger by one."""
    save(directory, {name: array + 1 for name, array in gpt2_tensors(**SIZES).items()})
    hub.publish(MODEL, files_in(directory))


def ranges_asked_for(hub: Hub) -> list[str | None]:
    """The ranges that were asked for since the last look."""
    ranges = [request.range for request in hub.requests if request.method == "GET"]
    hub.requests.clear()
    return ranges


def range_of_rows(weights: Checkpoint, start: int, stop: int) -> str:
    """The range that holds these rows of wte."""
    begin = weights.info("wte.weight").begin
    return f"bytes={begin + start * 256}-{begin + stop * 256 - 1}"


def assert_same(rows: Any, expected: Any) -> None:
    np.testing.assert_array_equal(rows, expected)
