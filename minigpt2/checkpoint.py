"""A checkpoint: safetensors files → read-only numpy arrays by name, and what makes them a GPT-2.

The published `gpt2` names its tensors `wte.weight`, `h.0.ln_1.weight`, …; files that transformers saves put
`transformer.` before each. Both are read, and both kinds of name find the tensor. The output matrix `lm_head.weight`
is `wte` again, unless the file has one of its own.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np

from minigpt2.safetensors_file import Array, CheckpointError, Rows, SafetensorsFile, TensorInfo

__all__ = ["Checkpoint", "CheckpointError", "TensorInfo", "gpt2_shapes"]

PREFIX: Final = "transformer."
WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
LAYER: Final = re.compile(r"(?:transformer\.)?h\.([0-9]+)\.")
PICKLES: Final = {".bin", ".ckpt", ".pt", ".pth"}
PICKLE_REASON: Final = (
    "A pickle such as pytorch_model.bin can run code when it is loaded, so it is not read here: load it with "
    "transformers where you trust it, and save_pretrained() writes a model.safetensors"
)


def gpt2_shapes(
    n_layer: int, n_embd: int, n_positions: int, vocab_size: int, n_inner: int | None = None
) -> dict[str, tuple[int, ...]]:
    """GPT-2's parameters and their shapes, in the order in which transformers lists them, without the prefix.

    `n_inner` is the width of the feed-forward layer, 4 × `n_embd` in every published GPT-2. A linear map's matrix is
    (inputs, outputs): GPT-2's checkpoints hold it that way round.

    >>> list(gpt2_shapes(12, 768, 1024, 50257).items())[:3]
    [('wte.weight', (50257, 768)), ('wpe.weight', (1024, 768)), ('h.0.ln_1.weight', (768,))]
    >>> len(gpt2_shapes(12, 768, 1024, 50257))
    148
    """
    n_inner = n_inner or 4 * n_embd
    layer = {
        "ln_1": (n_embd,),
        "attn.c_attn": (n_embd, 3 * n_embd),
        "attn.c_proj": (n_embd, n_embd),
        "ln_2": (n_embd,),
        "mlp.c_fc": (n_embd, n_inner),
        "mlp.c_proj": (n_inner, n_embd),
    }
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (vocab_size, n_embd), "wpe.weight": (n_positions, n_embd)}
    for index in range(n_layer):
        for part, shape in layer.items():
            shapes[f"h.{index}.{part}.weight"] = shape
            shapes[f"h.{index}.{part}.bias"] = shape[-1:]
    return shapes | {"ln_f.weight": (n_embd,), "ln_f.bias": (n_embd,)}


class Checkpoint(Mapping[str, Array]):
    """The tensors of a checkpoint by name, memory-mapped: nothing is read until a number is asked for.

    Iteration and `len` are the files' own names. `[]` and `in` also take a name with or without `transformer.`, and
    `lm_head.weight`. Arrays are read-only views of the file in its own dtype; BF16, which numpy lacks, is widened to
    float32 at each access. A view of a file whose data starts at an odd byte, as the published one's does, is
    unaligned: numpy computes with it all the same, only slower. An array already handed out must not be used after
    its file was truncated.

    >>> from minigpt2.demonstration import demonstration_weights
    >>> weights = demonstration_weights()
    >>> weights["wte.weight"].shape
    (50257, 16)
    >>> weights["transformer.wte.weight"].dtype
    dtype('float32')
    >>> "lm_head.weight" in weights
    True
    """

    def __init__(self, path: Path, files: dict[str, SafetensorsFile]) -> None:
        """Use `Checkpoint.open` or `Checkpoint.from_pretrained`; here `files` gives the file of each tensor."""
        self.path = path
        self._files = files
        self._config_path = path.parent / "config.json"

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a `.safetensors` file, the index of a sharded checkpoint (`.json`), or a directory with either.

        Raises:
            FileNotFoundError: there is nothing at `path`.
            CheckpointError: a file is damaged or no safetensors file, or a directory holds none.
        """
        path = Path(path)
        if path.is_dir():
            path = _weights_in(path)
        if path.suffix == ".json":
            return cls(path, _open_shards(path))
        file = SafetensorsFile(path)
        return cls(path, dict.fromkeys(file.tensors, file))

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
        if _is_local(model):
            return cls.open(model)
        from minigpt2 import hub

        name = os.fspath(model)
        in_cache = partial(hub.cached, name, revision=revision, cache_dir=cache_dir)
        fetch = partial(hub.fetch, name, cache_dir=cache_dir, local_files_only=local_files_only)
        path = None
        if in_cache(WEIGHTS) or not in_cache(INDEX):  # a cached sharded model needs no question whether it is whole
            with suppress(hub.MissingFileError):
                path = fetch(WEIGHTS, revision=revision)
        path = path or _fetch_shards(fetch, name, revision)
        weights = cls.open(path)
        with suppress(hub.HubError):  # only `config` needs it, and says so
            # A snapshot's directory is named by its commit.
            weights._config_path = fetch("config.json", revision=path.parent.name)
        return weights

    def __getitem__(self, name: str) -> Array:
        array = self.rows(name, ...)
        array.flags.writeable = False
        return array

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

    def rows(self, name: str, rows: Rows) -> Array:
        """Rows of a tensor: only these are read, and widened if they are BF16. The caller checks the indices.

        Raises:
            KeyError: there is no such tensor.
            CheckpointError: numpy has no such dtype, or the file has changed since it was opened.
        """
        own_name = self._require(name)
        return self._files[own_name].read(own_name, rows)

    def parameter_names(self) -> list[str]:
        """The names that transformers' `GPT2LMHeadModel.named_parameters()` lists for this file, in its order.

        Buffers, such as the causal masks `h.N.attn.bias`, are no parameters, and a tied `lm_head.weight` is not listed
        beside the `wte` that it is. A file of nothing but `wte` and `wpe` passes for a GPT-2 without layers.

        Raises:
            CheckpointError: this is no GPT-2.
        """
        names = [PREFIX + name for name in self._gpt2_shapes()]
        return [*names, "lm_head.weight"] if self._unties_lm_head() else names

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Each of `parameter_names()` with its array, which is made when its turn comes.

        >>> from minigpt2.demonstration import demonstration_weights
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
            CheckpointError: there is none, it is damaged, or this is no GPT-2.
        """
        self._gpt2_shapes()
        path = self._config_path
        if not path.is_file():
            raise CheckpointError(f"there is no config.json beside {self.path}: put the model's there")
        config = _read_json_object(path)
        if config.get("model_type", "gpt2") != "gpt2":
            raise CheckpointError(f"{path} is of no GPT-2: its model_type is {config['model_type']!r}")
        return MappingProxyType(config)

    def _own_name(self, name: object) -> str | None:
        """The file's own name for `name`, if it has that tensor."""
        if not isinstance(name, str):
            return None
        bare = name.removeprefix(PREFIX)
        names = [name, bare, PREFIX + bare]
        if name == "lm_head.weight":
            names += ["wte.weight", PREFIX + "wte.weight"]
        return next((own_name for own_name in names if own_name in self._files), None)

    def _require(self, name: str) -> str:
        own_name = self._own_name(name)
        if own_name is None:
            close = get_close_matches(str(name), islice(self, 2000), n=3)  # bounded: it is quadratic
            hint = f"; close to it: {', '.join(close)}" if close else f"; its {len(self)} names are list(weights)"
            raise KeyError(f"{self.path} has no tensor {name!r}{hint}")
        return own_name

    def _gpt2_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes that a GPT-2 of this file's sizes has, after making sure that the file has them."""
        n_layer = len({match[1] for name in self if (match := LAYER.match(name))})
        vocab_size, n_embd = self._matrix_shape("wte.weight")
        n_positions, _ = self._matrix_shape("wpe.weight")
        n_inner = self._matrix_shape("h.0.mlp.c_fc.weight")[1] if n_layer else None
        shapes = gpt2_shapes(n_layer, n_embd, n_positions, vocab_size, n_inner)
        if not n_layer:
            shapes = {name: shape for name, shape in shapes.items() if name in self}
        for name, shape in shapes.items():
            if name not in self:
                raise self._no_gpt2(f"it has no {name!r}")
            if self.info(name).shape != shape:
                raise self._no_gpt2(f"its {name!r} has the shape {self.info(name).shape}, not {shape}")
        return shapes

    def _matrix_shape(self, name: str) -> tuple[int, int]:
        if name not in self:
            raise self._no_gpt2(f"it has no {name!r}")
        match self.info(name).shape:
            case (rows, columns) if rows and columns:
                return rows, columns
            case shape:
                raise self._no_gpt2(f"its {name!r} has the shape {shape}, and should be a matrix")

    def _no_gpt2(self, reason: str) -> CheckpointError:
        found = ", ".join([*islice(self, 3), *(["…"] if len(self) > 3 else [])]) or "nothing"
        return CheckpointError(f"{self.path} is no GPT-2: {reason}; it holds {len(self)} tensors: {found}")

    def _unties_lm_head(self) -> bool:
        """Whether `lm_head.weight` is a parameter of its own; where the file repeats `wte`, transformers ties them."""
        if "lm_head.weight" not in self._files:
            return False
        if self._config_path.is_file() and self.config.get("tie_word_embeddings") is False:
            return True
        return not self._equal("lm_head.weight", "wte.weight")

    def _equal(self, name: str, other: str) -> bool:
        shape = self.info(name).shape
        if shape != self.info(other).shape:
            return False
        blocks = (slice(start, start + 4096) for start in range(0, shape[0], 4096))
        return all(np.array_equal(self.rows(name, block), self.rows(other, block)) for block in blocks)


