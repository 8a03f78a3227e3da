"""The `generation_config.json` that belongs to weights: the one beside them, or that of their commit on the hub."""

import warnings
from pathlib import Path
from typing import Final

from minigpt2.hub.names import GPT2_MODELS
from minigpt2.weights.kept_path import KeptPath

GENERATION_CONFIG: Final = "generation_config.json"


def generation_config_beside(weights: KeptPath) -> Path | None:
    """The file in the directory of these weights, or None."""
    path = weights.now.with_name(GENERATION_CONFIG)
    return path if path.is_file() else None


def generation_config_on_hub(model: str, commit: str, cache_dir: Path, local_files_only: bool) -> Path | None:
    """The file of a model at a commit, or None.

    A file that the cache lacks counts as missing: without a word if we are offline, as in transformers, and with a
    warning if the hub does not answer. The published models' files say what their `config.json` says, so they are not
    asked for.
    """
    from minigpt2 import hub

    asks = not local_files_only and model not in GPT2_MODELS
    try:
        return hub.fetch(model, GENERATION_CONFIG, revision=commit, cache_dir=cache_dir, local_files_only=not asks)
    except hub.MissingFileError:
        return None
    except hub.HubError as error:
        from huggingface_hub import constants

        if asks and not constants.HF_HUB_OFFLINE:
            warnings.warn(f"the text may end elsewhere than in transformers: {error}", stacklevel=2)
        return None
