"""Shared by several tests: the package's own tokenizer, and text made to hurt one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.weights.bundled import LABEL
from tests.command import write_small_gpt2
from tests.hub_server import Hub
from tests.hub_settings import imported_with, online

_ALLOWED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]  # a directory may serve all examples of a test
settings.register_profile("suite", deadline=None, suppress_health_check=_ALLOWED)
settings.load_profile("suite")

_SPACES = "\t\n\x0b\x0c\r \x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\u180e\u200b\ufeff"
_MARKS = "\u0301\u200d\ufe0f\u05bc\u202e\u20dd"
_WORDS: tuple[str, ...] = (
    "'s",
    "'S",
    "'ve",
    "'Re",
    "''t",
    " '",
    "'",
    "\u2019s",
    "\u017f",
    "\x00",
    "0",
    "²",
    "Ⅷ",
    "é",
    "Ġ",
    "日本",
    "שלום",
)
_WORDS += ("👩‍👩‍👧", "😀", "<|endoftext|>", "<|endof", "---", "...", "a" * 40, " " * 30, "-" * 70, "\n\n")


def hurtful_texts() -> st.SearchStrategy[str]:
    """Whitespace of all kinds, apostrophes everywhere, marks, joiners, right-to-left, NUL, long runs."""
    pieces = st.one_of(
        st.sampled_from(_WORDS),
        st.text(st.sampled_from(_SPACES), max_size=4),
        st.text(st.sampled_from("'stmdrevl SVE"), max_size=6),
        st.text(st.sampled_from("aé0½ " + _MARKS), max_size=5),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    )
    return st.lists(pieces, max_size=12).map("".join)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than processors: tests wait for processes, servers and browsers a quarter of their time.

    Threads of numpy's BLAS without work spin for 2**26 cycles before they sleep, on processors that other workers need.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "8")  # 2**8 cycles; read as a worker imports numpy
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def tests_stay_off_the_hub(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the tests in this process off the real hub, unless they are asked to talk to it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("COLUMNS", raising=False)  # as pytest-xdist sets it: tables would be cut to fit
        patched.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", request.config.getoption("-m") != "hub")
        yield


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer()


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small GPT-2 and its tokenizer, only to be read."""
    directory = tmp_path_factory.mktemp("gpt2")
    write_small_gpt2(directory)
    Tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def small_bundled_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model that says it is the bundled one, and is smaller."""
    directory = tmp_path_factory.mktemp("bundled")
    write_small_gpt2(directory, minigpt2=LABEL)
    return directory


@pytest.fixture
def offline(tmp_path: Path, small_bundled_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process no model is cached and the hub is out of reach; the bundled model is a small one."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty cache"))
    monkeypatch.setattr("minigpt2.weights.bundled.DIRECTORY", small_bundled_model)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the hub's cache is."""
    return tmp_path / "home"


@pytest.fixture
def hub(home: Path) -> Iterator[Hub]:
    """A hub that has nothing yet, and is the one of this process."""
    with Hub() as hub, imported_with(online(hub.url, home)):
        yield hub
