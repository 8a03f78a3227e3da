"""A directory, a model on the hub, or two files → a vocabulary and settings."""

import os
from contextlib import suppress
from pathlib import Path

from minigpt2 import settings
from minigpt2.batches import PostProcessing, Template
from minigpt2.published_models import GPT2_MODELS
from minigpt2.settings import ModelClass, Settings
from minigpt2.special_tokens import AddedTokens
from minigpt2.tokenizer_files import bpe_model, configuration, declared_tokens, tokenizer_json
from minigpt2.tokenizer_files.bpe_model import BpeModel
from minigpt2.tokenizer_files.files import (
    CHAT_TEMPLATE,
    NAMES,
    OPENAI_NAMES,
    Find,
    NoTokenizerError,
    PathLike,
    in_directory,
    named,
    on_hub,
    read_object,
    read_text,
)
from minigpt2.tokenizer_files.tokenizer_json import TokenizerJson
from minigpt2.vocabulary import Vocabulary, gpt2

Opened = tuple[Vocabulary, Settings]

# Tokens and merges, under the names that transformers gives them, and under OpenAI's.
_PAIRS = (("vocab.json", "merges.txt"), OPENAI_NAMES)
# Files of other kinds of tokenizers: those that transformers prefers to vocab.json, and those that it does not.
_PREFERRED = ("tokenizer.model", "tekken.json", "tiktoken.model")
_OTHER_KINDS: tuple[str, ...] = (*_PREFERRED, "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
_OTHER_KINDS += (
    "sentencepiece.model",
    "spm.model",
    "spm_char.model",
    "source.spm",
    "bpe.codes",
    "dict.txt",
    "prophetnet.tokenizer",
)
_OF_A_TOKENIZER = (*_OTHER_KINDS, *(name for pair in _PAIRS for name in pair))
_OF_A_TOKENIZER += tuple(name for name in NAMES if name != CHAT_TEMPLATE)


# What transformers called GPT-2's own merges once.
_GPT2S_MERGES = {f"{model}-merges.txt" for model in GPT2_MODELS}


def has_tokenizer(directory: PathLike) -> bool:
    """Whether a directory has any file of a tokenizer, of GPT-2's kind or another, or names the class of one.

    A pair of files under other names counts beside weights alone.
    """
    find = in_directory(directory)
    if any(map(find, _OF_A_TOKENIZER)) or configuration.names_class(find):
        return True
    return bool(_other_pairs(directory)) and any(Path(directory).glob("*.safetensors"))


def open_vocab_and_merges(vocab_file: PathLike, merges_file: PathLike) -> Opened:
    """The tokenizer that transformers' `GPT2Tokenizer(vocab_file, merges_file)` gives.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is malformed, or the two do not belong together; the message names the file and the token.
    """
    model = bpe_model.read_vocab_and_merges(vocab_file, merges_file)
    return _combine(vocab_file, model, None, "GPT2Tokenizer", {}, lambda name: None)


def open_directory(directory: PathLike) -> Opened:
    """The tokenizer in a directory.

    Raises:
        NoTokenizerError: the directory has no tokenizer.
        ValueError: a file is malformed, or of another kind of tokenizer, or says something that this package does not
            do; or a file was replaced while the files were read.
    """
    find, name, before = in_directory(directory), os.fspath(directory), _versions(directory)
    try:
        opened = _open(find, name)
        if opened is None:
            _refuse_other_kinds(find, name)
    except (FileNotFoundError, ValueError) as error:
        if _versions(directory) != before:
            raise _replaced(name) from error  # a file is gone, or the files are of two tokenizers
        raise
    if _versions(directory) != before or not os.path.isdir(directory):  # noqa: PTH112 - pathlib is slow
        raise _replaced(name)
    if opened is None:
        for path in _other_pairs(directory):
            raise ValueError(f"{path} may be of the model's vocabulary: name its files vocab.json and merges.txt")
        raise NoTokenizerError(f"no vocabulary in {name!r}: expected tokenizer.json, or vocab.json and merges.txt")
    return opened


def _other_pairs(directory: PathLike) -> list[Path]:
    """The merges of each vocabulary that `tokenizers` saved with a prefix, as `de-merges.txt` and `de-vocab.json`."""
    names: set[str] = set()
    with suppress(PermissionError):  # its files may be readable all the same
        names = {path.name for path in Path(directory).iterdir()}
    vocabularies = {name.removesuffix("vocab.json") + "merges.txt" for name in names if name.endswith("-vocab.json")}
    return [Path(directory, name) for name in sorted(names & vocabularies - _GPT2S_MERGES)]


def _versions(directory: PathLike) -> list[tuple[int, ...] | None]:
    """One entry for each file name of a tokenizer: its inode, size and modification time, or None without the file."""
    versions: list[tuple[int, ...] | None] = []
    for name in _OF_A_TOKENIZER:
        try:
            status = os.stat(os.path.join(directory, name))  # noqa: PTH116, PTH118 - pathlib is slow
            versions.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            versions.append(None)
    return versions


def _replaced(directory: str) -> ValueError:
    return ValueError(f"{directory}: a file of the tokenizer was replaced while the files were read: open it again")


def open_from_hub(model: str, revision: str | None, cache_dir: PathLike | None, local_files_only: bool) -> Opened:
    """The tokenizer of a model on the hub; that of a published GPT-2 is the package's.

    Raises:
        HubError: the hub does not answer, or the model has no vocabulary there.
        ValueError: a file is malformed, or says something that this package does not do.
    """
    if model in GPT2_MODELS:
        return gpt2(), settings.of(gpt2())
    from minigpt2 import hub

    find = on_hub(model, revision, cache_dir, local_files_only)
    opened = _open(find, model)
    if opened is None:
        for name in _PAIRS[0]:  # without a network, this raises the error that says so
            hub.fetch(model, name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        raise hub.MissingFileError(f"{model} has neither tokenizer.json nor vocab.json and merges.txt: is it a GPT-2?")
    return opened


def _refuse_other_kinds(find: Find, model: str) -> None:
    """Refuse files of a tokenizer that is not of GPT-2's kind, or not whole: GPT-2's ids would be wrong for its model.

    Raises:
        ValueError: there is one.
    """
    path, config = next(filter(None, map(find, _OF_A_TOKENIZER)), None), find("tokenizer_config.json")
    if path or configuration.names_class(find):
        configuration.model_class(read_object(config) if config else {}, find, model)
    if path and path.name in _OTHER_KINDS:
        raise ValueError(f"{path}: this file is of another kind of tokenizer than GPT-2's")
    if path:
        raise ValueError(f"{path}: the rest of the tokenizer is missing: tokenizer.json, or vocab.json and merges.txt")


def _open(find: Find, model: str) -> Opened | None:
    path = find("tokenizer.json")
    pairs = () if path else ((find(vocab), find(merges)) for vocab, merges in _PAIRS)
    vocab, merges = next((pair for pair in pairs if all(pair)), (None, None))
    if path is None and vocab is None:
        return None
    config = configuration.read(find)
    model_class = configuration.model_class(config, find, model)
    if path:
        # transformers takes TokenizersBackend where no file decides.
        model_class = model_class or "TokenizersBackend"
        content = read_object(path)
        with named(path):
            parsed = tokenizer_json.parse(content, model_class)
        opened = _combine(path, parsed.model, parsed, model_class, config, find)
        if config.get("trust_remote_code") and model_class == "GPT2Tokenizer":
            with named(path):
                _refuse_as_it_is(content, parsed, opened[1])
        return opened
    if other := next(filter(None, map(find, _PREFERRED)), None):
        raise ValueError(f"{other}: transformers takes this file, which is not of GPT-2's kind, before vocab.json")
    if model_class == "TokenizersBackend":
        raise ValueError(f"{vocab}: the tokenizer's class in transformers needs a tokenizer.json beside it")
    assert vocab is not None
    assert merges is not None
    return _combine(vocab, bpe_model.read_vocab_and_merges(vocab, merges), None, model_class, config, find)


def _refuse_as_it_is(content: dict[str, object], parsed: TokenizerJson, settings: Settings) -> None:
    """Refuse a `tokenizer.json` that means a different tokenizer when it is read as it is, not as `GPT2Tokenizer` does.

    With trust_remote_code in `tokenizer_config.json`, transformers reads it as it is.
    """
    as_it_is = tokenizer_json.parse(content, "TokenizersBackend")
    is_same = as_it_is.model == parsed.model and as_it_is.add_prefix_space == settings.add_prefix_space
    has_its_tokens = settings.added.ids == {token.content: token_id for token_id, token in as_it_is.added}
    has_its_flags = not settings.added.not_yet(token for _, token in as_it_is.added)
    if not (is_same and has_its_tokens and has_its_flags):
        reason = "makes transformers read this file as it is, which gives a different tokenizer than GPT2Tokenizer"
        way_out = "set tokenizer_class to PreTrainedTokenizerFast, and name the roles, to read it so here"
        raise ValueError(f"trust_remote_code in tokenizer_config.json {reason}: {way_out}")


def _combine(
    source: PathLike,
    model: BpeModel,
    parsed: TokenizerJson | None,
    chosen: ModelClass | None,
    config: dict[str, object],
    find: Find,
) -> Opened:
    """The model with its added tokens, and everything else that the files say.

    New ids begin where transformers begins, at the number of tokens, even where ids leave holes. It does not open files
    that name no class; here their new ids begin after the largest.
    """
    model_class = chosen or "GPT2Tokenizer"
    in_json = parsed.added if parsed else []
    declared = declared_tokens.read(config, find, model_class, in_json, parsed.pad_token if parsed else None)
    with named(source):
        vocabulary = bpe_model.build(model)
        size = len(vocabulary.token_bytes) if chosen else int(vocabulary.ids[-1]) + 1
        added = AddedTokens()
        if model_class == "TokenizersBackend":
            added = added.and_also([token for _, token in in_json], vocabulary.id_of, size)
        added = added.and_also(declared.added, vocabulary.id_of, size)
        vocabulary = vocabulary.and_also(added.ids)
        steps = parsed.post_processing if parsed else _begin_and_end(config, declared.roles, vocabulary)
        _check_templates(steps, vocabulary)
    template = find(CHAT_TEMPLATE)
    is_backend = model_class == "TokenizersBackend"
    adds_space = parsed.add_prefix_space if parsed and is_backend else bool(config.get("add_prefix_space", False))
    return vocabulary, Settings(
        added,
        declared.roles,
        tuple(declared.extra),
        model_class,
        adds_space,
        steps,
        configuration.max_length(config),
        configuration.side(config, "padding_side", parsed.padding_side if parsed else "right"),
        configuration.side(config, "truncation_side", parsed.truncation_side if parsed else "right"),
        read_text(template) if template else config.get("chat_template"),
    )


def _begin_and_end(config: dict[str, object], roles: dict[str, str], vocabulary: Vocabulary) -> PostProcessing:
    """The tokens that `add_bos_token` and `add_eos_token` put around a text. A `tokenizer.json` overrides them."""
    around: list[tuple[int, ...]] = []
    for role in ("bos_token", "eos_token"):
        token = roles.get(role) if config.get(f"add_{role}") else None
        if token is not None and (set(" :") & set(token) or token.startswith("$")):
            raise ValueError(f"add_{role}: transformers cannot put {token!r} around a text")
        token_id = None if token is None else vocabulary.id_of(token)
        around.append(() if token_id is None else (token_id,))
    before, after = around
    return (Template(before, after),) if before or after else ()


def _check_templates(steps: PostProcessing, vocabulary: Vocabulary) -> None:
    for step in steps:
        for token_id in (*step.before, *step.after) if isinstance(step, Template) else ():
            if token_id not in vocabulary.token_bytes:
                raise ValueError(f"post_processor adds the id {token_id}, which no token has")
