"""A vocabulary's files in and out: `vocab.json` with `merges.txt`, or `tokenizer.json`.

The formats are those of GPT-2's release and of the `tokenizers` library. What a file says that this package would not
do (another split, another normalization) is refused, never ignored.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigpt2 import byte_alphabet
from minigpt2.atomic_write import atomic_write
from minigpt2.vocabulary import END_OF_TEXT, Vocabulary

PathLike = str | os.PathLike[str]


def read(vocab_file: PathLike, merges_file: PathLike, added_tokens_file: PathLike | None = None) -> Vocabulary:
    """Read a byte-level BPE vocabulary from `vocab.json` and `merges.txt`.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is malformed, or the two do not belong together; the message names the file and the token.
    """
    token_ids = _token_ids(_json(vocab_file), vocab_file)
    merges = _merges(_text(merges_file), merges_file)
    added = _token_ids(_json(added_tokens_file), added_tokens_file) if added_tokens_file else {}
    special = frozenset({END_OF_TEXT}) if END_OF_TEXT in token_ids else frozenset()
    added |= {token: token_ids[token] for token in special}
    return _build(token_ids, merges, added, special, os.fspath(vocab_file), os.fspath(merges_file))


def read_directory(directory: PathLike) -> Vocabulary:
    """Read the vocabulary in a directory: `vocab.json` and `merges.txt`, or else `tokenizer.json`.

    Raises:
        FileNotFoundError: the directory has neither.
        ValueError: as `read` does.
    """
    vocab, merges, added, tokenizer = (
        Path(directory) / name for name in ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer.json")
    )
    if vocab.is_file() and merges.is_file():
        return read(vocab, merges, added if added.is_file() else None)
    if tokenizer.is_file():
        return read_tokenizer_json(tokenizer)
    raise FileNotFoundError(
        f"no vocabulary in {os.fspath(directory)!r}: expected vocab.json and merges.txt, or tokenizer.json"
    )


def read_from_hub(model: str, revision: str | None, cache_dir: PathLike | None, local_files_only: bool) -> Vocabulary:
    """Read a model's vocabulary on the hub: `vocab.json` and `merges.txt`, or else `tokenizer.json`.

    Raises:
        HubError: the hub does not answer, or the model has no vocabulary there.
        ValueError: as `read` does.
    """
    from minigpt2 import hub

    def fetch(name: str) -> Path | None:
        try:
            return hub.fetch(model, name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        except hub.MissingFileError:
            return None

    vocab, merges = fetch("vocab.json"), fetch("merges.txt")
    if vocab and merges:
        return read(vocab, merges, fetch("added_tokens.json"))
    if tokenizer := fetch("tokenizer.json"):
        return read_tokenizer_json(tokenizer)
    raise hub.MissingFileError(f"{model} has neither vocab.json and merges.txt nor tokenizer.json: is it a GPT-2?")


def read_tokenizer_json(path: PathLike) -> Vocabulary:
    """Read a byte-level BPE vocabulary from the `tokenizer.json` of the `tokenizers` library.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is malformed, or describes a tokenizer that does not work as GPT-2's.
    """
    content = _json(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise ValueError(f"{os.fspath(path)}: not a BPE tokenizer, so not one of GPT-2's kind")
    _refuse_what_gpt2_does_not_do(content, model, path)
    token_ids = _token_ids(model.get("vocab"), path)
    lists = {name: part.get(name) or [] for name, part in (("merges", model), ("added_tokens", content))}
    for name, entries in lists.items():
        if not isinstance(entries, list):
            raise ValueError(f"{os.fspath(path)}: {name} is {entries!r}, expected a list")
    merges = [_pair(merge, path, rank) for rank, merge in enumerate(lists["merges"])]
    added, special = _added_tokens(lists["added_tokens"], path)
    return _build(token_ids, merges, added, special, os.fspath(path), os.fspath(path))


def write(vocabulary: Vocabulary, directory: PathLike) -> list[Path]:
    """Write `vocab.json` and `merges.txt`, and `added_tokens.json` where tokens were added.

    Each file appears whole or not at all; the directory is made if need be. Returns the paths.
    """
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    texts = {"vocab.json": vocabulary.vocab_json(), "merges.txt": vocabulary.merges_txt()}
    added = {
        token: i for token, i in vocabulary.added_tokens.items() if token != END_OF_TEXT or token in vocabulary.beyond
    }
    if added:
        texts["added_tokens.json"] = json.dumps(dict(sorted(added.items(), key=lambda item: item[1])))
    else:
        (target / "added_tokens.json").unlink(missing_ok=True)  # another vocabulary's
    for name, text in texts.items():
        with atomic_write(target / name) as file:
            file.write(text.encode("utf-8"))
    return [target / name for name in texts]


def _text(path: PathLike) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: not UTF-8 text at byte {error.start}") from None


def _json(path: PathLike) -> Any:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:  # not only JSONDecodeError: numbers may have too many digits
        raise ValueError(f"{os.fspath(path)}: not JSON: {error}") from None


def _token_ids(content: Any, path: PathLike) -> dict[str, int]:
    """Check that JSON content maps tokens to distinct ids."""
    if not isinstance(content, dict):
        raise ValueError(f"{os.fspath(path)}: expected an object of tokens and ids, found {type(content).__name__}")
    token_of: dict[int, str] = {}
    for token, token_id in content.items():
        if not token:
            raise ValueError(f"{os.fspath(path)}: the token of id {token_id!r} is empty")
        if type(token_id) is not int or not 0 <= token_id < 2**31:
            raise ValueError(f"{os.fspath(path)}: token {token!r} has the id {token_id!r}, expected 0 to 2**31 - 1")
        if token_id in token_of:
            raise ValueError(f"{os.fspath(path)}: tokens {token_of[token_id]!r} and {token!r} share the id {token_id}")
        token_of[token_id] = token
    return content


def _merges(text: str, path: PathLike) -> list[tuple[str, str]]:
    lines = text.split("\n")  # not splitlines: a token may hold characters that it takes for line ends
    if lines[-1] == "":
        lines.pop()
    merges = [line.removesuffix("\r") for line in lines if not line.startswith("#version")]
    return [_pair(merge, path, rank) for rank, merge in enumerate(merges)]


def _pair(merge: Any, path: PathLike, place: int) -> tuple[str, str]:
    """A merge as files have it: `"a b"`, or `["a", "b"]` in newer tokenizer.json files."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) and p for p in parts):
        raise ValueError(f"{os.fspath(path)}: merge {place} is {merge!r}, expected two tokens")
    return parts[0], parts[1]


