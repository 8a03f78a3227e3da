"""A checkpoint: safetensors files → read-only numpy arrays by name, and what makes them a GPT-2.

The published `gpt2` names its tensors `wte.weight`, `h.0.ln_1.weight`, …; files that transformers saves put
`transformer.` before each. Both are read, and both kinds of name find the tensor. The output matrix `lm_head.weight`
is `wte` again, unless the file has one of its own.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2.hub.answers import ANSWER_SECONDS, HubError, MissingFileError
from minigpt2.weights.files import INDEX, WEIGHTS, Files, download_files, is_local, open_files, read_json_object
from minigpt2.weights.gpt2_layout import (
    LM_HEAD,
    PREFIX,
    WTE,
    bare_names,
    check_config,
    have_equal_numbers,
    parameter_shapes,
)
from minigpt2.weights.safetensors_file import Array, CheckpointError, RowIndex, SafetensorsFile, TensorInfo

__all__ = ["INDEX", "WEIGHTS", "Checkpoint", "CheckpointError", "TensorInfo"]


class Checkpoint(Mapping[str, Array]):
    """The tensors of a checkpoint by name, here or on the hub: nothing is read until a number is asked for.

    Iteration and `len` are the files' own names. `[]` and `in` also take a name with or without `transformer.`, and
    `lm_head.weight`. Arrays are read-only views of the file in its own dtype; BF16, which numpy lacks, is widened to
    float32 at each access. A view of a file whose data starts at an odd byte, as the published one's does, is
    unaligned: numpy computes with it all the same, only slower. An array already handed out must not be used after
    its file was truncated. Those of a remote checkpoint are no views but read when they are indexed: see `remote`.

    >>> from minigpt2.weights.demonstration import demonstration_weights
    >>> weights = demonstration_weights()
    >>> weights["wte.weight"].shape
    (50257, 16)
    >>> weights["transformer.wte.weight"].dtype
    dtype('float32')
    >>> "lm_head.weight" in weights
    True
    """

    def __init__(self, path: Path, files: Files, find_config: Callable[[], Path] | None = None) -> None:
        """Use `Checkpoint.open`, `.from_pretrained` or `.remote`; here `files` gives the file of each tensor."""
        self.path = path
        self.commit: str | None = None  # of a remote checkpoint
        self._files = files
        self.bare_names: Final = bare_names(files)  # the files' own names by GPT-2's, without `transformer.`
        self._find_config = find_config

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a `.safetensors` file, the index of a sharded checkpoint (`.json`), or a directory with either.

        Raises:
            FileNotFoundError: there is nothing at `path`.
            CheckpointError: a file is damaged or no safetensors file, or a directory holds none.
        """
        return cls(*open_files(Path(path)))

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = "gpt2",
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Open a directory (or file), or else a model on the Hugging Face hub, downloading what is not cached.

        `revision` is a branch, tag or commit. All files come from one commit, whatever is pushed meanwhile.

        Raises:
            HubError: the hub cannot be reached, or has no such model or revision.
            CheckpointError: the model has no safetensors weights, or they are damaged.
        """
        if is_local(model):
            return cls.open(model)
        from minigpt2 import hub
        from minigpt2.weights import bundled

        name = os.fspath(model)
        with bundled.named_as_a_way_out(name):
            path = download_files(name, revision, cache_dir, local_files_only)
        weights = cls.open(path)
        with suppress(HubError):  # only `config` needs it, and says so
            weights._config_path = hub.fetch(
                name,
                "config.json",
                revision=weights.path.parent.name,  # a snapshot's directory is named by its commit
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
        return weights

    @classmethod
    def bundled(cls) -> Self:
        """Open the small GPT-2 that the package carries: no download, no network. It is not OpenAI's GPT-2."""
        from minigpt2.weights import bundled

        return cls.open(bundled.DIRECTORY)

    @classmethod
    def remote(
        cls,
        model: str = "gpt2",
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Self:
        """Open a model where it is, on the hub: its header is read now, and rows and tensors when they are asked for.

        The tensors are `RemoteArray`s: `weights["wte.weight"][[464, 3616]]` brings those two rows. What was read stays
        in a folder of the hub's cache (at most 1 GiB for all models, the one used longest ago goes first), pinned to
        the commit that the hub first named for `revision`. A file that the cache has whole is read there. `timeout` is
        how many seconds the hub may take for its first answer.

        Raises:
            HubError: the hub cannot be reached, has no such model or revision, or does not give parts of files.
            CheckpointError: the model has no safetensors weights, or they are damaged.
            ValueError: `model` is a path, or no name that a model can have.
        """
        if is_local(model):
            raise ValueError(f"{model!r} is a path on this machine: Checkpoint.open reads it")
        from minigpt2 import hub
        from minigpt2.weights import bundled
        from minigpt2.weights.files import remote_files

        with bundled.named_as_a_way_out(model):
            path, files, commit = remote_files(model, revision, cache_dir, timeout)
        weights = cls(path, files, lambda: hub.fetch(model, "config.json", revision=commit, cache_dir=cache_dir))
        weights.commit = commit
        return weights

    def __getitem__(self, name: str) -> Array:
        own_name = self._require(name)
        return self._files[own_name].array(own_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return self._own_name(name) is not None

    # A Mapping would compare array by array, which has no truth value, and could be in no set or cache.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        infos = [self.info(name) for name in self]
        dtypes = ", ".join(sorted({info.dtype for info in infos})) or "nothing"
        nbytes = sum(info.nbytes for info in infos)
        return f"<Checkpoint {str(self.path)!r}: {len(self)} tensors, {nbytes:,} bytes of {dtypes}>"

    def _repr_html_(self) -> str:
        from minigpt2.weights.html_tables import checkpoint_table

        return checkpoint_table(repr(self), self.metadata, {name: self.info(name) for name in self})

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the files say of themselves in their headers' `__metadata__`."""
        return MappingProxyType({key: text for file in self._files.values() for key, text in file.metadata.items()})

    def info(self, name: str) -> TensorInfo:
        """Dtype, shape, file and byte range of a tensor, without touching its numbers.

        Raises:
            KeyError: there is no such tensor.
        """
        own_name = self._require(name)
        return self._files[own_name].tensors[own_name]

    def rows(self, name: str, rows: RowIndex) -> Array:
        """Rows of a tensor: only these are read, and widened if they are BF16. The caller checks the indices.

        Raises:
            KeyError: there is no such tensor.
            CheckpointError: numpy has no such dtype, or the file has changed since it was opened.
        """
        own_name = self._require(name)
        return self._files[own_name].read(own_name, rows)

    def blocks(self, name: str) -> Iterator[Array]:
        """All numbers of a tensor in the order of the file, some of them at a time: aligned, of shape (n,).

        However large the tensor is, this takes little memory: each block may overwrite the one before it. Raises as
        `rows` does.
        """
        own_name = self._require(name)
        return self._files[own_name].blocks(own_name)

    def read_into(self, name: str, out: NDArray[np.float32]) -> None:
        """Fill a C-contiguous array of the tensor's shape with its numbers, which become float32.

        Unlike `[]` it leaves nothing mapped in memory beside the array. Raises as `rows` does.
        """
        own_name = self._require(name)
        self._files[own_name].read_into(own_name, out)

    def fetch(self, names: Iterable[str]) -> None:
        """Bring all of these tensors, if the checkpoint is remote: with few requests, and a bar on a terminal.

        Raises:
            KeyError: there is no such tensor.
            HubError: the hub cannot be reached, or does not give them.
        """
        wanted: dict[SafetensorsFile, list[str]] = {}
        for name in map(self._require, names):
            wanted.setdefault(self._files[name], []).append(name)
        for file, own_names in wanted.items():
            file.fetch(own_names)

    @property
    def size(self) -> int:
        """How many bytes the checkpoint's files have."""
        return sum(file.size for file in set(self._files.values()))

    @property
    def fetched_bytes(self) -> int:
        """How many of them a remote checkpoint has read over the network since it was opened."""
        return sum(file.fetched_bytes for file in set(self._files.values()))

    def save(
        self, path: str | os.PathLike[str], *, names: Iterable[str] | None = None, dtype: DTypeLike | None = None
    ) -> None:
        """Write these tensors (by default all) to a `.safetensors` file, under the names given.

        `dtype` is one for floating-point numbers, as the file format spells it (`"BF16"`) or as numpy does
        (`np.float16`); each number becomes the nearest that it has. Other tensors stay as they are. The file appears
        whole or not at all, in place of one that was there before.

        Raises:
            KeyError: there is no such tensor.
            TypeError, ValueError: no such dtype, numbers beyond its range, or `path` is a file that is read from.
            OSError: the file cannot be written.

        >>> from minigpt2.weights.demonstration import demonstration_weights
        >>> weights = demonstration_weights()
        >>> weights.save(weights.path.with_name("small.safetensors"), names=["wte.weight", "wpe.weight"], dtype="F16")
        >>> Checkpoint.open(weights.path.with_name("small.safetensors"))["wpe.weight"].dtype
        dtype('float16')
        """
        from minigpt2.weights.safetensors_writer import save

        if isinstance(names, str):
            raise TypeError(f"names is a collection of names, not one: [{names!r}]")
        chosen = {name: self._require(name) for name in (self if names is None else names)}
        tensors = {name: (self._files[own_name], own_name) for name, own_name in chosen.items()}
        self.fetch(chosen)
        save(Path(path), tensors, dtype, {"format": "pt", **self.metadata})

    def parameter_names(self) -> list[str]:
        """The names that transformers' `GPT2LMHeadModel.named_parameters()` lists for this file, in its order.

        Buffers, such as the causal masks `h.N.attn.bias`, are no parameters, and a tied `lm_head.weight` is not listed
        beside the `wte` that it is. A file of nothing but `wte` and `wpe` passes for a GPT-2 without layers.

        Raises:
            CheckpointError: this is not a GPT-2.
        """
        names = [PREFIX + name for name in parameter_shapes(self)]
        return [*names, LM_HEAD] if self._has_own_lm_head() else names

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Each of `parameter_names()` with its array, which is made when its turn comes.

        >>> from minigpt2.weights.demonstration import demonstration_weights
        >>> next(demonstration_weights().named_parameters())[0]
        'transformer.wte.weight'
        """
        names = self.parameter_names()  # refuse now, not at the first `next`
        return ((name, self[name]) for name in names)

    def num_parameters(self) -> int:
        """How many numbers the model has: 124,439,808 for `gpt2`. Raises as `parameter_names` does."""
        return sum(self.info(name).size for name in self.parameter_names())

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The `config.json` beside the weights, read-only: `n_layer`, `n_head`, `n_embd`, `vocab_size`, …

        Raises:
            CheckpointError: there is none, it is damaged or not of these tensors, or this is not a GPT-2.
        """
        parameter_shapes(self)
        path = self._config_path
        if not path.is_file():
            raise CheckpointError(f"there is no config.json beside {self.path}: put the model's there")
        config = read_json_object(path)
        check_config(self, config, path)
        return MappingProxyType(config)

    @cached_property
    def _config_path(self) -> Path:
        with suppress(MissingFileError):
            if self._find_config:
                return self._find_config()
        return self.path.with_name("config.json")

    def _own_name(self, name: object) -> str | None:
        """The file's own name for `name`, if it has that tensor."""
        if not isinstance(name, str) or name in self._files:
            return name if isinstance(name, str) else None
        own_name = self.bare_names.get(name.removeprefix(PREFIX))
        return self.bare_names.get(WTE) if own_name is None and name == LM_HEAD else own_name

    def _require(self, name: str) -> str:
        own_name = self._own_name(name)
        if own_name is None:
            close = get_close_matches(str(name), islice(self, 2000), n=3)  # bounded: it is quadratic
            hint = f"; close to it: {', '.join(close)}" if close else f"; its {len(self)} names are list(weights)"
            raise KeyError(f"{self.path} has no tensor {name!r}{hint}")
        return own_name

    def _has_own_lm_head(self) -> bool:
        """Whether `lm_head.weight` is a parameter of its own; where the file repeats `wte`, transformers ties them."""
        if LM_HEAD not in self.bare_names:
            return False
        if self._config_path.is_file() and self.config.get("tie_word_embeddings") is False:
            return True
        return not have_equal_numbers(self, LM_HEAD, WTE)
