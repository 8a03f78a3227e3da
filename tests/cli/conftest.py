"""The model that commands look at."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model(small_model: Path) -> Path:
    return small_model
