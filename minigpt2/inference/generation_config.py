"""A model's `generation_config.json`: its settings are understood, or refused by name.

As in transformers, where a model has no such file its `config.json` counts, and where it has one only that counts.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minigpt2.inference.options import Config
from minigpt2.weights.files import read_json_object

# Settings that change which token transformers takes, or that it refuses for a GPT-2, each with the one value (beside
# null) that changes nothing. Settings that are listed nowhere in this file are arguments of `generate` here, or change
# no token: they are of beam search, or say how the same tokens are computed and returned.
SUPPORTED_ALONE: Final[Mapping[str, Any]] = {
    "assistant_early_exit": None,
    "bad_words_ids": None,
    "begin_suppress_tokens": [],
    "compile_config": None,
    "constraints": None,
    "dola_layers": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "exponential_decay_length_penalty": None,
    "force_bos_token_to_be_generated": False,
    "force_words_ids": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1.0,
    "is_assistant": False,
    "max_time": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "penalty_alpha": 0,
    "repetition_penalty": 1.0,
    "sequence_bias": None,
    "stop_strings": None,
    "suppress_tokens": [],
    "token_healing": False,
    "use_mtp": False,
    "watermarking_config": None,
}
# And those that change which tokens can be drawn.
SUPPORTED_ALONE_IN_SAMPLING: Final[Mapping[str, Any]] = {
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "min_p": None,
    "top_h": None,
    "typical_p": 1.0,
}


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """The token ids that end, begin and pad a text, and the file that they are from."""

    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None
    pad_token_id: int | None
    file: Config

    def refuse_unsupported(self, do_sample: bool) -> None:
        """Make sure that no setting in the file asks for other tokens than those that `generate` takes.

        Raises:
            CheckpointError: one does.
        """
        settings = {**SUPPORTED_ALONE, **(SUPPORTED_ALONE_IN_SAMPLING if do_sample else {})}
        for key, supported in settings.items():
            if (found := self.file.get(key, None)) not in (None, supported):
                raise self.file.refusal(
                    key,
                    found,
                    f"generate supports only {json.dumps(supported)}; a copy of the model without it can be used",
                )


def read_generation_config(find: Callable[[], Path | None], config: Config) -> GenerationConfig:
    """Read the `generation_config.json` that `find` finds, or else the `config.json`.

    Raises:
        CheckpointError: the file is malformed.
    """
    path = find()
    file = Config(read_json_object(path), path) if path else config
    return GenerationConfig(
        _eos_token_ids(file), _token_id(file, "bos_token_id"), _token_id(file, "pad_token_id"), file
    )


def _eos_token_ids(file: Config) -> tuple[int, ...]:
    value = file.get("eos_token_id", None)
    ids = value if isinstance(value, list) else [value]
    if value is not None and not (ids and all(map(_is_token_id, ids))):
        raise file.refusal("eos_token_id", value, "it must be a token id, or a list of them")
    return () if value is None else tuple(ids)


def _token_id(file: Config, key: str) -> int | None:
    value: int | None = file.get(key, None)
    if value is not None and not _is_token_id(value):
        raise file.refusal(key, value, "it must be a token id")
    return value


def _is_token_id(value: object) -> bool:
    return type(value) is int and abs(value) < 1 << 31
