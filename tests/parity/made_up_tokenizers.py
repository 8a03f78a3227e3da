"""Directories of made-up tokenizers, as transformers 4 and 5, `tokenizers` and people write them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from minigpt2.byte_alphabet import ALPHABET_ORDER, to_characters
from minigpt2.pretokenize import SPLIT_PATTERN

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
EXTRA = ("extra_special_tokens", "additional_special_tokens")
MERGES = ["t h", "th e", "Ġ the", "Ġ a", "i n", "in g", "a b", "ab a", "Ġ Ġ", "ĠĠ ĠĠ", "Ã ©"]
TOKENS = [*to_characters(ALPHABET_ORDER), *(merge.replace(" ", "") for merge in MERGES)]
CONTENTS = [
    "<a>",
    "<a><b>",
    "<b>",
    "b>",
    "</s>",
    "<s>",
    "<pad>",
    "<|endoftext|>",
    "<|end",
    "two words",
    " lead",
    "trail ",
]
CONTENTS += ["Ġthe", "the", "ing", "ab", "a", " ", "\n", "  ", "é", "日本", "@", "aba", "😀", "Ġ", "\u3000", "b"]
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
GPT2_CLASSES = ["GPT2Tokenizer", "GPT2TokenizerFast"]
BACKEND_CLASSES = ["PreTrainedTokenizerFast", "TokenizersBackend"]


class MadeUp:
    """The files of a tokenizer by name: objects that become JSON, or text."""

    def __init__(self, files: dict[str, Any]) -> None:
        self.files = files

    def __repr__(self) -> str:
        return repr({name: _short(content) for name, content in self.files.items()})

    def write(self, directory: Path) -> None:
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            (directory / name).write_text(text, "utf-8")


def _short(content: Any) -> Any:
    """The content of a file without what every vocabulary has."""
    if isinstance(content, dict):
        return {key: _short(value) for key, value in content.items() if key not in TOKENS or key in CONTENTS}
    return content


def contents() -> st.SearchStrategy[str]:
    return st.sampled_from(CONTENTS)


def flags() -> st.SearchStrategy[dict[str, bool]]:
    return st.fixed_dictionaries({flag: st.booleans() for flag in FLAGS})


def texts() -> st.SearchStrategy[str]:
    """Texts full of added tokens, spaces and words around them."""
    words = st.sampled_from(
        ["the", " the", "thing", "x", " ", "  ", "\n", "\t", "é", "😀", "_", "1", "'s", "-", "ab", "Ā"]
    )
    return st.lists(st.one_of(contents(), words, st.text(max_size=3).filter(_is_text)), max_size=12).map("".join)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@st.composite
def vocabularies(draw: st.DrawFn) -> dict[str, int]:
    """Ids by token: some bytes or ordinary tokens may be missing, some added tokens there, ids may leave holes."""
    missing = draw(st.one_of(st.just([]), st.lists(st.sampled_from([*"xz_1é😀"]), max_size=3)))
    missing_bytes = {character for each in missing for character in to_characters(each.encode())}
    tokens = [token for token in TOKENS if token not in missing_bytes]
    tokens += [each for each in draw(st.lists(contents(), max_size=4, unique=True)) if each not in tokens]
    tokens += draw(st.sampled_from([[], [], [""]]))
    holes = draw(st.lists(st.integers(len(tokens) - 12, len(tokens)), max_size=2))
    ids = {token: index for index, token in enumerate(tokens)}
    return {token: index + 40 * sum(hole <= index for hole in holes) for token, index in ids.items()}


def merges(vocabulary: dict[str, int]) -> list[str]:
    return [each for each in MERGES if {*each.split(" "), each.replace(" ", "")} <= vocabulary.keys()]


@st.composite
def post_processors(draw: st.DrawFn, ids: list[int]) -> Any:
    """A post-processor for single texts, or none."""
    token_id = st.sampled_from(ids)
    trims = st.booleans()
    kind = draw(st.sampled_from(["none", "ByteLevel", "Template", "Roberta", "Bert", "Sequence"]))
    byte_level = {"type": "ByteLevel", "add_prefix_space": draw(trims), "trim_offsets": draw(trims), "use_regex": True}
    first, last = draw(token_id), draw(token_id)
    template = {
        "type": "TemplateProcessing",
        "single": [
            *[{"SpecialToken": {"id": "<first>", "type_id": 0}}] * draw(st.integers(0, 2)),
            {"Sequence": {"id": "A", "type_id": 0}},
            *[{"SpecialToken": {"id": "<last>", "type_id": 0}}] * draw(st.integers(0, 1)),
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            name: {"id": name, "ids": [token_id], "tokens": [name]}
            for name, token_id in (("<first>", first), ("<last>", last))
        },
    }
    pair = {"sep": ["</s>", last], "cls": ["<s>", first]}
    roberta = {"type": "RobertaProcessing", **pair, "trim_offsets": draw(trims), "add_prefix_space": draw(trims)}
    steps = draw(st.permutations([byte_level, template]))
    return {
        "none": None,
        "ByteLevel": byte_level,
        "Template": template,
        "Roberta": roberta,
        "Bert": {"type": "BertProcessing", **pair},
        "Sequence": {"type": "Sequence", "processors": steps},
    }[kind]


def pre_tokenizers() -> st.SearchStrategy[Any]:
    """Pre-tokenizers that split as GPT-2's."""
    plain = [
        {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": True}
        for space in (False, True)
    ]
    split = {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False}
    bytes_alone = BYTE_LEVEL | {"use_regex": False}
    sequences = [{"type": "Sequence", "pretokenizers": each} for each in ([plain[0]], [plain[1]], [split, bytes_alone])]
    return st.sampled_from([*plain, *sequences])


@st.composite
def tokenizer_jsons(draw: st.DrawFn, vocabulary: dict[str, int], added: list[tuple[int, str, dict[str, bool]]]) -> Any:
    unknown = draw(
        st.sampled_from([None, None, *[token for token in ("<unk>", "a", "the", "<s>", "") if token in vocabulary]])
    )
    padding: dict[str, Any] = {
        "strategy": "BatchLongest",
        "direction": draw(st.sampled_from(["Left", "Right"])),
        "pad_to_multiple_of": None,
    }
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": draw(contents())}
    truncation = {
        "direction": draw(st.sampled_from(["Left", "Right"])),
        "max_length": 5,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    pairs = merges(vocabulary)
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": draw(st.sampled_from([None, ""])),
        "end_of_word_suffix": draw(st.sampled_from([None, ""])),
        "fuse_unk": draw(st.booleans()),
        "byte_fallback": False,
        "ignore_merges": draw(st.booleans()),
        "vocab": vocabulary,
        "merges": draw(st.sampled_from([pairs, [each.split(" ") for each in pairs]])),
    }
    return {
        "version": "1.0",
        "truncation": draw(st.sampled_from([None, truncation])),
        "padding": draw(st.sampled_from([None, padding])),
        "added_tokens": [{"id": token_id, "content": content, **each} for token_id, content, each in added],
        "normalizer": None,
        "pre_tokenizer": draw(pre_tokenizers()),
        "post_processor": draw(post_processors(sorted(vocabulary.values()))),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": model,
    }


@st.composite
def made_up(draw: st.DrawFn) -> MadeUp:
    """The files of a tokenizer of one of the two classes, each file in one of its forms."""
    vocabulary = draw(vocabularies())
    names = draw(st.lists(contents(), max_size=6, unique=True))
    next_id = max(vocabulary.values()) + draw(st.sampled_from([1, 1, 5]))
    step = draw(st.sampled_from([1, 1, 3]))
    new = [name for name in names if name not in vocabulary]
    ids = {name: vocabulary.get(name, next_id + step * new.index(name) if name in new else 0) for name in names}
    added = [(ids[name], name, draw(flags())) for name in names]
    is_backend = draw(st.booleans())
    config: dict[str, Any] = {}
    files: dict[str, Any] = {"tokenizer_config.json": config}
    by_type = not is_backend and draw(st.booleans())
    if by_type:
        files["config.json"] = {"model_type": draw(st.sampled_from(["gpt2", "gpt_neo", "opt"]))}
    else:
        config["tokenizer_class"] = draw(st.sampled_from(BACKEND_CLASSES if is_backend else GPT2_CLASSES))
    has_json = is_backend or draw(st.booleans())
    in_json = [each for each in added if draw(st.integers(0, 4))] if has_json else []
    if has_json:
        files["tokenizer.json"] = draw(tokenizer_jsons(vocabulary, in_json))
    if not has_json or draw(st.booleans()):
        files["vocab.json"] = vocabulary
        files["merges.txt"] = "\n".join(["#version: 0.2", *merges(vocabulary), ""])
    config |= draw(options())
    roles = draw(st.dictionaries(st.sampled_from(ROLES), role_values(allow_none=True), max_size=4))
    if draw(st.booleans()):  # as transformers 5 and late transformers 4 write them
        config |= roles
        if draw(st.booleans()):
            config["added_tokens_decoder"] = {str(i): {"content": name, **each} for i, name, each in added}
            files |= {"added_tokens.json": {"<old>": 9999}} if draw(st.booleans()) else {}
    else:  # as early transformers 4 did
        config |= {role: value for role, value in roles.items() if draw(st.booleans())}
        files["special_tokens_map.json"] = draw(st.dictionaries(st.sampled_from(ROLES), map_values(), max_size=4))
        for key in draw(st.lists(st.sampled_from(EXTRA), max_size=2, unique=True)):
            objects = map_values() if draw(st.booleans()) else contents()
            files["special_tokens_map.json"][key] = draw(st.lists(objects, max_size=3, unique_by=str))
        if draw(st.booleans()):
            files["added_tokens.json"] = {name: i for i, name, _ in added if draw(st.integers(0, 4))}
    extra = draw(st.sampled_from([None, *EXTRA]))
    if extra:
        config[extra] = draw(st.just({}) | st.lists(st.one_of(contents(), tagged()), max_size=3, unique_by=str))
    return MadeUp(files)


@st.composite
def tagged(draw: st.DrawFn) -> dict[str, Any]:
    """A token as transformers writes an `AddedToken` into tokenizer_config.json."""
    return {"__type": "AddedToken", "content": draw(contents()), **draw(flags())}


def role_values(allow_none: bool) -> st.SearchStrategy[Any]:
    return st.one_of(contents(), tagged(), *([st.none()] if allow_none else []))


def map_values() -> st.SearchStrategy[Any]:
    return st.one_of(contents(), st.builds(lambda content, each: {"content": content, **each}, contents(), flags()))


class Change(NamedTuple):
    """Tokens that are added, with their flags, and a role that the first of them is given afterwards.

    They are added as tokens of a key, a role or one of `EXTRA`, or as tokens alone. `option` is that of the method.
    """

    tokens: list[tuple[str, dict[str, bool]]]
    key: str | None
    option: bool
    also: str | None


def changes() -> st.SearchStrategy[Change]:
    flags = st.dictionaries(st.sampled_from(FLAGS), st.booleans(), max_size=2)
    one = st.tuples(st.sampled_from(CONTENTS[:2]) | contents(), flags)  # some again and again
    several = st.builds(
        Change, st.lists(one, min_size=1, max_size=3), st.sampled_from([None, *EXTRA]), st.booleans(), st.none()
    )
    role = st.builds(
        Change, one.map(lambda token: [token]), st.sampled_from(ROLES), st.just(True), st.sampled_from([None, *ROLES])
    )
    return several | role


def options() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "add_prefix_space": st.booleans(),
            "add_bos_token": st.booleans(),
            "add_eos_token": st.booleans(),
            "model_max_length": st.sampled_from([7, 1024, 1e30, None]),
            "padding_side": st.sampled_from(["left", "right"]),
            "truncation_side": st.sampled_from(["left", "right"]),
            "clean_up_tokenization_spaces": st.booleans(),
            "errors": st.just("replace"),
            "trust_remote_code": st.booleans(),
            "chat_template": st.just("{{ messages }}"),
        },
    )
