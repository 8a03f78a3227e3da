"""A model's `generation_config.json`: the tokens that transformers gives with it, or a refusal by file and key."""

import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint, CheckpointError
from minigpt2.inference.generation_config import SUPPORTED_ALONE, SUPPORTED_ALONE_IN_SAMPLING
from tests.random_gpt2 import saved_model

Settings = dict[str, Any]
Write = Callable[[Settings | None, Settings], Path]
PROMPTS = [[5, 6, 7, 8, 5, 6], [9, 9, 9, 9, 9, 1]]
IDS = ("eos_token_id", "bos_token_id", "pad_token_id")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gpt2")
    saved_model(directory, 3, n_positions=64, vocab_size=100)
    return directory


@pytest.fixture
def write(saved: Path, tmp_path: Path) -> Write:
    """Write a model with these settings, or without a file of them, and these changes of its `config.json`."""
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    config = json.loads((saved / "config.json").read_text())

    def write_both(settings: Settings | None, changes: Settings) -> Path:
        changed = {key: value for key, value in (config | changes).items() if value is not ...}
        (tmp_path / "config.json").write_text(json.dumps(changed))
        (tmp_path / "generation_config.json").unlink(missing_ok=True)
        if settings is not None:
            (tmp_path / "generation_config.json").write_text(json.dumps(settings))
        return tmp_path

    return write_both


def expected(directory: Path, ids: list[list[int]] | None, **options: Any) -> list[list[int]] | str:
    """transformers' tokens, or the name of its error."""
    given = {} if ids is None else {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), len(ids[0]))}
    try:
        with warnings.catch_warnings(action="ignore"):
            model: Any = GPT2LMHeadModel.from_pretrained(directory)
            answer = model.generate(**(given | {"do_sample": False, "max_new_tokens": 8} | options))
    except Exception as error:  # it raises whatever its parts raise
        return type(error).__name__
    ids_of_all: list[list[int]] = (answer if isinstance(answer, torch.Tensor) else answer.sequences).tolist()
    return ids_of_all


def ours(directory: Path, ids: list[list[int]], **options: Any) -> list[list[int]]:
    return GPT2(Checkpoint.open(directory)).generate(ids, max_new_tokens=8, **options).tolist()  # type: ignore[no-any-return]


# What the two prompts go on with: 75 62 75 62 … and 45 69 62 ….
CONFIGS: list[tuple[Settings | None, Settings]] = [
    ({"eos_token_id": 62}, {}),
    ({"eos_token_id": [69, 62]}, {}),
    ({"eos_token_id": 62, "pad_token_id": 44}, {"pad_token_id": 33}),
    ({"eos_token_id": 62}, {"pad_token_id": 33}),
    ({}, {"eos_token_id": 62}),
    ({"eos_token_id": None}, {"eos_token_id": 62}),
    ({"pad_token_id": 44}, {"eos_token_id": 62}),
    (None, {"eos_token_id": 62, "pad_token_id": 44}),
    (None, {"eos_token_id": [69, 62]}),
    (None, {"eos_token_id": None}),
    (None, {"eos_token_id": ...}),
]


@pytest.mark.parametrize(("settings", "config"), CONFIGS, ids=str)
def test_the_ids_of_the_file_count_or_else_those_of_the_config(
    write: Write, settings: Settings | None, config: Settings
) -> None:
    directory = write(settings, config)
    assert ours(directory, PROMPTS, attention_mask=np.ones_like(PROMPTS)) == expected(directory, PROMPTS)


def test_a_config_without_ids_has_none(write: Write) -> None:
    directory = write(None, dict.fromkeys(IDS, ...))
    theirs: Any = GPT2LMHeadModel.from_pretrained(directory)
    found = GPT2(Checkpoint.open(directory)).generation_config
    assert [getattr(theirs.generation_config, key) for key in IDS] == [None, None, None]
    assert (found.eos_token_ids, found.bos_token_id, found.pad_token_id) == ((), None, None)


@pytest.mark.parametrize(("settings", "config"), [({"bos_token_id": 6}, {"bos_token_id": 5}), (None, {})], ids=str)
def test_an_empty_prompt_starts_from_the_files_token(write: Write, settings: Settings | None, config: Settings) -> None:
    directory = write(settings, config)
    assert ours(directory, [[]]) == expected(directory, None)


