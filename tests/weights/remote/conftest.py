"""Shared by the tests of reading by byte ranges: a hub with one model, and a checkpoint read there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minigpt2 import Checkpoint
from tests.command import files_in
from tests.hub_server import BEFORE_1, Hub
from tests.hub_settings import imported_with, online
from tests.weights.remote.published import MODEL, SIZES, Array, Open
from tests.weights.samples import gpt2_tensors, save


@pytest.fixture(scope="package")
def wte() -> Array:
    return gpt2_tensors(**SIZES)["wte.weight"]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The directory whose files are on the hub."""
    save(tmp_path / "published", gpt2_tensors(**SIZES), config={"model_type": "gpt2", "n_head": 2})
    return tmp_path / "published"


@pytest.fixture
def hub(published: Path, tmp_path: Path) -> Iterator[Hub]:
    """A hub with one model, which huggingface_hub takes for the real one."""
    if BEFORE_1:
        pytest.skip("reading by byte ranges needs huggingface_hub 1.0")
    with Hub() as hub, imported_with(online(hub.url, tmp_path / "home")):
        hub.publish(MODEL, files_in(published))
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def remote(hub: Hub, cache: Path) -> Open:
    def open_remote(model: str = MODEL, **options: Any) -> Checkpoint:
        return Checkpoint.remote(model, **{"cache_dir": cache, **options})

    return open_remote
