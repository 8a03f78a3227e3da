"""Tokens and merges: from `vocab.json` and `merges.txt`, or from the `model` in `tokenizer.json`."""

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minigpt2 import byte_alphabet
from minigpt2.settings import ModelClass
from minigpt2.tokenizer_files.files import PathLike, expect, read_object, read_text, refuse_other_keys
from minigpt2.vocabulary import Vocabulary, bytes_of, gpt2

_KEYS: tuple[str, ...] = (
    "type",
    "vocab",
    "merges",
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
)
_KEYS += ("fuse_unk", "byte_fallback", "ignore_merges")


class BpeModel(NamedTuple):
    """A byte-level BPE model as files have it: ids by token, merges in their order, and how unknown bytes fare."""

    token_ids: dict[str, int]
    merges: list[tuple[str, str]]
    unknown: str | None = None
    fuses_unknown: bool = False
    ignores_merges: bool = False


def read_vocab_and_merges(vocab_file: PathLike, merges_file: PathLike) -> BpeModel:
    """The model of a `vocab.json` and a `merges.txt`.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is malformed.
    """
    token_ids, lines = read_object(vocab_file), read_text(merges_file)
    try:
        _check_token_ids(token_ids)
        merges = _merges_of_lines(lines)
    except _MergeError as error:
        raise ValueError(f"{os.fspath(merges_file)}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{os.fspath(vocab_file)}: {error}") from None
    return BpeModel(token_ids, merges)


def from_tokenizer_json(model: Any, model_class: ModelClass) -> BpeModel:
    """The `model` of a `tokenizer.json`.

    `GPT2Tokenizer` takes tokens and merges from it and nothing else.

    Raises:
        ValueError: it is malformed, or not of GPT-2's kind.
    """
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or not {"vocab", "merges"} <= model.keys():
        raise ValueError("model is not a BPE model with vocab and merges, so not one of GPT-2's kind")
    refuse_other_keys(model, _KEYS, "model.")
    expect(model, dict.fromkeys(("byte_fallback", "fuse_unk", "ignore_merges"), (None, True, False)), "model.")
    token_ids, merges = model["vocab"], model["merges"]
    if not isinstance(token_ids, dict) or not isinstance(merges, list):
        raise ValueError("model.vocab is not an object, or model.merges not a list")
    _check_token_ids(token_ids)
    pairs = [_pair(merge, rank) for rank, merge in enumerate(merges)]
    if model_class == "GPT2Tokenizer":
        return BpeModel(token_ids, pairs)
    neutral: dict[str, Iterable[Any]] = {"continuing_subword_prefix": (None, ""), "end_of_word_suffix": (None, "")}
    neutral |= {"dropout": (None, 0, 0.0), "byte_fallback": (None, False)}
    expect(model, {key: tuple(values) for key, values in neutral.items()}, "model.")
    unknown = model.get("unk_token")
    if unknown is not None and not isinstance(unknown, str):
        raise ValueError(f"model.unk_token is {unknown!r}, expected a token or null")
    return BpeModel(token_ids, pairs, unknown, bool(model.get("fuse_unk")), bool(model.get("ignore_merges")))


def build(model: BpeModel) -> Vocabulary:
    """The vocabulary of a model, without added tokens.

    Raises:
        ValueError: a merge's token, or the unknown token that bytes need, is missing.
    """
    token_ids = model.token_ids
    for rank, (left, right) in enumerate(model.merges):
        for token in (left, right, left + right):
            if token not in token_ids:
                raise ValueError(f"token {token!r} of merge {rank} is missing")
    alphabet = [byte_alphabet.to_characters(bytes([byte])) for byte in range(256)]
    byte_ids = [token_ids.get(character, -1) for character in alphabet]
    if -1 in byte_ids and model.unknown is not None and model.unknown not in token_ids:
        raise ValueError(f"model.unk_token is {model.unknown!r}, which is not in model.vocab")
    token_bytes: dict[int, bytes] = {}
    verbatim: dict[int, str] = {}
    for token, token_id in sorted(token_ids.items(), key=lambda item: item[1]):
        token_bytes[token_id], is_verbatim = bytes_of(token)
        if is_verbatim:
            verbatim[token_id] = token
    pairs = np.array([(token_ids[a], token_ids[b]) for a, b in model.merges], np.int64).reshape(-1, 2)
    # Each token of GPT-2's own vocabulary merges to itself, so that merging it or not is the same.
    is_gpt2s = model.ignores_merges and np.array_equal(pairs, gpt2().pairs)
    is_gpt2s = is_gpt2s and token_ids.items() <= gpt2().token_ids().items()
    return Vocabulary(
        token_bytes=token_bytes,
        byte_ids=byte_ids,
        pairs=pairs,
        products=np.array([token_ids[a + b] for a, b in model.merges], np.int64),
        added_tokens={},
        beyond=(),
        verbatim=verbatim,
        unknown=None if model.unknown is None else token_ids.get(model.unknown),
        fuses_unknown=model.fuses_unknown,
        ignores_merges=model.ignores_merges and not is_gpt2s,
    )


def _check_token_ids(content: dict[str, Any]) -> None:
    token_of: dict[int, str] = {}
    for token, token_id in content.items():
        if type(token_id) is not int or not 0 <= token_id < 2**31:
            raise ValueError(f"token {token!r} has the id {token_id!r}, expected 0 to 2**31 - 1")
        if token_id in token_of:
            raise ValueError(f"tokens {token_of[token_id]!r} and {token!r} share the id {token_id}")
        token_of[token_id] = token
    if not content:
        raise ValueError("there is not a single token in it")


class _MergeError(ValueError):
    """A merge is malformed."""


def _merges_of_lines(text: str) -> list[tuple[str, str]]:
    lines = text.split("\n")  # not splitlines: a token may hold characters that it takes for line ends
    if lines[-1] == "":
        lines.pop()
    merges = [line.removesuffix("\r") for line in lines if not line.startswith("#version")]
    return [_pair(merge, rank) for rank, merge in enumerate(merges)]


def _pair(merge: Any, rank: int) -> tuple[str, str]:
    """A merge as files have it: `"a b"`, or `["a", "b"]` in newer tokenizer.json files."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) and p for p in parts):
        raise _MergeError(f"merge {rank} is {merge!r}, expected two tokens")
    return parts[0], parts[1]
