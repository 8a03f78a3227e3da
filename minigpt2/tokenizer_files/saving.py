"""A vocabulary and settings → files, from which this package and transformers open the same tokenizer again."""

import errno
import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from minigpt2.atomic_write import atomic_write, locked, naming, resolved
from minigpt2.batches import PostProcessing, Template
from minigpt2.settings import ROLES, Settings, of
from minigpt2.special_tokens import AddedTokens
from minigpt2.tokenizer_files.files import CHAT_TEMPLATE, NAMES, PathLike
from minigpt2.vocabulary import Vocabulary

# Every opener reads this file, so it decides whether the files around it are a tokenizer.
_CONFIG = "tokenizer_config.json"
# Files of the tokenizer that was there, which would count beside some of those written here.
_STALE = ("merges.txt", "tokenizer.json", "added_tokens.json", "special_tokens_map.json", CHAT_TEMPLATE)
# Not an object, so no opener takes it.
_MARK = json.dumps("the tokenizer is being saved; if not, that was interrupted: save it again").encode("ascii")


def write(vocabulary: Vocabulary, settings: Settings, directory: PathLike) -> list[Path]:
    """Write the files of a tokenizer; make the directory if need be. Returns the paths.

    The directory opens as the tokenizer that was there until all is written, and then as the new one. In between, for
    as long as it takes to rename the files, it does not open: files of two tokenizers are never taken for one.
    """
    if not os.fspath(directory):
        raise FileNotFoundError(errno.ENOENT, "the name of the directory is empty")
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    if not _ids_come_back(vocabulary, settings.added):
        vocabulary = replace(vocabulary, beyond=())
    is_plain = settings is of(vocabulary)  # then what the class adds by itself is all there is
    texts = {_CONFIG: json.dumps(config(settings, is_plain), indent=2) + "\n"}
    texts |= {"vocab.json": vocabulary.vocab_json(), "merges.txt": vocabulary.merges_txt()}
    reads_back = re.fullmatch(r"(\S+ \S+\n)*", texts["merges.txt"])  # not where a token of a merge has white space
    if settings.model_class == "TokenizersBackend" or settings.post_processing or not reads_back:
        texts["tokenizer.json"] = json.dumps(tokenizer_json(vocabulary, settings), indent=2) + "\n"
    if isinstance(settings.chat_template, str) and (target / CHAT_TEMPLATE).is_file():
        texts[CHAT_TEMPLATE] = settings.chat_template  # other files of templates may be beside it
    with locked(target):
        before = {path: _content(path) for path in map(target.joinpath, NAMES) if path.is_file()}
        try:
            _replace(target, texts)
        except BaseException:
            if (target / _CONFIG).is_file() and _content(target / _CONFIG) == _MARK:
                _restore(target, before)
            raise
    return [target / name for name in texts]


def _replace(target: Path, texts: Mapping[str, str]) -> None:
    """Replace the old files; until the last new one has its name, the configuration is marked as unfinished."""
    with ExitStack() as files:  # they take their names when it ends, the first of them last
        for name, text in texts.items():
            file = files.enter_context(atomic_write(target / name))
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())  # a disk that is full says so now
        with atomic_write(target / _CONFIG) as file:
            file.write(_MARK)
        for path in (target / name for name in _STALE if not (target / name).is_dir()):
            # A symbolic link stays where a new file comes: that takes the name of what the link leads to.
            (resolved(path) if path.name in texts else path).unlink(missing_ok=True)


def _restore(target: Path, before: Mapping[Path, bytes]) -> None:
    """Put the old files back, the configuration last."""
    for path in (target / name for name in reversed(NAMES)):
        if path not in before:
            path.unlink(missing_ok=True)
        elif not path.is_file() or _content(path) != before[path]:
            with atomic_write(path) as file:
                file.write(before[path])


def _content(path: Path) -> bytes:
    with naming(path):
        return path.read_bytes()