def test_an_empty_prompt_is_refused_where_the_file_has_no_token_to_start_from(
    write: Write,
) -> None:
    directory = write({}, {"bos_token_id": 5})
    assert expected(directory, None) == "ValueError"
    with pytest.raises(ValueError, match="the model has no bos_token_id to start from"):
        ours(directory, [[]])


def test_among_ids_without_a_mask_the_files_token_is_padding(
    write: Write,
) -> None:
    directory = write({"pad_token_id": 5}, {"pad_token_id": 6})
    assert ours(directory, PROMPTS) == expected(directory, PROMPTS, attention_mask=None)
    assert ours(directory, PROMPTS) != expected(directory, PROMPTS)


# Each with a prompt that shows what it changes in transformers, or that it is refused there.
ONE = [[7]]
REPEATED = [[75, 62, 75]]
CHANGING: dict[str, tuple[Any, list[list[int]]]] = {
    "assistant_early_exit": (1, ONE),
    "bad_words_ids": ([[62]], PROMPTS),
    "begin_suppress_tokens": ([75], PROMPTS),
    "compile_config": ({}, PROMPTS),
    "constraints": ([1], PROMPTS),
    "dola_layers": ("low", PROMPTS),
    "encoder_no_repeat_ngram_size": (1, REPEATED),
    "encoder_repetition_penalty": (3.0, PROMPTS),
    "exponential_decay_length_penalty": ([1, 2.0], PROMPTS),
    "force_bos_token_to_be_generated": (True, ONE),
    "force_words_ids": ([[3]], PROMPTS),
    "forced_bos_token_id": (3, ONE),
    "forced_eos_token_id": (3, ONE),
    "guidance_scale": (1.5, PROMPTS),
    "is_assistant": (True, PROMPTS),
    "max_time": (1e-9, PROMPTS),
    "min_length": (12, PROMPTS),
    "min_new_tokens": (7, PROMPTS),
    "no_repeat_ngram_size": (2, PROMPTS),
    "num_beams": (2, PROMPTS),
    "num_return_sequences": (2, PROMPTS),
    "penalty_alpha": (0.6, PROMPTS),
    "repetition_penalty": (1.2, PROMPTS),
    "sequence_bias": ([[[62], -10.0]], PROMPTS),
    "stop_strings": (["a"], PROMPTS),
    "suppress_tokens": ([62], PROMPTS),
    "token_healing": (True, PROMPTS),
    "use_mtp": (True, PROMPTS),
    "watermarking_config": ({"greenlist_ratio": 0.5}, PROMPTS),
}
ENDS = {"eos_token_id": 69, "bos_token_id": 3, "_from_model_config": True}


@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("key", SUPPORTED_ALONE)
def test_a_setting_that_changes_the_tokens_is_refused_by_file_and_key(write: Write, key: str, name: str) -> None:
    value, ids = CHANGING[key]
    changed = ENDS | {key: value}
    plain = expected(write(ENDS, {}), ids)
    directory = write(changed, {}) if name == "generation_config.json" else write(None, changed)
    assert expected(directory, ids) != plain
    refusal = re.escape(f"{directory / name}: {key!r} is {value!r}, but generate supports only ")
    for method in (GPT2.generate, GPT2.stream):
        with pytest.raises(CheckpointError, match=refusal):
            method(GPT2(Checkpoint.open(directory)), ids[0])


@pytest.mark.parametrize("key", SUPPORTED_ALONE)
def test_a_setting_of_the_value_that_changes_nothing_is_taken(write: Write, key: str) -> None:
    _, ids = CHANGING[key]
    plain = expected(write(ENDS, {}), ids)
    for value in (None, SUPPORTED_ALONE[key]):
        directory = write(ENDS | {key: value}, {})
        assert ours(directory, ids, attention_mask=np.ones_like(ids)) == plain == expected(directory, ids)


# Values of all other settings, which change nothing where `generate` is called with its own arguments.
CHANGING_NOTHING: Settings = {
    "assistant_confidence_threshold": 0.9,
    "assistant_ensemble_weight": 0.5,
    "assistant_lookbehind": 1,
    "cache_config": {},
    "cache_implementation": "static",
    "continuous_batching_config": {},
    "decoder_start_token_id": 3,
    "disable_compile": True,
    "diversity_penalty": 1.0,
    "do_sample": True,
    "early_stopping": True,
    "length_penalty": 2.0,
    "low_memory": True,
    "max_cache_len": 3,
    "max_length": 3,
    "max_matching_ngram_size": 2,
    "max_new_tokens": 1,
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "heuristic",
    "num_beam_groups": 2,
    "output_attentions": True,
    "output_hidden_states": True,
    "output_logits": True,
    "output_scores": True,
    "prefill_chunk_size": 2,
    "remove_invalid_values": True,
    "renormalize_logits": True,
    "return_dict_in_generate": True,
    "speculation_type": "x",
    "target_lookbehind": 2,
    "temperature": 0.1,
    "top_k": 1,
    "top_p": 0.1,
    "transformers_version": "4.26.0.dev0",
    "use_cache": False,
    "something_else": 1,
    **dict.fromkeys(SUPPORTED_ALONE_IN_SAMPLING, 0.5),
}