def _is_local(model: str | os.PathLike[str]) -> bool:
    """Whether `model` is a path: a directory, or what no model on the hub can be called."""
    path = Path(model)
    return path.is_dir() or path.is_absolute() or path.suffix in {".safetensors", ".json"} or str(model).startswith(".")


def _weights_in(directory: Path) -> Path:
    """The weights in a directory: under transformers' names, or else the only index or the only file there."""
    named = [directory / name for name in (WEIGHTS, INDEX) if (directory / name).exists()]
    indexes = sorted(directory.glob("*.safetensors.index.json"))
    singles = sorted(directory.glob("*.safetensors"))
    for found in (named[:1], indexes, singles):
        if len(found) == 1:
            return found[0]
    if singles:
        names = ", ".join(path.name for path in singles[:4])
        raise CheckpointError(f"{directory} holds {len(singles)} safetensors files and no index: open one of {names}")
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in PICKLES)
    reason = f", only {', '.join(pickles)}. {PICKLE_REASON}" if pickles else f": it needs {WEIGHTS} or {INDEX}"
    raise CheckpointError(f"{directory} holds no safetensors weights{reason}")


def _fetch_shards(fetch: Callable[..., Path], model: str, revision: str | None) -> Path:
    """Fetch the index and the shards it names, all from the index's commit; the index's path."""
    from minigpt2 import hub

    try:
        index = fetch(INDEX, revision=revision)
    except hub.MissingFileError as error:
        raise CheckpointError(f"{model} has neither {WEIGHTS} nor {INDEX} on the hub. {PICKLE_REASON}") from error
    for shard in sorted(set(_weight_map(index).values())):
        fetch(shard, revision=index.parent.name)
    return index


