"""Shared by the tests of files by a model's name: a hub with one model, and a client with an empty cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.client import CONFIG, WEIGHTS, Client
from tests.hub_server import Hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.publish("owner/tiny", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
        yield hub


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    return Client(hub, tmp_path / "home")
