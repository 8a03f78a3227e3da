"""A checkpoint's files: one file, or shards and their index, on this machine or on the hub.

The `weight_map` of `model.safetensors.index.json`, the index of a sharded checkpoint, gives the shard of each tensor.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final

from minigpt2.archives import POINTER, POINTER_REASON
from minigpt2.atomic_write import naming, resolved
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.hub.errors import HubError, update_command
from minigpt2.published_models import GPT2_MODELS, LONG_NAME
from minigpt2.tokenizer_files.files import NAMES, OPENAI_NAMES
from minigpt2.weights.safetensors_file import CheckpointError, SafetensorsFile

WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
PICKLES: Final = {".bin", ".ckpt", ".pt", ".pth"}
_PICKLES_OF_TRANSFORMERS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
PICKLE_REASON: Final = (
    "a pickle such as pytorch_model.bin can run code when it is loaded, so it is not read here; load it with "
    "transformers where you trust it, and save_pretrained() writes a model.safetensors"
)
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_REASON: Final = (
    "it is an adapter, or has one unmerged (LoRA or another of PEFT's): load it with PEFT on its base model; "
    "merge_and_unload() and save_pretrained() then give a model"
)
ADAPTER_BESIDE_REASON: Final = (
    f"{ADAPTER_CONFIG} is beside it, and transformers with PEFT adds that adapter: if the weights have it already, "
    "use a copy of them without that file; if not, merge_and_unload() and save_pretrained() into another directory"
)

# The names of a model's weights and of the files beside them. Pickles that are not called .bin are asked for apart.
_OF_A_MODEL = re.compile(
    r"(config|adapter_config)\.json|(pytorch_model|adapter_model|tf_model|flax_model).*|.*\.safetensors(\.index.*\.json)?|"
    r"(model|weights|model_\d+|gpt2_\d+M.*)\.bin|.*\.(distcp|gguf|h5|msgpack|onnx|ot)|"
    + "|".join(map(re.escape, (*NAMES, *OPENAI_NAMES)))
)

# Pickles of Trainer and Accelerate that hold no model.
_STATE_OF_TRAINING: Final = re.compile("training_args|optimizer|scheduler|scaler|rng_state|random_states")

# The name of a shard; torch's distributed checkpoints put the process before it.
_NUMBERED: Final = re.compile(r"(?:shard-[0-9]{5}-)?(.+)-[0-9]{5}-of-([0-9]{5})\.safetensors")

# The names that transformers gives the files of a distributed checkpoint; it opens one before all others.
_DISTRIBUTED: Final = "shard-" + "[0-9]" * 5 + "-model-" + "[0-9]" * 5 + "-of-" + "[0-9]" * 5 + ".safetensors"

SHARD_REASON: Final = f"shards of one model are opened by their index, such as {INDEX}, beside them"

_INDEX_NAMES: Final = "*.safetensors.index*.json"  # that of a variant is called `.index.fp16.json`

Files = dict[str, SafetensorsFile]  # the file of each tensor


class NoWeightsError(CheckpointError, HubError):
    """The model has no safetensors weights, as the hub says or the cache remembers; the message says what it has."""


def is_local(model: str | os.PathLike[str]) -> bool:
    """Whether `model` is a path: there is something at it, or it is a name that a model on the hub cannot have.

    A folder called gpt2 that holds no file of a model, such as one of code, is a common sight: the name means GPT-2
    then. The files of a run of training are in folders below it.

    Raises:
        PermissionError: whether a folder of such a name holds any cannot be told.
    """
    if not os.fspath(model):
        return False  # `Path` would take it for the current directory
    path = Path(model)
    if os.fspath(model) in GPT2_MODELS:
        with suppress(FileNotFoundError, NotADirectoryError):
            return any(map(_is_of_a_model, chain(path.iterdir(), path.glob("*/*"))))
        return False
    return path.exists() or path.is_absolute() or path.suffix in {".safetensors", ".json"} or str(model).startswith(".")


def on_hub(model: str) -> str:
    """The name of a model on the hub; that of a published one is another name of it where a folder has this one.

    >>> on_hub("gpt2"), on_hub("owner/name")
    ('gpt2', 'owner/name')
    """
    return LONG_NAME[model] if model in LONG_NAME and is_local(model) else model


def open_files(path: Path) -> tuple[Path, Files]:
    """The path of a checkpoint's weights or index, and its files; `path` may be the directory that holds them.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: a file is damaged, or the directory holds none.
    """
    if path.is_dir():
        path = _weights_in(path)
    if path.name == ADAPTER_CONFIG:
        raise CheckpointError(f"{path} is not the index of a model: {ADAPTER_REASON}")
    if path.suffix == ".json":
        return path, _shards(path, lambda shard: SafetensorsFile(path.with_name(shard)))
    with _adapter_named(path):
        file = SafetensorsFile(path)
    return path, dict.fromkeys(file.tensors, file)


@contextmanager
def _adapter_named(path: Path) -> Iterator[None]:
    """If a file cannot be read, and it is the pickle of an adapter, the error says so."""
    try:
        yield
    except CheckpointError as error:
        is_adapter = path.name.startswith("adapter_model.") or (path.parent / ADAPTER_CONFIG).exists()
        if path.suffix in PICKLES and is_adapter and _may_be_weights(path):
            raise CheckpointError(f"{path} holds no safetensors weights of a model: {ADAPTER_REASON}") from error
        raise


def download_files(
    model: str, revision: str | None, cache_dir: str | os.PathLike[str] | None, local_files_only: bool
) -> Path:
    """The path of a model's weights or index in the hub's cache; what the cache lacks, shards too, is downloaded.

    Raises:
        HubError: the hub cannot be reached, or has no such model or revision.
        CheckpointError: the model has no safetensors weights.
    """
    from minigpt2 import hub

    fetch = partial(hub.fetch, model, cache_dir=cache_dir, local_files_only=local_files_only)
    if _is_whole(model, revision, cache_dir):
        with suppress(hub.MissingFileError), _cached_adapter_named(model, revision, cache_dir):
            return fetch(WEIGHTS, revision=revision)
    index = fetch_index(fetch, model, revision, asks=not local_files_only)
    for shard in shards_of(index):
        fetch(shard, revision=index.parent.name)
    return index


def shards_of(index: Path) -> list[str]:
    """The names of the files that an index lists. Raises CheckpointError where it is malformed."""
    return sorted(set(_weight_map(index).values()))


def remote_files(
    model: str, revision: str | None, cache_dir: str | os.PathLike[str] | None, timeout: float
) -> tuple[Path, Files, str]:
    """The path that stands for a model's weights, its files, and their commit; only their headers are read.

    A file that the hub's cache has whole is read there. Raises as `download_files` does.
    """
    with FORK_WAITS, ordered_hooks():
        from minigpt2 import hub
        from minigpt2.weights.remote.tensors import RemoteTensors

    def open_one(filename: str, revision: str | None) -> SafetensorsFile:
        if path := hub.cached(model, filename, revision=revision, cache_dir=cache_dir):
            return SafetensorsFile(path)
        return RemoteTensors.open(model, filename, revision=revision, cache_dir=cache_dir, timeout=timeout)

    if _is_whole(model, revision, cache_dir):
        with suppress(hub.MissingFileError), _cached_adapter_named(model, revision, cache_dir):
            file = open_one(WEIGHTS, revision)
            commit = file.commit if isinstance(file, RemoteTensors) else file.path.parent.name
            return file.path, dict.fromkeys(file.tensors, file), commit
    index = fetch_index(partial(hub.fetch, model, cache_dir=cache_dir), model, revision, asks=True)
    commit = index.parent.name  # a snapshot's directory is named by its commit
    return index, _shards(index, lambda shard: open_one(shard, commit)), commit


def _is_whole(model: str, revision: str | None, cache_dir: str | os.PathLike[str] | None) -> bool:
    """Whether a model may have its weights in one file: not if the cache has its index and no such file."""
    from minigpt2 import hub

    in_cache = partial(hub.cached, model, revision=revision, cache_dir=cache_dir)
    return bool(in_cache(WEIGHTS)) or not in_cache(INDEX)


@contextmanager
def _cached_adapter_named(model: str, revision: str | None, cache_dir: str | os.PathLike[str] | None) -> Iterator[None]:
    """If the weights cannot be fetched and the cache has the config of an adapter, the error names the adapter too."""
    from minigpt2 import hub

    try:
        yield
    except hub.MissingFileError:
        raise
    except HubError as error:
        if hub.cached(model, ADAPTER_CONFIG, revision=revision, cache_dir=cache_dir):
            raise NoWeightsError(f"{model}: {ADAPTER_REASON}; {error}") from error
        raise


def fetch_index(fetch: Callable[..., Path], model: str, revision: str | None, *, asks: bool) -> Path:
    """The index of a model's shards; `asks` is whether the hub may be asked what there is instead.

    Raises:
        HubError: the hub cannot be reached, or has no such model or revision.
        NoWeightsError: the model has no index.
    """
    from minigpt2 import hub

    try:
        return fetch(INDEX, revision=revision)
    except hub.MissingFileError as error:
        reason = _what_there_is_instead(fetch, model, revision, asks)
        raise NoWeightsError(f"{model} has neither {WEIGHTS} nor {INDEX} on the hub: {reason}") from error


def _what_there_is_instead(fetch: Callable[..., Path], model: str, revision: str | None, asks: bool) -> str:
    from minigpt2 import hub

    later = f"if {WEIGHTS} has been added since, {update_command(model, revision)} gets it"
    try:
        fetch(ADAPTER_CONFIG, revision=revision)
        return f"{ADAPTER_REASON}; {later}"
    except hub.MissingFileError:
        unknown = []
        if asks and _holds_named_adapters([*map(PurePosixPath, hub.file_names(model, revision))]):
            return f"{ADAPTER_REASON}; {later}"
    except HubError as error:
        unknown = [f"it may be an adapter ({error})"] if asks else []
    is_of_main = revision in (None, "main")  # as what is converted is
    conversion = hub.pull_request_with(model, WEIGHTS, INDEX) if asks and is_of_main else None
    ways = [PICKLE_REASON, *([f"or take the safetensors weights of revision {conversion!r}"] if conversion else [])]
    return "; ".join([*unknown, *ways, later])


def _holds_named_adapters(paths: Collection[PurePath]) -> bool:
    """Whether there are adapters in folders among these files, and no weights of a model beside the folders."""
    has_weights = any(len(path.parts) == 1 and _may_be_weights(path) for path in paths)
    return not has_weights and any(path.name == ADAPTER_CONFIG for path in paths)


def _may_be_weights(path: PurePath) -> bool:
    """Whether a file has the name of a model's weights, safetensors or a pickle, and not of a trainer's other state."""
    return path.suffix in {".safetensors", *PICKLES} and not _STATE_OF_TRAINING.match(path.name)


def _is_of_a_model(path: Path) -> bool:
    is_pickle = path.suffix != ".bin" and _may_be_weights(path)
    return is_pickle or _OF_A_MODEL.fullmatch(path.name) is not None


def _weights_in(directory: Path) -> Path:
    """The weights in a directory: the file of transformers' name, or else the only index or the only file."""
    named = [directory / name for name in (WEIGHTS, INDEX) if (directory / name).exists()]
    indexes = sorted(directory.glob("*.safetensors.index.json"))
    singles = sorted(directory.glob("*.safetensors"))
    for found in (named[:1], indexes, singles):
        if len(found) == 1:
            _refuse_if_another_is_meant(found[0])
            return found[0]
    of_adapter = [*directory.glob(ADAPTER_CONFIG), *directory.glob("adapter_model.*")]
    if singles:
        of_variants = sorted(directory.glob(_INDEX_NAMES))
        names = ", ".join(path.name for path in (of_variants or singles)[:4])
        reason = f"; {SHARD_REASON}" if not of_variants and all(map(is_shard, singles)) else ""
        reason += f"; by its other files {ADAPTER_REASON}" if of_adapter else ""
        raise CheckpointError(
            f"{directory} holds {len(singles)} safetensors files and no {INDEX}: open one of {names}{reason}"
        )
    files = [path.relative_to(directory) for path in [*directory.iterdir(), *directory.glob(f"*/{ADAPTER_CONFIG}")]]
    if of_adapter or _holds_named_adapters(files):
        raise CheckpointError(f"{directory} holds no safetensors weights of a model: {ADAPTER_REASON}")
    pickles = sorted(map(str, filter(_may_be_weights, files)))
    reason = f", only {', '.join(pickles)}: {PICKLE_REASON}" if pickles else f": it needs {WEIGHTS} or {INDEX}"
    on_hub = LONG_NAME.get(str(directory))
    way_out = f"; the published model is also called {on_hub}" if on_hub else ""
    raise CheckpointError(f"{directory} holds no safetensors weights{reason}{way_out}")


