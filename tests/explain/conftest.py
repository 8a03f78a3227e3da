"""Weights to explain texts with, and a server that answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from minigpt2 import Checkpoint
from minigpt2.explain.server import ExplainServer


@pytest.fixture(scope="session")
def weights(small_model: Path) -> Checkpoint:
    return Checkpoint.open(small_model)


@contextmanager
def serving(server: ExplainServer) -> Iterator[None]:
    """Let a server answer in a thread of its own."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield
    server.shutdown()
    thread.join()
