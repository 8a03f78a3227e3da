"""The files that belong to weights: those in their directory, or those of their commit on the hub."""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.hub.errors import HubError, MissingFileError
from minigpt2.published_models import GPT2_MODELS
from minigpt2.tokenizer_files.files import NAMES, OPENAI_NAMES
from minigpt2.vocabulary import ComputedOnce
from minigpt2.weights.files import ADAPTER_CONFIG
from minigpt2.weights.kept_path import KeptPath
from minigpt2.weights.safetensors_file import CheckpointError

if TYPE_CHECKING:
    from minigpt2.tokenizer import Tokenizer

CONFIG: Final = "config.json"
GENERATION_CONFIG: Final = "generation_config.json"

#: What may lie beside weights and says what they mean.
NAMES_BESIDE: Final = (CONFIG, GENERATION_CONFIG, ADAPTER_CONFIG, "adapter_model.safetensors", *NAMES, *OPENAI_NAMES)


class Beside:
    """The files in the directory of weights."""

    commit = None

    def __init__(self, weights: KeptPath) -> None:
        self._weights = weights

    @property
    def directory(self) -> Path:
        """Where these files are."""
        return self._weights.now.parent

    @property
    def config(self) -> Path | None:
        """The `config.json`, or None."""
        return self._find(CONFIG)

    @property
    def adapter_config(self) -> Path | None:
        """The `adapter_config.json` of an adapter, or None."""
        return self._find(ADAPTER_CONFIG)

    def generation_config(self) -> Path | None:
        """The `generation_config.json`, or None."""
        return self._find(GENERATION_CONFIG)

    def tokenizer(self) -> "Tokenizer":
        """The tokenizer.

        Raises:
            NoTokenizerError: the directory has none.
            CheckpointError: the directory is gone.
            ValueError: a file is malformed, or of another kind of tokenizer.
        """
        with FORK_WAITS, ordered_hooks():
            from minigpt2.tokenizer import Tokenizer
            from minigpt2.tokenizer_files.opening import open_directory

        directory = self.directory
        if not directory.is_dir():
            gone = f"{directory} has been removed since its weights were opened, and its tokenizer with it"
            raise CheckpointError(gone)
        return Tokenizer(*open_directory(directory))

    def _find(self, name: str) -> Path | None:
        path = self._weights.now.with_name(name)
        return path if path.is_file() or path.is_symlink() else None  # to read a link that leads nowhere is an error


class OnHub:
    """The files of a model at a commit, downloaded when they are needed, whatever directory has the model's name."""

    def __init__(self, model: str, commit: str, cache_dir: Path, local_files_only: bool = False) -> None:
        self.commit = commit
        self._model, self._cache_dir, self._local_files_only = model, cache_dir, local_files_only

    @property
    def directory(self) -> Path:
        """Where these files are in the hub's cache, once they are needed."""
        from minigpt2.hub.cache import model_folder

        return model_folder(self._model, self._cache_dir) / "snapshots" / self.commit

    @ComputedOnce
    def config(self) -> Path | None:
        """The `config.json`, or None.

        Raises:
            HubError: the cache has none, and the hub does not answer.
        """
        try:
            return self._fetch(CONFIG, self._local_files_only)
        except MissingFileError:
            return None

    @ComputedOnce
    def adapter_config(self) -> Path | None:
        """The `adapter_config.json` of an adapter, or None; if the hub does not say, None with a warning.

        The published models have none, so they are not asked.

        Raises:
            HubError: the hub is busy or fails (429, 5xx), or its file does not arrive.
        """
        if self._model in GPT2_MODELS or not self._has_adapter():
            return None
        return self._fetch(ADAPTER_CONFIG, self._local_files_only)

    def _has_adapter(self) -> bool:
        """Whether the cache or the hub knows of an adapter; False with a warning if the hub does not say."""
        from minigpt2 import hub

        if hub.cached(self._model, ADAPTER_CONFIG, revision=self.commit, cache_dir=self._cache_dir):
            return True
        hub.refuse_broken_link(self._model, ADAPTER_CONFIG, revision=self.commit, cache_dir=self._cache_dir)
        if self._local_files_only:
            return False
        try:
            hub.published(self._model, ADAPTER_CONFIG, revision=self.commit, cache_dir=self._cache_dir)
            return True
        except MissingFileError:
            return False
        except HubError as error:
            from huggingface_hub import constants

            if error.status == 429 or (error.status or 0) >= 500:
                raise
            if not constants.HF_HUB_OFFLINE:
                warnings.warn(f"the model may have an adapter, which is not used: {error}", stacklevel=2)
            return False

    def generation_config(self) -> Path | None:
        """The `generation_config.json`, or None.

        A file that the cache lacks counts as missing: without a word if we are offline, as in transformers, and with a
        warning if the hub does not answer. The published models' files say what their `config.json` says, so they are
        not asked for.

        Raises:
            HubError: the cache has a link to it that leads nowhere.
        """
        from minigpt2 import hub

        asks = not self._local_files_only and self._model not in GPT2_MODELS
        try:
            return self._fetch(GENERATION_CONFIG, local_files_only=not asks)
        except MissingFileError:
            return None
        except HubError as error:
            from huggingface_hub import constants

            hub.refuse_broken_link(self._model, GENERATION_CONFIG, revision=self.commit, cache_dir=self._cache_dir)
            if asks and not constants.HF_HUB_OFFLINE:
                warnings.warn(f"the text may end elsewhere than in transformers: {error}", stacklevel=2)
            return None

    def tokenizer(self) -> "Tokenizer":
        """The tokenizer.

        Raises:
            HubError: the hub does not answer, or the model has no vocabulary there.
            ValueError: a file is malformed, or says something that this package does not do.
        """
        with FORK_WAITS, ordered_hooks():
            from minigpt2.tokenizer import Tokenizer
            from minigpt2.tokenizer_files.opening import open_from_hub

        return Tokenizer(*open_from_hub(self._model, self.commit, self._cache_dir, self._local_files_only))

    def _fetch(self, name: str, local_files_only: bool) -> Path:
        from minigpt2 import hub

        commit, cache_dir = self.commit, self._cache_dir
        return hub.fetch(self._model, name, revision=commit, cache_dir=cache_dir, local_files_only=local_files_only)


def fetch_configs(model: str, commit: str | None, cache_dir: Path | None = None) -> None:
    """Bring into the hub's cache what a model needs besides its weights and its tokenizer.

    Raises:
        HubError: the hub does not answer.
    """
    from minigpt2 import hub

    for name in config_names(model):
        with suppress(MissingFileError):
            hub.fetch(model, name, revision=commit, cache_dir=cache_dir)


def config_names(model: str) -> list[str]:
    """The files that a model may have besides its weights and its tokenizer.

    The published models have no adapter, and their `generation_config.json` says what their `config.json` says.
    """
    return [CONFIG] if model in GPT2_MODELS else [CONFIG, ADAPTER_CONFIG, GENERATION_CONFIG]