def _refuse_if_another_is_meant(weights: Path) -> None:
    """Refuse weights beside others that transformers opens: a distributed checkpoint, or a pickle of its own name."""
    is_usual = weights.name in (WEIGHTS, INDEX) or weights.name.startswith("adapter_model.")
    pickles = [] if is_usual else [name for name in _PICKLES_OF_TRANSFORMERS if weights.with_name(name).exists()]
    meant = [*sorted(path.name for path in weights.parent.glob(_DISTRIBUTED)), *pickles]
    if meant and weights.name not in meant:
        raise CheckpointError(
            f"{weights.parent} holds {meant[0]}, which transformers opens: open {weights} if that is meant"
        )


def _shards(index: Path, open_shard: Callable[[str], SafetensorsFile]) -> Files:
    """The file of each tensor, after making sure that the index and the shards agree.

    Of `wte` and the `lm_head` that is tied to it, one may be in the index alone, or in a shard alone.
    """
    weight_map = _weight_map(index)
    shards: dict[str, SafetensorsFile] = {}
    for shard in sorted(set(weight_map.values())):
        try:
            shards[shard] = open_shard(shard)
        except FileNotFoundError:
            raise CheckpointError(f"{index} names {shard!r}, which is not there: download it too") from None
    found: dict[str, str] = {}
    for shard, file in shards.items():
        for name in file.tensors:
            if name in found:
                raise CheckpointError(f"{index}: both {found[name]!r} and {shard!r} have {name!r}")
            found[name] = shard
    for name in [*weight_map, *found]:
        is_once = name.endswith(("lm_head.weight", "wte.weight")) and (name not in found or name not in weight_map)
        if weight_map.get(name) != found.get(name) and not is_once:
            there, listed = (repr(at[name]) if name in at else "no shard" for at in (found, weight_map))
            raise CheckpointError(f"{index}: {there} has {name!r}, and the index says that it is in {listed}")
    return {name: shards[found[name]] for name in weight_map | found if name in found}


