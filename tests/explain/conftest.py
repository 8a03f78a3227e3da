"""Weights to explain texts with."""

from pathlib import Path

import pytest

from minigpt2 import Checkpoint


@pytest.fixture(scope="session")
def weights(small_model: Path) -> Checkpoint:
    return Checkpoint.open(small_model)
