"""`tokenizer_config.json` and `config.json`: which class of transformers opens the tokenizer, and with what options.

The class is `tokenizer_class`, else what `model_type` stands for. `GPT2Tokenizer` splits as GPT-2 whatever
`tokenizer.json` says, and `<|endoftext|>` has its roles by default; `TokenizersBackend`, in older files
`PreTrainedTokenizerFast`, takes `tokenizer.json` as it is and has no default roles.
"""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from minigpt2.batches import Side
from minigpt2.settings import NO_LIMIT, ROLES, ModelClass
from minigpt2.tokenizer_files.files import Find, excerpt, expect, named, read_object, refuse_other_keys

#: Keys that decide something.
UNDERSTOOD: tuple[str, ...] = (
    *ROLES,
    "tokenizer_class",
    "add_prefix_space",
    "add_bos_token",
    "add_eos_token",
    "model_max_length",
)
UNDERSTOOD += ("max_len", "padding_side", "truncation_side", "extra_special_tokens", "additional_special_tokens")
UNDERSTOOD += ("added_tokens_decoder", "trust_remote_code")

#: Keys that could change a result, with the values that change none.
_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": (None, False),
    "fix_mistral_regex": (None, False),
    "init_inputs": (None, []),
    "model_input_names": (None, ["input_ids", "attention_mask"]),
    "model_type": (None, "gpt2"),  # which KerasHub writes here too
    "split_special_tokens": (None, False),
    "use_auth_token": (None, False, True),  # a string would be a special token, by the end of the key
}

#: Keys that change no result, whatever their value.
PASSED_OVER: tuple[str, ...] = (
    "backend",
    "chat_control_tokens",
    "chat_template",
    "clean_up_tokenization_spaces",
    "device_map",
)
PASSED_OVER += ("do_lower_case", "errors", "is_local", "legacy", "local_files_only", "max_length", "name_or_path")
PASSED_OVER += ("pad_to_multiple_of", "pad_token_type_id", "processor_class", "response_schema", "response_template")
PASSED_OVER += ("slow_tokenizer_class", "special_tokens_map_file", "stride", "tokenizer_file", "transformers_version")
PASSED_OVER += ("trim_offsets", "truncation_strategy", "use_fast", "verbose", "vocab_size")
#: What transformers was given when it opened a tokenizer, and wrote down when it saved that; it does not read them.
WRITTEN_ALONG: tuple[str, ...] = ("cache_dir", "do_basic_tokenize", "from_slow", "full_tokenizer_file", "padding")
WRITTEN_ALONG += ("is_split_into_words", "resume_download", "return_attention_mask", "return_tensors")
WRITTEN_ALONG += ("return_token_type_ids", "truncation")

# Models whose tokenizer is GPT2Tokenizer unless they say otherwise, and those whose tokenizer never is.
_GPT2_TYPES: tuple[str, ...] = ("codegen", "dbrx", "gpt2", "gpt_neo", "gptj", "jais2", "opt", "phi", "starcoder2")
_BACKEND_TYPES: tuple[str, ...] = ("gpt_bigcode",)
_CLASSES: Mapping[str, ModelClass] = {
    "GPT2Tokenizer": "GPT2Tokenizer",
    "PreTrainedTokenizer": "TokenizersBackend",
    "TokenizersBackend": "TokenizersBackend",
}

# Models for which transformers keeps a rule of its own, by their names.
_EXCEPTIONS: tuple[str, ...] = (
    "deepseek-ai/deepseek-r1-distill-llama-*",
    "deepseek-ai/deepseek-coder-*",
    "allenai/dolma2-tokenizer",
)
_EXCEPTIONS += ("google/umt5-small", "naver-clova-ix/donut-*", "salesforce/blip2-opt-*", "salesforce/blip2-flan-t5-*")
_EXCEPTIONS += ("salesforce/instructblip-flan-t5-*", "stepfun-ai/step-3.7-*")


def read(find: Find) -> dict[str, Any]:
    """The content of `tokenizer_config.json`, empty where there is no such file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is malformed, or has a key that is not understood.
    """
    path = find("tokenizer_config.json")
    if path is None:
        return {}
    content = read_object(path)
    with named(path):
        refuse_other_keys(content, (*UNDERSTOOD, *_HARMLESS, *PASSED_OVER, *WRITTEN_ALONG))
        expect(content, _HARMLESS)
        expect(content, dict.fromkeys(("add_bos_token", "add_eos_token"), (None, True, False)))
        expect({"add_prefix_space": False} | content, {"add_prefix_space": (True, False)})
        max_length(content)
        side(content, "padding_side", "right")
        side(content, "truncation_side", "right")
    return content


def names_class(find: Find) -> bool:
    """Whether the model's `config.json` names the class of its tokenizer."""
    path = find("config.json")
    return path is not None and read_object(path).get("tokenizer_class") is not None


def model_class(content: Mapping[str, Any], find: Find, model: str) -> ModelClass | None:
    """The class of transformers that opens the tokenizer; None where no file decides.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is a class, or a type of model, that works in another way than GPT-2's.
    """
    if any(fnmatch(model.lower(), pattern) for pattern in _EXCEPTIONS):
        raise ValueError(f"{model}: transformers opens this model's tokenizer by a rule of its own")
    path = find("config.json")
    config = read_object(path) if path else {}
    model_type = config.get("model_type") or None
    where, name = find("tokenizer_config.json"), content.get("tokenizer_class")
    if name is None:
        where, name = path, config.get("tokenizer_class")
    if name is not None and (not isinstance(name, str) or name.removesuffix("Fast") not in _CLASSES):
        raise ValueError(f"{where}: tokenizer_class is {excerpt(name)}, which works in another way than GPT-2's")
    if model_type in _BACKEND_TYPES:
        return "TokenizersBackend"
    if model_type is not None and model_type not in _GPT2_TYPES:
        raise ValueError(f"{path}: model_type is {excerpt(model_type)}, whose tokenizers may differ from GPT-2's")
    if name is not None:
        return _CLASSES[name.removesuffix("Fast")]
    return None if model_type is None else "GPT2Tokenizer"


def max_length(content: Mapping[str, Any]) -> int:
    """How many tokens the model takes.

    Raises:
        ValueError: it is not a number.
    """
    key = "model_max_length" if "model_max_length" in content else "max_len"
    value = content.get(key)
    if value is None:
        return NO_LIMIT
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf") or value != int(value):
        raise ValueError(f"{key} is {excerpt(value)}, expected a number of tokens")
    return int(value)


def side(content: Mapping[str, Any], key: str, default: Side) -> Side:
    """The side that a key names.

    Raises:
        ValueError: it is neither left nor right.
    """
    value: Side = content.get(key, default)
    if value not in ("left", "right"):
        raise ValueError(f"{key} is {excerpt(value)}, which is neither 'left' nor 'right'")
    return value