def _weight_map(index: Path) -> dict[str, str]:
    """The index's map from tensor to shard. A shard must be a plain file name, which cannot lead elsewhere."""
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index} has no weight_map: it is not the index of a sharded checkpoint")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or shard in {"", ".", ".."} or re.search("[/\\\\:\0\ud800-\udfff]", shard):
            raise CheckpointError(f"{index} puts {name!r} into {shard!r}, which is not a plain file name")
    return weight_map


def index_metadata(path: Path) -> dict[str, str]:
    """The texts among the metadata of a sharded checkpoint's index; nothing where the path is not that of one."""
    metadata = read_json_object(path).get("metadata") if path.suffix == ".json" else None
    entries = metadata.items() if isinstance(metadata, dict) else ()
    return {key: text for key, text in entries if isinstance(text, str)}


def is_shard(path: Path) -> bool:
    """Whether a file has the name of one of several shards that are opened by an index."""
    found = _NUMBERED.fullmatch(path.name)
    return found is not None and int(found[2]) > 1 and not path.name.startswith("shard-")


def refuse_to_replace(path: Path, own_files: Iterable[Path]) -> None:
    """Make sure that writing to `path` replaces none of these files.

    Raises:
        ValueError: it would.
    """
    for own in own_files:
        # The same name in the same directory, or another link to the same file.
        same = resolved(own) == resolved(path)
        if same or (path.exists() and own.exists() and path.samefile(own)):
            raise ValueError(f"{path} belongs to the checkpoint that is read: save under another name")


