"""The small GPT-2 that the package carries, for machines where OpenAI's is not at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minigpt2 import data
from minigpt2.hub.errors import HubError
from minigpt2.published_models import GPT2_MODELS

if TYPE_CHECKING:
    from minigpt2.weights.checkpoint import Checkpoint

NAME: Final = "bundled"  # as in `--model bundled`
DIRECTORY: Final = Path(data.__file__).parent / "bundled"
# What every table and page says that shows a number of it. The file says the same in its own header.
LABEL: Final = "the small model that comes with minigpt2, trained on old books; not OpenAI's GPT-2"


def is_bundled(weights: "Checkpoint") -> bool:
    """Whether these are the weights of the bundled model, in its own file or in a copy of it."""
    return weights.metadata.get("minigpt2") == LABEL


@contextmanager
def named_as_a_way_out(model: object) -> Iterator[None]:
    """Where GPT-2 cannot be had, let the error say that the bundled model can."""
    try:
        yield
    except HubError as error:
        if str(model) in GPT2_MODELS:
            way_out = "`--model bundled` or Checkpoint.bundled() is a small model that needs no network"
            error.args = (f"{error}; {way_out}",)
        raise
