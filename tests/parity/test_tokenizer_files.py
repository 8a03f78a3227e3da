"""Directories as people have them, each opened here and by `AutoTokenizer`, or refused by file and key."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minigpt2 import Tokenizer
from minigpt2.explain.trace import explain
from minigpt2.pretokenize import SPLIT_PATTERN
from minigpt2.tokenizer_files.configuration import _BACKEND_TYPES, _GPT2_TYPES, WRITTEN_ALONG
from minigpt2.tokenizer_files.opening import open_directory
from minigpt2.tokenizer_files.saving import tokenizer_json
from minigpt2.vocabulary import gpt2
from tests.command import files_in
from tests.hub_server import Hub
from tests.hub_settings import online
from tests.parity.made_up_tokenizers import BYTE_LEVEL, TOKENS, MadeUp, merges
from tests.parity.references import auto_tokenizer
from tests.parity.test_made_up_tokenizers import agree, state

VOCABULARY = {token: index for index, token in enumerate(TOKENS)}
TEXTS = [
    "the <pad> the",
    " <bos>the  <eos> thing",
    "the<eos>ab<pad>",
    "<s>the </s>\n",
    "é日本 <mask>x",
    "",
    "<|endoftext|>",
]
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
GPT2 = {"tokenizer_class": "GPT2Tokenizer"}
BACKEND = {"tokenizer_class": "PreTrainedTokenizerFast"}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [267], "tokens": ["<s>"]}},
}
PAIR = {"sep": ["</s>", 268], "cls": ["<s>", 267]}


def two_files(*more: str, missing: str = "") -> dict[str, Any]:
    """`vocab.json` and `merges.txt`, with more tokens at the end, or without some."""
    tokens = [*(token for token in TOKENS if token not in missing), *more]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return {"vocab.json": vocabulary, "merges.txt": "\n".join(["#version: 0.2", *merges(vocabulary), ""])}


def one_file(*added: str, model: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """`tokenizer.json`, with added tokens, and changes in it and in its model."""
    tokens = [{"id": 267 + index, "content": content, **FLAGS} for index, content in enumerate(added)]
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": tokens,
        "normalizer": None,
    }
    content |= {"pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": BYTE_LEVEL}
    bpe: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "vocab": VOCABULARY}
    bpe |= {"continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False}
    return {"tokenizer.json": content | {"model": bpe | {"merges": merges(VOCABULARY)} | (model or {})} | changes}


def decoder(**flags: bool) -> dict[str, Any]:
    return {"added_tokens_decoder": {"267": {"content": "<mask>", **FLAGS, **flags}}}


def with_type_left_out(files: dict[str, Any]) -> dict[str, Any]:
    del files["tokenizer.json"]["model"]["type"]
    return files


ROBERTA = {"type": "RobertaProcessing", **PAIR, "trim_offsets": True, "add_prefix_space": True}
OPT = {"model_type": "opt"}
PADDING = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 267}
PADDING |= {"pad_type_id": 0, "pad_token": "<pad>"}
TRUNCATION = {"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
QWEN, ADDS = {"tokenizer_class": "Qwen2Tokenizer"}, {"tokenizer_class": "RobertaTokenizer"}
SPLITS, IMAGE = {"split_special_tokens": True}, {"image_token": "<i>"}
HOLE = {"vocab.json": {**VOCABULARY, "two": 268}}
SPLIT = {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False}
BYTES = BYTE_LEVEL | {"use_regex": False}
SPELLED_OUT = {"type": "Sequence", "pretokenizers": [SPLIT, BYTES]}
CL100K = {"type": "Sequence", "pretokenizers": [SPLIT | {"pattern": {"Regex": r"\p{N}{1,3}|\p{L}+"}}, BYTES]}
DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]}
CHATML = ["<|im_start|>", "<|im_end|>"]

# What transformers 4 saved for a GPT-2 with tokens of its own: flags in the config, and the older files beside it.
SAVED_BY_4 = {
    "tokenizer_config.json": {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {"267": {"content": "<|endoftext|>", **FLAGS}, "268": {"content": "<pad>", **FLAGS}},
        "additional_special_tokens": ["<bos>"],
        "bos_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": True,
        "eos_token": "<|endoftext|>",
        "errors": "replace",
        "extra_special_tokens": {},
        "model_max_length": 1024,
        "pad_token": "<pad>",
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": "<|endoftext|>",
    },
    "special_tokens_map.json": {"bos_token": "<|endoftext|>", "pad_token": {"content": "<pad>", **FLAGS}},
    "added_tokens.json": {"<|endoftext|>": 267, "<pad>": 268},
}

KERAS = {"model_type": "gpt2"} | dict.fromkeys(["bos_token", "eos_token", "unk_token"], "<|endoftext|>")

OPENS: dict[str, dict[str, Any]] = {
    "roles in special_tokens_map.json": {
        **two_files("<pad>", "<bos>", "<eos>"),
        "config.json": {"model_type": "gpt2"},
        "special_tokens_map.json": {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": {"content": "<eos>"}},
    },
    "roles in tokenizer_config.json": {
        **two_files("<pad>"),
        "tokenizer_config.json": GPT2 | {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": None},
    },
    "add_prefix_space": {**two_files(), "tokenizer_config.json": GPT2 | {"add_prefix_space": True}},
    "add_bos_token": {**two_files(), "tokenizer_config.json": GPT2 | {"add_bos_token": True, "bos_token": "<s>"}},
    "add_bos_token beside tokenizer.json": {**one_file(), "tokenizer_config.json": GPT2 | {"add_bos_token": True}},
    "lstrip": {**two_files(), "tokenizer_config.json": GPT2 | decoder(lstrip=True)},
    "rstrip": {**two_files(), "tokenizer_config.json": GPT2 | decoder(rstrip=True)},
    "single_word": {**two_files(), "tokenizer_config.json": GPT2 | decoder(single_word=True)},
    "chat tokens in vocab.json": {
        **two_files(*CHATML),
        "tokenizer_config.json": GPT2 | {"extra_special_tokens": CHATML, "chat_template": "{{ messages }}"},
    },
    "a chat template in a file of its own": {
        **two_files(),
        "tokenizer_config.json": GPT2 | {"chat_template": "{{ older }}"},
        "chat_template.jinja": "{{ messages }}\n",
    },
    "the class from config.json": {**two_files(), "config.json": {"model_type": "opt"}},
    "transformers 4": {**two_files(), **SAVED_BY_4},
    "KerasHub": {**two_files("<|endoftext|>"), "config.json": {"model_type": "gpt2"}, "tokenizer_config.json": KERAS},
    "KerasHub, one file and no type": {**one_file("<|endoftext|>"), "tokenizer_config.json": KERAS},
    "a template with a BOS": {**one_file("<s>", post_processor=TEMPLATE), "tokenizer_config.json": BACKEND},
    "RobertaProcessing": {**one_file("<s>", "</s>", post_processor=ROBERTA), "tokenizer_config.json": BACKEND},
    "BertProcessing": {
        **one_file("<s>", "</s>", post_processor={"type": "BertProcessing", **PAIR}),
        "tokenizer_config.json": BACKEND,
    },
    "a Sequence with a template": {
        **one_file("<s>", post_processor={"type": "Sequence", "processors": [BYTE_LEVEL, TEMPLATE]}),
        "tokenizer_config.json": BACKEND,
    },
    "a Sequence with trimming last, cut on the left": {
        **one_file(
            "<s>",
            post_processor={"type": "Sequence", "processors": [TEMPLATE, BYTE_LEVEL | {"add_prefix_space": True}]},
            truncation=TRUNCATION,
        ),
        "tokenizer_config.json": BACKEND,
    },
    "no end of text": {**one_file(), "tokenizer_config.json": BACKEND},
    "no class at all": one_file("<pad>"),
    "a model without a type": {**with_type_left_out(one_file()), "config.json": {"model_type": "gpt2"}},
    "the split pattern spelled out": one_file(pre_tokenizer=SPELLED_OUT),
    "a Sequence of one": one_file(pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTE_LEVEL]}),
    "ignore_merges": one_file(model={"ignore_merges": True}),
    "an empty token": {**two_files(""), "tokenizer_config.json": GPT2},
    "an unknown token that is empty": one_file(model={"vocab": {**VOCABULARY, "": 267}, "unk_token": ""}),
    **{
        f"a token of merges with {space!a} under GPT2Tokenizer": {
            **one_file(
                model={"vocab": {**VOCABULARY, f"x{space}": 267, f"zx{space}": 268}, "merges": [["z", f"x{space}"]]}
            ),
            "tokenizer_config.json": GPT2,
        }
        for space in " \n\r\t\x85\u3000"
    },
    "bytes missing": {**two_files(missing="zxé"), "tokenizer_config.json": GPT2},
    "bytes missing, an unknown token": one_file(
        model={"vocab": {**{t: i for t, i in VOCABULARY.items() if t not in "xz"}, "<unk>": 400}, "unk_token": "<unk>"}
    ),
    "bytes missing, an unknown token that merges": one_file(
        model={"vocab": {t: i for t, i in VOCABULARY.items() if t not in "xzÃ"}, "unk_token": "the", "fuse_unk": True}
        | {"merges": ["t h", "th e", "Ġ the", "a b"]}
    ),
    "overlapping tokens, one normalized": {
        **two_files(),
        "tokenizer_config.json": GPT2
        | {
            "added_tokens_decoder": {
                "267": {"content": "<a", **FLAGS, "normalized": True},
                "268": {"content": "a><pad>", **FLAGS},
            }
        },
    },
    "a role that is an object in the config, its token in added_tokens.json too": {
        **two_files(),
        "tokenizer_config.json": GPT2
        | {"eos_token": {"__type": "AddedToken", "content": "<a", **FLAGS}, "pad_token": "a><pad>"},
        "added_tokens.json": {"<a": 267, "a><pad>": 268},
    },
    "an ordinary token added": {**two_files(), "added_tokens.json": {"Ġthe": 258, "ab": 262}, "config.json": OPT},
    "added ids that leave holes": {**two_files(), "added_tokens.json": {"<a>": 900, "<b>": 300}, "config.json": OPT},
    "padding and truncation in tokenizer.json": {
        **one_file("<pad>", padding=PADDING, truncation=TRUNCATION),
        "tokenizer_config.json": BACKEND,
    },
    "another pre-tokenizer under GPT2Tokenizer": {
        **one_file(pre_tokenizer={"type": "Whitespace"}, normalizer={"type": "NFC"}),
        "tokenizer_config.json": GPT2,
    },
}


@pytest.mark.parametrize("files", OPENS.values(), ids=OPENS)
def test_it_opens_as_in_transformers_and_again_after_saving(files: dict[str, Any], tmp_path: Path) -> None:
    MadeUp(files).write(tmp_path)
    ours, theirs = Tokenizer.from_pretrained(tmp_path), auto_tokenizer(tmp_path)
    agree(ours, theirs, [*TEXTS, *CHATML, "x<a><pad>", "the x xz zthe éxz"], 5)
    agree(ours, theirs, ["the thing ", "the \n", "    the", " the"], 2)
    ours.save_pretrained(tmp_path / "saved")
    assert state(Tokenizer.from_pretrained(tmp_path / "saved"), TEXTS) == state(ours, TEXTS)
    reopened = auto_tokenizer(tmp_path / "saved")
    agree(ours, reopened, TEXTS, 5)
    assert reopened.chat_template == theirs.chat_template
    for text in TEXTS:
        assert [token.id for token in explain(ours, text).tokens] == ours.encode(text)


def test_saving_in_place_keeps_every_chat_template(tmp_path: Path) -> None:
    MadeUp({**two_files(), "tokenizer_config.json": GPT2, "chat_template.jinja": "{{ messages }}"}).write(tmp_path)
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    before = auto_tokenizer(tmp_path).chat_template
    Tokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert auto_tokenizer(tmp_path).chat_template == before == {"default": "{{ messages }}", "tool_use": "{{ tools }}"}


@pytest.mark.parametrize("key", [*WRITTEN_ALONG, "trust_remote_code", "use_auth_token"])
@pytest.mark.parametrize("files", [{**two_files(), "config.json": {"model_type": "gpt2"}}, one_file()], ids=len)
def test_what_transformers_was_given_and_wrote_down_changes_nothing(
    files: dict[str, Any], key: str, tmp_path: Path
) -> None:
    for value in (None, True, False) if key == "use_auth_token" else (None, True, False, 1, "x"):
        MadeUp({**files, "tokenizer_config.json": {"pad_token": "the", key: value}}).write(tmp_path)
        ours, theirs = Tokenizer.from_pretrained(tmp_path), auto_tokenizer(tmp_path)
        agree(ours, theirs, TEXTS, 3)


ADDS_SPACE = {"add_prefix_space": True}


def trusted(**changes: Any) -> dict[str, Any]:
    """A `tokenizer.json` that transformers takes as it is, although its class is `GPT2Tokenizer`."""
    config = GPT2 | {"trust_remote_code": True}
    return {**one_file("<|endoftext|>", **changes), "tokenizer_config.json": config}


def test_a_tokenizer_json_that_is_taken_as_it_is_opens_where_that_is_gpt2s(tmp_path: Path) -> None:
    MadeUp(trusted()).write(tmp_path)
    agree(Tokenizer.from_pretrained(tmp_path), auto_tokenizer(tmp_path), TEXTS, 3)


@pytest.mark.parametrize("changes", [{"pre_tokenizer": BYTE_LEVEL | ADDS_SPACE}, {"model": {"ignore_merges": True}}])
def test_the_class_that_the_refusal_names_reads_the_file_as_it_is(changes: dict[str, Any], tmp_path: Path) -> None:
    files = trusted(**changes)
    MadeUp(files).write(tmp_path)
    theirs = auto_tokenizer(tmp_path)
    files["tokenizer_config.json"] |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    MadeUp(files).write(tmp_path)
    assert [Tokenizer.from_pretrained(tmp_path).encode(text) for text in TEXTS] == [theirs.encode(t) for t in TEXTS]


NOT_A_CLASS: list[Any] = ["", False, 0, [], {}]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another class": ({**two_files(), "tokenizer_config.json": QWEN}, "tokenizer_class"),
    "a class that adds tokens": ({**one_file(), "tokenizer_config.json": ADDS}, "tok"),
    "another type of model": ({**two_files(), "config.json": {"model_type": "llama"}}, 'model_type is "llama"'),
    "a normalizer": (one_file(normalizer={"type": "NFC"}), "normalizer"),
    "a normalizer, taken as it is": (trusted(normalizer={"type": "Lowercase"}), "normalizer is"),
    "a space before a text, taken as it is": (trusted(pre_tokenizer=BYTE_LEVEL | ADDS_SPACE), "trust_remote_code"),
    "a model, taken as it is": (trusted(model={"ignore_merges": True}), "trust_remote_code"),
    "no end of text, taken as it is": (trusted(added_tokens=[]), "trust_remote_code"),
    "another split": (one_file(pre_tokenizer=DIGITS), "pre_tokenizer"),
    "another pattern": (one_file(pre_tokenizer=CL100K), "pre_tokenizer"),
    "a pre-tokenizer of another kind": (one_file(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer is"),
    "no decoder": (one_file(decoder=None), "decoder"),
    "another decoder": (one_file(decoder={"type": "Metaspace"}), "decoder is"),
    "another kind of model": (one_file(model={"type": "WordPiece"}), "model is not a BPE model"),
    "an unknown flag in tokenizer.json": (
        one_file(added_tokens=[{"id": 999, "content": "<x>", "bold": True}]),
        "added_tokens: bold is true",
    ),
    "dropout": (one_file(model={"dropout": 0.1}), "model.dropout"),
    "byte_fallback": (one_file(model={"byte_fallback": True}), "model.byte_fallback"),
    "a suffix": (one_file(model={"end_of_word_suffix": "</w>"}), "model.end_of_word_suffix"),
    "an unknown key of the model": (one_file(model={"shape": 1}), "model.shape"),
    "an unknown key": (one_file(shape=1), "shape is 1"),
    "an unknown key of the config": ({**two_files(), "tokenizer_config.json": {"shape": 1}}, "shape is 1"),
    "a token of a multimodal model": ({**two_files(), "tokenizer_config.json": IMAGE}, "image_token"),
    "special tokens that are split": ({**two_files(), "tokenizer_config.json": SPLITS}, "split_spec"),
    **{
        f"a {key} that is not true or false": (one_file(model={key: "no"}), f'model.{key} is "no"')
        for key in ("byte_fallback", "fuse_unk", "ignore_merges")
    },
    "another version": (one_file(version="2.0"), 'version is "2.0"'),
    "a side that is none": ({**two_files(), "tokenizer_config.json": {"padding_side": None}}, "padding_side is null"),
    "an unknown key with escapes": (
        {**two_files(), "tokenizer_config.json": {"x\n\x1b[2J": 1}},
        re.escape(r'"x\n\u001b[2J" is 1'),
    ),
    "code of its own": ({**two_files(), "tokenizer_config.json": {"auto_map": {}}}, "auto_map"),
    "an unknown flag": ({**two_files(), "tokenizer_config.json": GPT2 | decoder(bold=True)}, "bold"),
    "a template with two texts": (one_file("<s>", post_processor={**TEMPLATE, "single": TEMPLATE["pair"]}), "single"),
    "an id that no token has": (one_file(post_processor=TEMPLATE), "267"),
    "two tokens with one id": ({**two_files(), "added_tokens.json": {}, **HOLE, "config.json": OPT}, "which is"),
}

REFUSED |= {
    f"a class that is {name!r}": ({**one_file(), "tokenizer_config.json": {"tokenizer_class": name}}, "tokenizer_class")
    for name in NOT_A_CLASS
}


@pytest.mark.parametrize(("files", "key"), REFUSED.values(), ids=REFUSED)
def test_what_works_in_another_way_is_refused_by_file_and_key(files: dict[str, Any], key: str, tmp_path: Path) -> None:
    MadeUp(files).write(tmp_path)
    with pytest.raises(ValueError, match=key) as refusal:
        Tokenizer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(refusal.value)
    assert ".json: " in str(refusal.value)


def test_a_tokenizer_without_an_end_of_text_has_none(tmp_path: Path) -> None:
    MadeUp(one_file("<pad>")).write(tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.all_special_tokens) == (None, None, [])
    assert "<|endoftext|>" not in tokenizer.get_vocab()
    with pytest.raises(ValueError, match=r"set tokenizer\.pad_token"):
        tokenizer(["the", "the the"], padding=True)
    with pytest.raises(ValueError, match="truncation needs max_length"):
        tokenizer("the", truncation=True)


def test_gpt2s_own_published_tokenizer_json_is_the_packages_tokenizer(tmp_path: Path) -> None:
    """Its model has no `type`, its `<|endoftext|>` is normalized, and the class follows from config.json."""
    published = json.loads(json.dumps(tokenizer_json(gpt2(), Tokenizer().settings)))
    published["post_processor"] = BYTE_LEVEL | {"trim_offsets": False, "add_prefix_space": True}
    del published["model"]["type"]
    MadeUp(
        {
            "tokenizer.json": published,
            "tokenizer_config.json": {"model_max_length": 1024},
            "config.json": {"model_type": "gpt2"},
        }
    ).write(tmp_path)
    ours, theirs = Tokenizer.from_pretrained(tmp_path), auto_tokenizer(tmp_path)
    agree(ours, theirs, [*TEXTS, "The meaning of life is<|endoftext|> 42"], 5)
    assert ours.settings.added.tokens == Tokenizer().settings.added.tokens
    assert state(ours, TEXTS) == state(Tokenizer(), TEXTS)


def test_ignore_merges_with_gpt2s_vocabulary_takes_the_quick_way(tmp_path: Path) -> None:
    content = json.loads(json.dumps(tokenizer_json(gpt2(), Tokenizer().settings)))
    content["model"]["ignore_merges"] = True
    MadeUp({"tokenizer.json": content}).write(tmp_path)
    ours = Tokenizer.from_pretrained(tmp_path)
    agree(ours, auto_tokenizer(tmp_path), [*TEXTS, "The meaning of life is"], 5)
    assert ours.vocabulary.is_complete


def test_a_model_on_the_hub_opens_as_its_directory_does(tmp_path: Path) -> None:
    files = OPENS["transformers 4"]
    MadeUp(files).write(tmp_path)
    expected = Tokenizer.from_pretrained(tmp_path).encode("the <pad><bos>")
    code = "import sys; from minigpt2 import Tokenizer; t = Tokenizer.from_pretrained('owner/tiny')"
    code += "; print(t.encode('the <pad><bos>'), t.pad_token)"
    with Hub() as hub:
        hub.publish("owner/tiny", files_in(tmp_path))
        for offline in ("0", "1"):
            env = online(hub.url, tmp_path / "home", HF_HUB_OFFLINE=offline)
            answer = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True, text=True)
            assert answer.stdout == f"{expected} <pad>\n"


def test_files_with_openais_names_open(tmp_path: Path) -> None:
    Tokenizer().save_pretrained(tmp_path)
    (tmp_path / "vocab.json").rename(tmp_path / "encoder.json")
    (tmp_path / "merges.txt").rename(tmp_path / "vocab.bpe")
    assert Tokenizer.from_pretrained(tmp_path).encode("The meaning of life is") == [464, 3616, 286, 1204, 318]


def test_a_folder_that_is_called_gpt2_and_has_no_tokenizer_is_not_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert Tokenizer.from_pretrained("gpt2").get_vocab() == Tokenizer().get_vocab()
    MadeUp(one_file()).write(tmp_path / "gpt2")
    assert len(Tokenizer.from_pretrained("gpt2")) == len(VOCABULARY)


def test_a_sentencepiece_model_comes_before_vocab_json_in_transformers(tmp_path: Path) -> None:
    MadeUp({**two_files(), "tokenizer_config.json": GPT2, "tokenizer.model": "x"}).write(tmp_path)
    with pytest.raises(ValueError, match=r"tokenizer\.model: "):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("model_type", [None, *_GPT2_TYPES, *_BACKEND_TYPES])
@pytest.mark.parametrize("place", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("name", [None, "GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast"])
def test_the_class_is_chosen_as_in_transformers(
    name: str | None, place: str, model_type: str | None, tmp_path: Path
) -> None:
    files: dict[str, Any] = {**one_file("<pad>"), "config.json": {"model_type": model_type} if model_type else {}}
    files.setdefault(place, {})
    files[place] |= {"tokenizer_class": name} if name else {}
    MadeUp(files).write(tmp_path)
    assert Tokenizer.from_pretrained(tmp_path).settings.model_class == type(auto_tokenizer(tmp_path)).__name__


def test_a_directory_without_tokens_has_no_tokenizer_whatever_its_config_says(tmp_path: Path) -> None:
    """Commands fall back to GPT-2's vocabulary for such a directory, which has weights alone."""
    MadeUp({"config.json": {"model_type": "llama"}}).write(tmp_path)
    with pytest.raises(FileNotFoundError, match="no vocabulary"):
        Tokenizer.from_pretrained(tmp_path)


def test_a_directory_that_has_just_been_moved_away_is_not_one_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="replaced while the files were read: open it again"):
        open_directory(tmp_path / "moved")