def _ids_come_back(vocabulary: Vocabulary, added: AddedTokens) -> bool:
    """Whether added tokens that only the added tokens list get the same ids when they are numbered again."""
    beyond = {added.ids[token]: added.tokens[token] for token in vocabulary.beyond}
    first = len(vocabulary.token_bytes) - len(beyond)
    return sorted(beyond) == [*range(first, first + len(beyond))]


def config(settings: Settings, is_plain: bool = False) -> dict[str, Any]:
    """The content of `tokenizer_config.json`."""
    # The names of transformers 4 for this class and for special tokens, which version 5 knows too.
    is_backend = settings.model_class == "TokenizersBackend"
    content: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast" if is_backend else settings.model_class}
    content["model_max_length"] = settings.model_max_length
    # Roles that GPT2Tokenizer would fill by default are written even where there is none.
    defaults = ("bos_token", "eos_token", "unk_token")
    content |= {role: settings.roles.get(role) for role in ROLES if role in settings.roles or role in defaults}
    if settings.extra_special_tokens:
        content["additional_special_tokens"] = list(settings.extra_special_tokens)
    if not is_plain:
        content["added_tokens_decoder"] = {str(entry.pop("id")): entry for entry in _added(settings)}
    content |= {"add_prefix_space": True} if settings.add_prefix_space else {}
    content |= {"chat_template": settings.chat_template} if settings.chat_template is not None else {}
    for key, side in (("padding_side", settings.padding_side), ("truncation_side", settings.truncation_side)):
        content |= {key: side} if side != "right" else {}
    return content


def _added(settings: Settings) -> list[dict[str, Any]]:
    """The added tokens by their ids, with their flags."""
    added = settings.added
    special = set(added.special)
    return [
        {
            "id": token_id,
            "content": token,
            "single_word": added.tokens[token].single_word,
            "lstrip": added.tokens[token].lstrip,
            "rstrip": added.tokens[token].rstrip,
            "normalized": added.tokens[token].is_second,
            "special": token in special,
        }
        for token, token_id in sorted(added.ids.items(), key=lambda item: item[1])
    ]


def tokenizer_json(vocabulary: Vocabulary, settings: Settings) -> Mapping[str, Any]:
    """The content of `tokenizer.json`."""
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    written = {token_id: vocabulary.written(token_id) for token_id in vocabulary.token_bytes}
    beyond = set(vocabulary.beyond)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(settings),
        "normalizer": None,
        "pre_tokenizer": byte_level | {"add_prefix_space": settings.add_prefix_space},
        "post_processor": _post_processor(settings.post_processing, written),
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None if vocabulary.unknown is None else written[vocabulary.unknown],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": vocabulary.fuses_unknown,
            "byte_fallback": False,
            "ignore_merges": vocabulary.ignores_merges,
            "vocab": {token: token_id for token_id, token in written.items() if token not in beyond},
            "merges": [[written[left], written[right]] for left, right in vocabulary.pairs.tolist()],
        },
    }


def _post_processor(steps: PostProcessing, written: Mapping[int, str]) -> Mapping[str, Any] | None:
    processors = [
        _template(step, written)
        if isinstance(step, Template)
        else {"type": "ByteLevel", "add_prefix_space": step.keeps_first_space, "trim_offsets": True, "use_regex": True}
        for step in steps
    ]
    return {"type": "Sequence", "processors": processors} if len(processors) > 1 else next(iter(processors), None)


def _template(template: Template, written: Mapping[int, str]) -> dict[str, Any]:
    text: list[dict[str, Any]] = [{"Sequence": {"id": "A", "type_id": 0}}]
    before, after = ([_special_piece(written[i]) for i in ids] for ids in template)
    ids = {written[token_id]: token_id for each in template for token_id in each}
    return {
        "type": "TemplateProcessing",
        "single": [*before, *text, *after],
        "pair": [*before, *text, {"Sequence": {"id": "B", "type_id": 1}}, *after],
        "special_tokens": {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in ids},
    }


def _special_piece(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}