@pytest.mark.parametrize("key", CHANGING_NOTHING)
def test_a_setting_that_changes_no_token_is_ignored(write: Write, key: str) -> None:
    plain = expected(write({"eos_token_id": 69}, {}), PROMPTS)
    directory = write({"eos_token_id": 69, key: CHANGING_NOTHING[key]}, {})
    assert ours(directory, PROMPTS, attention_mask=np.ones_like(PROMPTS)) == plain == expected(directory, PROMPTS)


def test_prompt_lookup_changes_no_token(write: Write) -> None:
    directory = write({"prompt_lookup_num_tokens": 3}, {})
    assert ours(directory, PROMPTS[:1], attention_mask=np.ones_like(PROMPTS[:1])) == expected(directory, PROMPTS[:1])


def test_these_are_all_settings_that_transformers_has() -> None:
    known = {*SUPPORTED_ALONE, *CHANGING_NOTHING, *IDS, "prompt_lookup_num_tokens", "_from_model_config"}
    theirs: Any = GenerationConfig
    assert theirs().to_dict().keys() <= known


@pytest.mark.parametrize("key", SUPPORTED_ALONE_IN_SAMPLING)
def test_a_setting_that_changes_what_can_be_drawn_is_refused_in_sampling(write: Write, key: str) -> None:
    directory = write({key: 0.5}, {})
    with pytest.raises(CheckpointError, match=rf"generation_config\.json: '{key}' is 0\.5, but generate supports only"):
        ours(directory, PROMPTS, do_sample=True)
    for value in (None, SUPPORTED_ALONE_IN_SAMPLING[key]):
        assert len(ours(write({key: value}, {}), PROMPTS, do_sample=True)) == 2


def test_a_model_whose_settings_are_refused_computes_all_the_rest(write: Write) -> None:
    model = GPT2(Checkpoint.open(write({"repetition_penalty": 1.2}, {})))
    assert model(PROMPTS).logits.shape == (2, 6, 100)
    assert model.token_losses(PROMPTS).shape == (2, 5)


OTHER_TYPES: list[Any] = ["end", 1.5, True, 2**31, {}, [], ["end"], [True], [[1]]]
REFUSED_IDS: list[Settings] = [{key: value} for key in IDS for value in OTHER_TYPES]
REFUSED_IDS += [{"bos_token_id": [1]}, {"pad_token_id": [1]}]


@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("settings", REFUSED_IDS, ids=str)
def test_an_id_of_another_type_is_refused_by_file_and_key(write: Write, settings: Settings, name: str) -> None:
    directory = write(settings, {}) if name == "generation_config.json" else write(None, settings)
    ((key, value),) = settings.items()
    refusal = re.escape(f"{directory / name}: {key!r} is {value!r}, but it must be a token id")
    with pytest.raises(CheckpointError, match=refusal):
        GPT2(Checkpoint.open(directory)).generate([0], 1)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff"], ids=str)
def test_a_malformed_file_is_refused_by_name_where_something_is_generated(write: Write, content: bytes) -> None:
    directory = write(None, {})
    (directory / "generation_config.json").write_bytes(content)
    model = GPT2(Checkpoint.open(directory))
    assert model([0]).logits.size
    for generate in (model.generate, model.stream):
        with pytest.raises(CheckpointError, match=r"generation_config\.json (is not sound JSON|holds a)"):
            generate([0], 1)


def test_a_file_that_cannot_be_read_is_named_where_something_is_generated(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write({}, {})
    read_text = Path.read_text

    def fail(path: Path, *arguments: Any, **options: Any) -> str:
        if path.name == "generation_config.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", fail)
    model = GPT2(Checkpoint.open(directory))
    assert model([0]).logits.size
    with pytest.raises(OSError, match=r"generation_config\.json"):
        model.generate([0], 1)