def _open_shards(index: Path) -> dict[str, SafetensorsFile]:
    """The file of each tensor that the index lists."""
    weight_map = _weight_map(index)
    shards: dict[str, SafetensorsFile] = {}
    for shard in sorted(set(weight_map.values())):
        if not (index.parent / shard).exists():
            raise CheckpointError(f"{index} names {shard}, which is not beside it: download it too")
        shards[shard] = SafetensorsFile(index.parent / shard)
    for name, shard in weight_map.items():
        if name not in shards[shard].tensors:
            raise CheckpointError(f"{index} says that {name!r} is in {shard}, and it is not")
    return {name: shards[shard] for name, shard in weight_map.items()}


def _weight_map(index: Path) -> dict[str, str]:
    """The index's map from tensor to shard; a shard must be a plain name, so that it cannot point elsewhere."""
    weight_map = _read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index} has no weight_map: it is not the index of a sharded checkpoint")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or shard in {"", ".", ".."} or set(shard) & set("/\\:\0"):
            raise CheckpointError(f"{index} puts {name!r} into {shard!r}, which is no plain file name")
    return weight_map


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # broken UTF-8 and numbers of over 4,300 digits are ValueErrors
        raise CheckpointError(f"{path} is not sound JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is no JSON object but a {type(value).__name__}")
    return value
