"""The tokenizer that belongs to weights: the one in their directory, or that of their commit on the hub."""

from pathlib import Path
from typing import TYPE_CHECKING

from minigpt2.weights.kept_path import KeptPath
from minigpt2.weights.safetensors_file import CheckpointError

if TYPE_CHECKING:
    from minigpt2.tokenizer import Tokenizer


def tokenizer_beside(weights: KeptPath, _: bool) -> "Tokenizer":
    """The tokenizer in the directory of these weights.

    Raises:
        FileNotFoundError: the directory has none.
        CheckpointError: the directory is gone.
        ValueError: a file is malformed, or of another kind of tokenizer.
    """
    from minigpt2.tokenizer import Tokenizer
    from minigpt2.tokenizer_files.opening import open_directory

    directory = weights.now.parent
    if not directory.is_dir():
        raise CheckpointError(f"{directory} has been removed since its weights were opened, and its tokenizer with it")
    return Tokenizer(*open_directory(directory))


def tokenizer_on_hub(model: str, commit: str, cache_dir: Path, local_files_only: bool) -> "Tokenizer":
    """The tokenizer of a model at a commit, whatever directory here has the model's name.

    Raises:
        HubError: the hub does not answer, or the model has no vocabulary there.
        ValueError: a file is malformed, or says something that this package does not do.
    """
    from minigpt2.tokenizer import Tokenizer
    from minigpt2.tokenizer_files.opening import open_from_hub

    return Tokenizer(*open_from_hub(model, commit, cache_dir, local_files_only))