def siblings(path: Path, asked: str) -> set[Path]:
    """The files of the sharded checkpoint that a file belongs to, with the index; none where it belongs to none.

    The name that is asked for may be one of them though the directory does not list it.
    """
    found: set[Path] = set()
    there = [path, *path.parent.glob("*.safetensors*"), path.parent / asked]
    if own := _NUMBERED.fullmatch(path.name):
        others = ((each, _NUMBERED.fullmatch(each.name)) for each in there)
        found = {each for each, other in others if other and other.groups() == own.groups()}
    for index in (each for each in there if fnmatchcase(each.name, _INDEX_NAMES)):
        try:
            shards = {path.with_name(shard) for shard in _weight_map(index).values()}
        except (OSError, CheckpointError):  # the numbered names still say what belongs together
            shards = found
        found |= {index, *shards} if path in shards else set()
    return found


def links_of(path: Path) -> list[Path]:
    """The path, then the target of each symbolic link in the chain that starts there."""
    paths = [path]
    while paths[-1].is_symlink() and paths[-1] not in paths[:-1]:
        paths.append(paths[-1].parent / paths[-1].readlink())
    return paths


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: it is not sound JSON, or not an object.
    """
    try:
        with naming(path):
            text = path.read_text(encoding="utf-8")
        if text.startswith(POINTER.decode()):
            raise ValueError(f"it is {POINTER_REASON}")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # broken UTF-8 and numbers of over 4,300 digits are ValueErrors
        raise CheckpointError(f"{path} is not sound JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, not a JSON object")
    return value
