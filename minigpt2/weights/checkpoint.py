"""A checkpoint: safetensors files → read-only numpy arrays by name.

The published `gpt2` names its tensors `wte.weight`, `h.0.ln_1.weight`, …. Files that transformers saves have
`transformer.` before each name, and wrappers put more before that. Either kind of name finds the tensor. The output
matrix `lm_head.weight` is `wte` again, unless the file has one of its own. A file that has this matrix once, under the
name `lm_head.weight`, gives it as `wte.weight` too, if a `config.json` or the file's metadata says that they are tied.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2.atomic_write import require_writable, resolved
from minigpt2.hub.answers import ANSWER_SECONDS
from minigpt2.hub.cache import cache_root
from minigpt2.hub.errors import HubError
from minigpt2.vocabulary import ComputedOnce
from minigpt2.weights import bundled, shared_tensors
from minigpt2.weights.files import (
    INDEX,
    WEIGHTS,
    Files,
    download_files,
    index_metadata,
    is_local,
    links_of,
    open_files,
    read_json_object,
    refuse_to_replace,
    remote_files,
    siblings,
)
from minigpt2.weights.gpt2_layout import adapter_in, check_config, held, parameter_names, parameter_shapes
from minigpt2.weights.html_tables import checkpoint_table
from minigpt2.weights.kept_path import KeptPath
from minigpt2.weights.other_files import CONFIG, NAMES_BESIDE, Beside, OnHub, fetch_configs
from minigpt2.weights.safetensors_file import Array, CheckpointError, RowIndex, SafetensorsFile, TensorInfo
from minigpt2.weights.safetensors_writer import save
from minigpt2.weights.tensor_names import (
    LM_HEAD,
    PREFIX,
    WTE,
    ambiguous,
    bare_names,
    is_in_any_head,
    own_heads_of,
    prefixes_of,
    unwrapped,
)

__all__ = ["INDEX", "WEIGHTS", "Checkpoint", "CheckpointError", "TensorInfo"]


class Checkpoint(Mapping[str, Array]):
    """The tensors of a checkpoint by name, on this machine or on the hub. No number is read before it is needed.

    Iteration and `len` give the files' own names. `[]` and `in` also take a name with or without `transformer.`, and
    `lm_head.weight`; where that could mean two tensors, only the file's own names are known. Arrays are read-only views
    of the file in its own dtype. BF16, which numpy lacks, is widened to float32 at each access. If the data of a file
    starts at an odd byte, as in the published one, its views are unaligned: numpy computes with them, only slower. Do
    not use an array after its file was truncated. A remote checkpoint gives stand-ins that are read when they are
    indexed: see `remote`. A pickle holds no numbers, only where they are: another process opens the same files, and
    refuses others.

    >>> weights = Checkpoint.bundled()
    >>> weights["wte.weight"].shape
    (50257, 128)
    >>> weights["transformer.wte.weight"].dtype
    dtype('float16')
    >>> "lm_head.weight" in weights
    True
    """

    def __init__(self, path: Path, files: Files, on_hub: OnHub | None = None, *, is_remote: bool = False) -> None:
        """Use `Checkpoint.open`, `.from_pretrained` or `.remote`; here `files` gives the file of each tensor."""
        self._path = KeptPath(path)
        self._files = files
        self._index_metadata = index_metadata(path)
        self.is_remote = is_remote  # read on the hub: what is not needed stays there
        self.other_files = on_hub or Beside(self._path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a `.safetensors` file, the index of a sharded checkpoint (`.json`), or a directory with either.

        Raises:
            FileNotFoundError: there is nothing at `path`.
            CheckpointError: a file is damaged or not a safetensors file, or a directory holds none.
        """
        if not os.fspath(path):  # which `Path` would take for the current directory
            raise FileNotFoundError(errno.ENOENT, "the name of a file is empty")
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
        name, cache = os.fspath(model), cache_root(cache_dir)
        with bundled.named_as_a_way_out(name):
            path, is_new = _downloaded(name, revision, cache, local_files_only)
        commit = path.parent.name  # a snapshot's directory is named by its commit
        weights = cls(*open_files(path), OnHub(name, commit, cache, local_files_only))
        if is_new:  # so that the model also opens later, without a network
            with suppress(HubError):
                fetch_configs(name, commit, cache)
        return weights

    @classmethod
    def bundled(cls) -> Self:
        """Open the small GPT-2 that the package carries: no download, no network. It is not OpenAI's GPT-2.

        >>> Checkpoint.bundled()["wte.weight"].shape[0]
        50257
        """
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
        """Open a model on the hub without downloading it: the header is read now, rows when they are indexed.

        The tensors are `RemoteArray`s: `weights["wte.weight"][[464, 3616]]` reads those two rows. What was read stays
        in a folder of the hub's cache, pinned to the commit that the hub first named for `revision`. That folder holds
        at most 1 GiB for all models; the model used longest ago is removed first. A file that the cache has whole is
        read there. The hub's first answer may take `timeout` seconds.

        Raises:
            HubError: the hub cannot be reached, has no such model or revision, or does not send parts of files.
            CheckpointError: the model has no safetensors weights, or they are damaged.
            ValueError: `model` is a path, or cannot be a model's name.
        """
        if is_local(model):
            raise ValueError(f"{model!r} is a path on this machine: Checkpoint.open reads it")
        cache = cache_root(cache_dir)
        with bundled.named_as_a_way_out(model):
            path, files, commit = remote_files(model, revision, cache, timeout)
        return cls(path, files, OnHub(model, commit, cache), is_remote=True)

    def __getstate__(self) -> dict[str, Any]:
        config = {"config": dict(self.config)} if "config" in self.__dict__ else {}  # a mappingproxy cannot be pickled
        return self.__dict__ | config

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "config" in state:
            self.__dict__["config"] = MappingProxyType(state["config"])

    def __getitem__(self, name: str) -> Array:
        own_name = self._require(name)
        return self._files[own_name].array(own_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return self._own_name(name) is not None

    # Mapping's == would compare arrays, which have no truth value, and would make checkpoints unhashable.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        infos = [self.info(name) for name in self]
        dtypes = ", ".join(sorted({info.dtype for info in infos})) or "nothing"
        nbytes = sum(info.nbytes for info in infos)
        return f"<Checkpoint {str(self.path)!r}: {len(self)} tensors, {nbytes:,} bytes of {dtypes}>"

    def _repr_html_(self) -> str:
        return checkpoint_table(repr(self), self.metadata, {name: self.info(name) for name in self})

    @property
    def path(self) -> Path:
        """Where the weights or their index are, from whatever directory is the current one."""
        return self._path.now

    @property
    def commit(self) -> str | None:
        """The hub's commit, if the checkpoint came from there by its name."""
        return self.other_files.commit

    @property
    def metadata(self) -> Mapping[str, str]:
        """The files' own `__metadata__`, from their headers."""
        files = dict.fromkeys(self._files.values())
        return MappingProxyType({key: text for file in files for key, text in file.metadata.items()})

    def info(self, name: str) -> TensorInfo:
        """Dtype, shape, file and byte range of a tensor, without touching its numbers.

        Raises:
            KeyError: there is no such tensor.
        """
        own_name = self._require(name)
        return self._files[own_name].tensors[own_name]

    def rows(self, name: str, rows: RowIndex) -> Array:
        """These rows of a tensor, in shape and dtype as numpy would index them; only they are read, BF16 as float32.

        The caller checks the indices.

        Raises:
            KeyError: there is no such tensor.
            CheckpointError: numpy has no such dtype, or the file has changed since it was opened.
        """
        own_name = self._require(name)
        return self._files[own_name].read(own_name, rows)

    def blocks(self, name: str) -> Iterator[Array]:
        """All numbers of a tensor in the order of the file, as aligned arrays of shape (n,), n at most 65,536.

        This takes little memory however large the tensor is: a block is overwritten when the next one is read. Raises
        as `rows` does.
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
        """Download all of these tensors, if the checkpoint is remote, with few requests and a bar on a terminal.

        Raises:
            KeyError: there is no such tensor.
            HubError: the hub cannot be reached, or does not send them.
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
        """How many bytes a remote checkpoint has read over the network since it was opened."""
        return sum(file.fetched_bytes for file in set(self._files.values()))

    def save(
        self, path: str | os.PathLike[str], *, names: Iterable[str] | None = None, dtype: DTypeLike | None = None
    ) -> None:
        """Write these tensors (by default all) to a `.safetensors` file, under the names given.

        `dtype` is the new one of floating-point tensors, as the format spells it (`"BF16"`) or as numpy does
        (`np.float16`). Each number is rounded to the nearest; other tensors stay as they are. The file appears whole or
        not at all. It replaces one that was there before, but never a file of this checkpoint.

        Raises:
            KeyError: there is no such tensor.
            TypeError, ValueError: no such dtype, numbers beyond its range, or `path` is a file of this checkpoint.
            OSError: the file cannot be written.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     path = Path(directory, "small.safetensors")
        ...     Checkpoint.bundled().save(path, names=["wte.weight", "wpe.weight"], dtype="BF16")
        ...     Checkpoint.open(path).info("wpe.weight").dtype
        'BF16'
        """
        if isinstance(names, str):
            raise TypeError(f"names is a collection of names, not one: [{names!r}]")
        chosen = {name: self._require(name) for name in (self if names is None else names)}
        tensors = {name: (self._files[own_name], own_name) for name, own_name in chosen.items()}
        self.refuse_to_replace(path)
        require_writable(path)
        self.fetch(chosen)
        save(Path(path), tensors, dtype, {**self._metadata_of(chosen), "format": "pt"})

    def _metadata_of(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """The metadata of a file of these tensors by their names there: what else a tensor is called holds still."""
        others = {name: own for name, own in self.own_names.items() if name != own}
        saved = Counter(chosen.values())
        kept = {name: own for name, own in others.items() if chosen.get(own) == own and saved[own] == 1}
        return {key: text for key, text in self.metadata.items() if key not in self.own_names} | kept

    def refuse_to_replace(self, path: str | os.PathLike[str]) -> None:
        """Make sure that writing to `path` replaces none of the model's files: weights, config, tokenizer.

        Raises:
            ValueError: it would.
        """
        own_files = {self.path, *(file.path for file in self._files.values())}
        asked = resolved(path).name
        directories = {self.other_files.directory}
        for link in links_of(self.path):
            own_files |= siblings(link, asked)
            directories.add(link.parent)
        own_files |= {directory / name for directory in directories for name in NAMES_BESIDE}
        refuse_to_replace(Path(path), own_files)

    def parameter_names(self) -> list[str]:
        """The names that transformers' `GPT2LMHeadModel.named_parameters()` lists for this file, in its order.

        Buffers, such as the causal masks `h.N.attn.bias`, are not parameters, and neither is a `lm_head.weight` that is
        tied to `wte`. A file of nothing but `wte` and `wpe` passes for a GPT-2 without layers.

        Raises:
            CheckpointError: this is not a GPT-2.
        """
        return parameter_names(self)

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Each of `parameter_names()` with its array, made when the iteration reaches it.

        >>> next(Checkpoint.bundled().named_parameters())[0]
        'transformer.wte.weight'
        """
        names = self.parameter_names()  # raises now, not at the first `next`
        return ((name, self[name]) for name in names)

    def num_parameters(self) -> int:
        """How many numbers the model has: 124,439,808 for `gpt2`. Raises as `parameter_names` does."""
        return sum(self.info(name).size for name in self.parameter_names())

    @ComputedOnce
    def config(self) -> Mapping[str, Any]:
        """The `config.json` beside the weights, read-only: `n_layer`, `n_head`, `n_embd`, `vocab_size`, …

        For a model on the hub it is that of the weights' commit, downloaded with them or when it is first needed.

        Raises:
            CheckpointError: there is none, it is damaged or not of these tensors, or this is not a GPT-2.
            HubError: the cache has none, and the hub does not answer.
        """
        parameter_shapes(self)
        path = self.config_path
        if not path.is_file():
            raise CheckpointError(f"there is no config.json beside {self.path}: put the model's there")
        config = read_json_object(path)
        check_config(self, config, path)
        return MappingProxyType(config)

    @property
    def config_path(self) -> Path:
        """Where the `config.json` is, or should be; that of a model on the hub is downloaded. Raises as `config`."""
        return self.other_files.config or self.path.with_name(CONFIG)

    @ComputedOnce
    def has_config(self) -> bool:
        """Whether there is a `config.json`; what the cache lacks counts as missing while the hub does not answer."""
        try:
            return self.config_path.is_file()
        except HubError:
            if self.is_remote:  # it answered before, so this is worth an error
                raise
            return False

    @ComputedOnce
    def prefixes(self) -> Sequence[str]:
        """The prefix of GPT-2's names, such as `transformer.`, without wrappers, then those of its second names."""
        return prefixes_of(self.own_names)

    @ComputedOnce
    def bare_names(self) -> Mapping[str, str]:
        """The names in the files by GPT-2's, without `transformer.`; also further names of the same tensors."""
        return bare_names(self.own_names, self.ambiguous_names)

    @ComputedOnce
    def ambiguous_names(self) -> Mapping[str, list[str]]:
        """Each name that could mean several tensors, and the names of these, the only ones that work."""
        return ambiguous(self.own_names)

    @ComputedOnce
    def own_names(self) -> Mapping[str, str]:
        """For each name of a tensor the one under which the files hold it."""
        others = dict(sorted({**self.metadata, **self._index_metadata}.items()))  # which are stored in any order
        return shared_tensors.own_names(
            self._files, others, lambda: read_json_object(self.config_path) if self.has_config else {}
        )

    def _own_name(self, name: object) -> str | None:
        """The name of a tensor in the files, if they have it."""
        if not isinstance(name, str) or name in self._files:
            return name if isinstance(name, str) else None
        if name in self.own_names:
            return self.own_names[name]
        called, is_of_head = [name], name.removeprefix(PREFIX) == LM_HEAD
        is_in_doubt = not self.ambiguous_names.keys().isdisjoint({name, WTE}) or (is_of_head and self._has_other_head)
        if not is_in_doubt:
            called += [name.removeprefix(PREFIX), *([WTE] if name == LM_HEAD else [])]
        return next((self.own_names[self.bare_names[each]] for each in called if each in self.bare_names), None)

    @ComputedOnce
    def _has_other_head(self) -> bool:
        """Whether the output head is neither `wte` nor a matrix at its place in the model: then no name is its."""
        if unwrapped(self.bare_names.get(LM_HEAD, "")) in own_heads_of(*self.prefixes):
            return False
        wte = self._own_name(WTE)
        return any(own != wte and is_in_any_head(name, self.prefixes) for name, own in self.own_names.items())

    def _require(self, name: str) -> str:
        own_name = self._own_name(name)
        if own_name is None:
            close = get_close_matches(str(name), islice(self, 2000), n=3)  # a bound, because it is slow
            hint = f"close to it: {', '.join(close)}" if close else held(self)
            reason = f"; {adapter}" if (adapter := adapter_in(self)) else ""
            raise KeyError(f"{self.path} has no tensor {name!r}; {hint}{reason}")
        return own_name


def _downloaded(model: str, revision: str | None, cache: Path, local_files_only: bool) -> tuple[Path, bool]:
    """The path of a model's weights or index in the hub's cache, and whether anything had to be downloaded."""
    try:
        return download_files(model, revision, cache, local_files_only=True), False
    except (HubError, CheckpointError):
        if local_files_only:
            raise
    return download_files(model, revision, cache, local_files_only=False), True
