"""The names that people type, with the meaning that they have in transformers and in tiktoken."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import AddedToken, Tokenizer
from tests.conftest import hurtful_texts
from tests.parity.references import tiktoken_encoding, transformers_tokenizer

tok = Tokenizer()


# ---- roles


def test_the_line_in_almost_every_script_sets_the_pad_token() -> None:
    tokenizer = Tokenizer()
    assert tokenizer.pad_token is None
    tokenizer.pad_token = tokenizer.eos_token
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<|endoftext|>", 50256)
    tokenizer.pad_token_id = 0
    assert tokenizer.pad_token == "!"
    assert tokenizer(["Hello", "Hello world"], padding=True).input_ids == [[15496, 0], [15496, 995]]
    tokenizer.pad_token = None
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == (None, 50256), "padding falls back to end of text"


@pytest.mark.parametrize("role", ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token"])
def test_a_role_can_be_set_and_taken_away(role: str) -> None:
    tokenizer = Tokenizer()
    setattr(tokenizer, role, "the")
    assert (getattr(tokenizer, role), getattr(tokenizer, f"{role}_id")) == ("the", 1169)
    assert "the" in tokenizer.all_special_tokens
    assert 1169 in tokenizer.all_special_ids
    setattr(tokenizer, role, None)
    assert getattr(tokenizer, role) is None
    assert Tokenizer().all_special_tokens == ["<|endoftext|>"], "another tokenizer does not change"


def test_a_role_is_not_given_to_what_the_vocabulary_lacks() -> None:
    with pytest.raises(ValueError, match=r"'<pad>', which is not in the vocabulary: add it by .*add_special_tokens"):
        Tokenizer().pad_token = "<pad>"
    with pytest.raises(TypeError, match="int"):
        Tokenizer().pad_token = 50256  # type: ignore[assignment]
    with pytest.raises(ValueError, match="50257"):
        Tokenizer().pad_token_id = 50257
    for wrong in (True, 1.0, "1"):
        with pytest.raises(TypeError, match=f"a token id is an integer, not {type(wrong).__name__}"):
            Tokenizer().pad_token_id = wrong  # type: ignore[assignment]


@pytest.mark.parametrize("role", ["pad_token", "extra_special_tokens"])
def test_an_empty_token_has_no_role(role: str) -> None:
    tokenizer = Tokenizer()
    with pytest.raises(ValueError, match=f"{role} cannot be an empty token"):
        tokenizer.add_special_tokens({role: "" if role == "pad_token" else [""]})
    with pytest.raises(ValueError, match="pad_token cannot be an empty token"):
        tokenizer.pad_token = ""
    assert (tokenizer.pad_token, len(tokenizer)) == (None, 50257)


# ---- adding tokens


def test_tokens_are_added_at_the_end() -> None:
    tokenizer = Tokenizer()
    assert tokenizer.add_tokens(["<user>", "<model>", "Ġthe", "<user>"]) == 3
    assert tokenizer.add_tokens("<user>") == 0
    assert (len(tokenizer), tokenizer.vocab_size, tokenizer.n_vocab) == (50259, 50257, 50259)
    assert tokenizer.encode("<user>the<model>") == [50257, 1169, 50258]
    assert tokenizer.decode([50257, 1169], skip_special_tokens=True) == "<user>the"


def test_special_tokens_are_added_with_their_roles() -> None:
    tokenizer = Tokenizer()
    extra = {"pad_token": "<pad>", "additional_special_tokens": ["<user>"]}
    assert tokenizer.add_special_tokens(extra) == 2
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<pad>", 50257)
    assert tokenizer.all_special_tokens == ["<|endoftext|>", "<pad>", "<user>"]
    assert tokenizer.all_special_ids == [50256, 50257, 50258]
    assert tokenizer.special_tokens_set == {"<|endoftext|>", "<pad>", "<user>"}
    assert tokenizer.decode([50257, 464, 50258], skip_special_tokens=True) == "The"
    with pytest.raises(ValueError, match="'padding_token' is not a special token's role"):
        tokenizer.add_special_tokens({"padding_token": "<p>"})
    with pytest.raises(TypeError, match="list of tokens"):
        tokenizer.add_special_tokens({"extra_special_tokens": "<p>"})
    with pytest.raises(TypeError, match=r"special tokens are given by their roles, .*, not as a list"):
        tokenizer.add_special_tokens(["<p>"])  # type: ignore[arg-type]


def test_flags_are_those_of_an_added_token() -> None:
    tokenizer = Tokenizer()
    tokenizer.add_tokens(AddedToken("<mask>", lstrip=True))
    assert tokenizer("the <mask> x", return_offsets_mapping=True).offset_mapping == [(0, 3), (3, 10), (10, 12)]
    with pytest.raises(TypeError, match=r"a token is a str or a minigpt2\.AddedToken, not builtins\.int"):
        tokenizer.add_tokens([5])  # type: ignore[list-item]


def test_ids_beyond_16_bits_come_out_of_every_way_to_encode() -> None:
    tokenizer = Tokenizer()
    tokenizer.encode("x" * 50_000)  # the engine is there before the tokens are
    tokenizer.add_tokens([f"<{i}>" for i in range(20_000)])
    text = "the <19999> thing " * 3000
    ids = tokenizer.encode(text)
    assert ids[2] == 50257 + 19_999
    assert tokenizer.encode_to_numpy(text).tolist() == tokenizer.encode_batch([text, text])[1] == ids
    assert tokenizer.decode(ids) == text


def test_adding_tokens_does_not_disturb_other_threads() -> None:
    tokenizer = Tokenizer()
    text = "the <a> and <b> are found, or not"
    before, after = tokenizer.encode(text), Tokenizer()
    after.add_tokens(["<a>", "<b>"])
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(tokenizer.encode, text) for _ in range(300)]
        tokenizer.add_tokens(["<a>", "<b>"])
        found = [each.result() for each in [*results, pool.submit(tokenizer.encode, text)]]
    assert found[-1] == after.encode(text)
    assert all(ids in (before, after.encode(text)) for ids in found)


ADDED_AT_ONCE: list[dict[str, Any]] = [
    {"additional_special_tokens": ["<user>"], "pad_token": "<pad>"},
    {"extra_special_tokens": ["<user>"], "pad_token": "<pad>"},
    {"extra_special_tokens": [], "additional_special_tokens": ["<user>"], "pad_token": "<pad>"},
    {"pad_token": "<pad>", "additional_special_tokens": ["<user>"], "sep_token": "<sep>"},
]


@pytest.mark.parametrize("given", ADDED_AT_ONCE, ids=str)
def test_new_ids_are_in_the_order_of_transformers(given: dict[str, Any]) -> None:
    tokenizer, judge = Tokenizer(), copy.deepcopy(transformers_tokenizer())
    assert tokenizer.add_special_tokens(given) == judge.add_special_tokens(dict(given))
    assert tokenizer.get_vocab() == judge.get_vocab()


def test_extra_tokens_by_both_of_their_names_are_refused() -> None:
    with pytest.raises(ValueError, match="additional_special_tokens is the older name of extra_special_tokens"):
        Tokenizer().add_special_tokens({"extra_special_tokens": ["<a>"], "additional_special_tokens": ["<b>"]})


def test_extra_tokens_that_are_there_keep_their_flags_where_others_are_added() -> None:
    tokenizer, judge = Tokenizer(), copy.deepcopy(transformers_tokenizer())
    for each, make in ((tokenizer, AddedToken), (judge, tokenizers.AddedToken)):
        each.add_special_tokens({"extra_special_tokens": [make("<a>", rstrip=True, special=True)]})
    more = {"extra_special_tokens": ["<a>", "<b>"]}
    assert tokenizer.add_special_tokens(more, False) == judge.add_special_tokens(more, False) == 1
    assert tokenizer.encode("<a> b<b>") == judge.encode("<a> b<b>")


def test_threads_that_add_extra_tokens_lose_none() -> None:
    tokenizer = Tokenizer()
    add = partial(tokenizer.add_special_tokens, replace_extra_special_tokens=False)
    other = Thread(target=add, args=({"extra_special_tokens": ["<b>"]},))

    class Slow(dict[str, list[str]]):
        """Tokens that are read while the other thread adds its own, if it may."""

        def items(self) -> Any:
            other.start()
            other.join(0.2)
            return super().items()

    add(Slow(extra_special_tokens=["<a>"]))
    other.join()
    assert sorted(tokenizer.extra_special_tokens) == ["<a>", "<b>"]


# ---- the rest of transformers' names


def test_sizes_and_limits() -> None:
    assert (tok.model_max_length, tok.is_fast) == (1024, True)
    long = "word " * 2000
    assert len(tok(long, truncation=True).input_ids) == 1024
    assert len(tok("word", padding="max_length").input_ids) == 1024


@given(hurtful_texts(), st.booleans())
def test_calls_take_add_special_tokens_and_clean_up_as_transformers_does(text: str, adds: bool) -> None:
    reference = transformers_tokenizer()
    assert tok.encode(text, add_special_tokens=adds) == reference.encode(text, add_special_tokens=adds)
    ids = tok(text, add_special_tokens=adds).input_ids
    assert tok.decode(ids, clean_up_tokenization_spaces=True) == text
    assert tok.batch_decode([ids], clean_up_tokenization_spaces=True) == [text]


# ---- tiktoken's names


def test_single_tokens_are_tiktokens() -> None:
    reference = tiktoken_encoding()
    for token in (" life", b" life", "<|endoftext|>", b"\xf0\x9f\x98", "the"):
        assert tok.encode_single_token(token) == reference.encode_single_token(token)
    assert tok.decode_single_token_bytes(50256) == reference.decode_single_token_bytes(50256)
    assert tok.token_byte_values() == reference.token_byte_values()
    assert tok.max_token_value == reference.max_token_value
    assert tok.special_tokens_set == reference.special_tokens_set
    with pytest.raises(ValueError, match="'two words' is not one token"):
        tok.encode_single_token("two words")
    with pytest.raises(ValueError, match="50257"):
        tok.decode_single_token_bytes(50257)
    with pytest.raises(TypeError, match="str or bytes"):
        tok.encode_single_token(5)  # type: ignore[arg-type]


@given(st.lists(hurtful_texts(), max_size=4))
def test_ordinary_batches_are_tiktokens(texts: list[str]) -> None:
    assert tok.encode_ordinary_batch(texts) == tiktoken_encoding().encode_ordinary_batch(texts)


# ---- decoding as ids come


@given(st.lists(st.integers(0, 50256), max_size=30), st.booleans(), st.sampled_from(["replace", "ignore"]))
def test_a_stream_gives_in_parts_what_decoding_gives_at_once(ids: list[int], skips: bool, errors: str) -> None:
    stream = tok.decode_stream(skip_special_tokens=skips, errors=errors)
    parts = [*map(stream.step, ids), stream.end()]
    assert "".join(parts) == tok.decode(ids, skip_special_tokens=skips, errors=errors)


def test_a_stream_gives_whole_characters_at_once() -> None:
    stream = tok.decode_stream()
    assert [stream.step(token_id) for token_id in (30325, 222, 12876)] == [" ", "😀", " ok"]
    assert (stream.step([30325, 222]), stream.end()) == (" 😀", "")
    with pytest.raises(ValueError, match="50257"):
        stream.step(50257)
    with pytest.raises(TypeError, match="bool"):
        stream.step(True)


# ---- what a good object does


MAKE = """
import hashlib, pickle, sys
from minigpt2 import Tokenizer
tokenizer = Tokenizer()
tokenizer.add_special_tokens({"pad_token": "<pad>", "extra_special_tokens": ["<b>", "<a>", "<c>"]})
tokenizer.add_tokens([f"<{i}>" for i in range(50)])
fresh = pickle.dumps(tokenizer)
tokenizer.encode("<pad> the <7>" * 9)
assert pickle.dumps(tokenizer) == fresh
print(hashlib.sha256(fresh).hexdigest())
"""


def test_pickles_are_equal_in_every_process_and_after_use() -> None:
    """`datasets.map` finds its cache by the pickle's hash."""
    hashes = {
        subprocess.run(
            [sys.executable, "-c", MAKE], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(hashes) == 1


class Lowercase(Tokenizer):
    """A tokenizer as users may derive one, with a constructor and attributes of its own."""

    def __init__(self, *, language: str) -> None:
        super().__init__()
        self.language = language

    def encode_ordinary(self, text: str) -> list[int]:
        return super().encode_ordinary(text.lower())


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda tokenizer: pickle.loads(pickle.dumps(tokenizer))])
def test_a_copy_or_a_pickle_of_a_subclass_is_of_that_class(again: Callable[[Tokenizer], Tokenizer]) -> None:
    tokenizer = Lowercase(language="en")
    tokenizer.add_tokens("<a>")
    same = again(tokenizer)
    assert isinstance(same, Lowercase) and same.language == "en"
    assert same.encode_ordinary("THE") == tokenizer.encode_ordinary("the") == [1169]
    assert same.encode("<a>") == [50257]


def test_a_tokenizer_with_added_tokens_pickles() -> None:
    tokenizer = Tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    again = pickle.loads(pickle.dumps(tokenizer))
    assert (again.encode("<pad>the"), again.pad_token_id) == ([50257, 1169], 50257)
    again.add_tokens("<a>")
    assert "<a>" not in tokenizer.get_vocab()


@pytest.mark.parametrize("text", ["ab\ud83d\ude00", "\ud83d\ude00"])
def test_a_surrogate_pair_is_called_one_with_the_way_to_its_character(text: str) -> None:
    with pytest.raises(UnicodeEncodeError, match="a surrogate pair") as refusal:
        tok.encode(text)
    way = "text.encode('utf-16', 'surrogatepass').decode('utf-16')"
    assert way in refusal.value.reason
    joined: Any = eval(way, {"text": text})
    assert tok.decode(tok.encode(joined)).endswith("😀")