def _refuse_what_gpt2_does_not_do(content: Mapping[str, Any], model: Mapping[str, Any], path: PathLike) -> None:
    split, after = content.get("pre_tokenizer"), content.get("post_processor")
    if not isinstance(split, dict) or split.get("type") != "ByteLevel" or not split.get("use_regex", True):
        raise ValueError(f"{os.fspath(path)}: pre_tokenizer is {split!r}, which GPT-2's tokenizer does not have")
    found = {
        "normalizer": content.get("normalizer"),
        "post_processor's special_tokens": after.get("special_tokens") if isinstance(after, dict) else None,
        "add_prefix_space": split.get("add_prefix_space"),
        "ignore_merges": model.get("ignore_merges"),
        "dropout": model.get("dropout"),
        "continuing_subword_prefix": model.get("continuing_subword_prefix"),
        "end_of_word_suffix": model.get("end_of_word_suffix"),
    }
    for name, value in found.items():
        if value:
            raise ValueError(f"{os.fspath(path)}: {name} is {value!r}, which GPT-2's tokenizer does not have")


def _added_tokens(entries: Iterable[Any], path: PathLike) -> tuple[dict[str, int], frozenset[str]]:
    added: dict[str, int] = {}
    special = set()
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str) or not entry["content"]:
            raise ValueError(f"{os.fspath(path)}: added token {entry!r} has no content")
        for option in ("lstrip", "rstrip", "single_word"):
            if entry.get(option):
                raise ValueError(f"{os.fspath(path)}: added token {entry['content']!r} asks for {option}")
        added[entry["content"]] = entry.get("id", -1)
        if entry.get("special"):
            special.add(entry["content"])
    return _token_ids(added, path), frozenset(special)


def _build(
    token_ids: dict[str, int],
    merges: list[tuple[str, str]],
    added: dict[str, int],
    special: frozenset[str],
    vocab_name: str,
    merges_name: str,
) -> Vocabulary:
    """Check that vocabulary and merges belong together, and put them in the order of ids."""
    for byte, character in enumerate(map(byte_alphabet.to_characters, map(bytes, zip(range(256))))):
        if character not in token_ids:
            raise ValueError(f"{vocab_name}: the byte 0x{byte:02X}, written {character!r}, is missing")
    for rank, (left, right) in enumerate(merges):
        for token in (left, right, left + right):
            if token not in token_ids:
                raise ValueError(f"{vocab_name}: token {token!r} of merge {rank} in {merges_name} is missing")
    if END_OF_TEXT not in added:
        added = added | {END_OF_TEXT: token_ids.get(END_OF_TEXT, 1 + max([*token_ids.values(), *added.values()]))}
    special |= {END_OF_TEXT}
    _refuse_conflicts(token_ids, added, vocab_name)
    every = dict(sorted((token_ids | added).items(), key=lambda item: item[1]))
    token_bytes, verbatim = _bytes_of(every)
    return Vocabulary(
        token_bytes=token_bytes,
        byte_ids=[token_ids[byte_alphabet.to_characters(bytes([byte]))] for byte in range(256)],
        pairs=np.array([(token_ids[a], token_ids[b]) for a, b in merges], np.int64).reshape(-1, 2),
        products=np.array([token_ids[a + b] for a, b in merges], np.int64),
        added_tokens=added,
        special_tokens=special,
        beyond=frozenset(added.keys() - token_ids.keys()),
        verbatim=verbatim,
    )


def _refuse_conflicts(token_ids: Mapping[str, int], added: Mapping[str, int], name: str) -> None:
    token_of = {token_id: token for token, token_id in token_ids.items()}
    for token, token_id in added.items():
        if token_ids.get(token, token_id) != token_id or token_of.get(token_id, token) != token:
            raise ValueError(f"{name}: the added token {token!r} has the id {token_id}, which is taken or not its own")


def _bytes_of(token_ids: Mapping[str, int]) -> tuple[dict[int, bytes], dict[int, str]]:
    """Each token's bytes by id, and the tokens that are not written in the byte alphabet: those are their UTF-8."""
    token_bytes: dict[int, bytes] = {}
    verbatim: dict[int, str] = {}
    for token, token_id in token_ids.items():
        try:
            token_bytes[token_id] = byte_alphabet.to_bytes(token)
        except ValueError:
            token_bytes[token_id] = token.encode("utf-8", "surrogatepass")
            verbatim[token_id] = token
    return token_bytes, verbatim
