"""`Tokenizer`: what its names promise, and how it refuses what it cannot do."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.vocabulary import from_pairs
from tests.command import environment
from tests.conftest import hurtful_texts

PROMPT = "The meaning of life is"
IDS = [464, 3616, 286, 1204, 318]
SPECIAL = "hello<|endoftext|> world  \n"
tok = Tokenizer()


def test_a_prompt_becomes_ids_as_a_list_and_as_an_array() -> None:
    assert tok.encode(PROMPT) == IDS
    array = tok.encode(PROMPT, return_tensors="np")
    assert (array.tolist(), array.shape, array.dtype.name) == ([IDS], (1, 5), "int64")


@given(hurtful_texts())
def test_decoding_gives_the_text_back(text: str) -> None:
    assert tok.decode(tok.encode(text)) == text
    assert tok.decode_bytes(tok.encode_ordinary(text)) == text.encode()


@given(hurtful_texts())
def test_every_way_to_encode_gives_the_same_ids(text: str) -> None:
    ids = tok.encode(text)
    assert tok.encode_to_numpy(text).tolist() == ids
    assert tok.encode_batch([text, ""]) == [ids, []]
    assert tok(text).input_ids == ids
    assert tok.convert_tokens_to_ids(tok.tokenize(text)) == ids


def test_nothing_is_normalized() -> None:
    assert tok.encode("é") == [2634]
    assert tok.encode("e\u0301") == [68, 136, 223]


# ---- special tokens


def test_a_special_token_is_one_id_by_default_and_its_neighbours_are_not_touched() -> None:
    assert tok.encode(SPECIAL) == [31373, 50256, 995, 220, 220, 198]


def test_as_ordinary_text_a_special_token_is_seven() -> None:
    ordinary = [31373, 27, 91, 437, 1659, 5239, 91, 29, 995, 220, 220, 198]
    assert tok.encode_ordinary(SPECIAL) == tok.encode(SPECIAL, allowed_special=()) == ordinary


def test_a_disallowed_special_token_is_refused_by_name_and_place() -> None:
    with pytest.raises(ValueError, match=r"'<\|endoftext\|>' at index 5"):
        tok.encode(SPECIAL, allowed_special=(), disallowed_special="all")
    with pytest.raises(ValueError, match="disallowed_special"):
        tok.tokenize(SPECIAL, disallowed_special={"<|endoftext|>"})


def test_all_disallowed_means_all_that_are_not_allowed() -> None:
    assert 50256 in tok.encode(SPECIAL, allowed_special={"<|endoftext|>"}, disallowed_special="all")


@pytest.mark.parametrize("option", ["allowed_special", "disallowed_special"])
def test_an_option_that_names_no_special_token_is_refused(option: str) -> None:
    unknown: Any = {option: {"<pad>"}}
    with pytest.raises(ValueError, match="'<pad>'"):
        tok.encode("x", **unknown)
    nonsense: Any = {option: "none"}
    with pytest.raises(TypeError, match="'none'"):
        tok.encode("x", **nonsense)


# ---- batches


def test_padding_is_end_of_text_under_a_mask_of_0() -> None:
    encoding = tok(["Hello", "Hello world"], padding=True, padding_side="left")
    assert encoding == {"input_ids": [[50256, 15496], [15496, 995]], "attention_mask": [[0, 1], [1, 1]]}


def test_keys_are_attributes() -> None:
    assert tok("Hello").attention_mask == [1]
    with pytest.raises(AttributeError, match="no 'token_type_ids'"):
        _ = tok("Hello").token_type_ids


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 3}, "truncation=True"),
        ({"max_length": 3, "padding": True}, "truncation=True"),
        ({"truncation": True, "max_length": -1}, "negative"),
        ({"padding": "sideways"}, "'sideways'"),
        ({"truncation": "middle", "max_length": 3}, "'middle'"),
        ({"padding": True, "padding_side": "up"}, "'up'"),
        ({"return_tensors": "pt"}, r"torch\.from_numpy"),
        ({"return_tensors": "tf"}, "'tf'"),
        ({"return_tensors": "np"}, "padding=True"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tok(["Hello", "Hello world"], **options)


def test_a_length_that_is_no_number_is_a_type_error() -> None:
    for length in (2.5, True, "3"):
        with pytest.raises(TypeError, match="max_length"):
            tok("Hello", truncation=True, max_length=length)  # type: ignore[arg-type]


def test_no_texts_make_an_empty_batch() -> None:
    assert tok([]) == {"input_ids": [], "attention_mask": []}
    assert tok([], return_tensors="np").input_ids.shape == (0, 0)
    assert tok("", return_tensors="np", return_offsets_mapping=True).offset_mapping.shape == (1, 0, 2)


def test_tokens_that_split_a_character_overlap_on_it() -> None:
    offsets = tok("I'm 😀 ok", return_offsets_mapping=True).offset_mapping
    assert offsets == [(0, 1), (1, 3), (3, 5), (4, 5), (5, 8)]


# ---- decoding


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_arrays_of_every_integer_type_decode(dtype: str) -> None:
    assert tok.decode(np.array([39, 72], dtype)) == "Hi"


def test_broken_utf8_decodes_as_errors_says() -> None:
    assert tok.decode([222]) == "\ufffd"
    assert tok.decode([222], errors="ignore") == ""
    with pytest.raises(UnicodeDecodeError):
        tok.decode([222], errors="strict")


def test_special_tokens_can_be_left_out() -> None:
    assert tok.decode(tok.encode(SPECIAL), skip_special_tokens=True) == "hello world  \n"


def test_one_id_decodes_like_a_list_of_one() -> None:
    assert tok.decode(464) == tok.decode(np.int64(464)) == "The"


def test_batches_decode_from_lists_and_from_rows() -> None:
    assert tok.batch_decode([[39], [72, 0]]) == tok.decode_batch([[39], [72, 0]]) == ["H", "i!"]
    assert tok.batch_decode(np.array([[39, 0], [72, 0]])) == ["H!", "i!"]


@given(st.lists(st.integers(0, 50256), max_size=30))
def test_tokens_joined_are_the_bytes(ids: list[int]) -> None:
    assert b"".join(tok.decode_tokens_bytes(ids)) == tok.decode_bytes(ids)


@pytest.mark.parametrize("bad", [50257, -1, 10**20])
def test_an_id_outside_the_vocabulary_is_named_with_the_range(bad: int) -> None:
    for refuse in (tok.decode, tok.decode_bytes, tok.decode_tokens_bytes, tok.convert_ids_to_tokens):
        with pytest.raises(ValueError, match=rf"{bad} .*0 to 50256"):
            refuse([0, bad])


@pytest.mark.parametrize("bad", [None, "464", b"464", 1.0, True, [True], [1, 2.0], ["1"], [None], np.array([0.5])])
def test_what_is_no_integer_is_a_type_error(bad: Any) -> None:
    for refuse in (tok.decode, tok.decode_bytes, tok.decode_tokens_bytes):
        with pytest.raises(TypeError, match="integer"):
            refuse(bad)


@pytest.mark.parametrize("length", [2, 2000])
def test_a_masked_id_is_refused(length: int) -> None:
    masked = np.ma.masked_array([464] * length, [False] * (length - 1) + [True])
    for refuse in (tok.decode, tok.decode_bytes, tok.decode_tokens_bytes, tok.convert_ids_to_tokens):
        with pytest.raises(ValueError, match="a masked array has no value where it is masked"):
            refuse(masked)


def test_rows_are_for_batch_decode() -> None:
    with pytest.raises(ValueError, match="batch_decode"):
        tok.decode(np.array([[1, 2]]))


# ---- tokens and names


def test_ids_and_tokens_convert_both_ways() -> None:
    assert tok.convert_ids_to_tokens(IDS) == ["The", "Ġmeaning", "Ġof", "Ġlife", "Ġis"]
    assert tok.convert_tokens_to_ids("Ġlife") == 1204
    assert tok.convert_tokens_to_string(["Ġlife", "Ċ"]) == " life\n"


@pytest.mark.parametrize("token", [" life", "nonsense token", "", "\ud800"])
def test_an_unknown_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a token of this vocabulary"):
        tok.convert_tokens_to_ids(token)


def test_the_first_tokens_are_punctuation_and_not_special() -> None:
    assert tok.convert_ids_to_tokens(range(5)) == ["!", '"', "#", "$", "%"]
    assert tok.all_special_tokens == ["<|endoftext|>"]


def test_sizes_and_special_ids() -> None:
    assert {len(tok), tok.vocab_size, tok.n_vocab, len(tok.get_vocab())} == {50257}
    assert {tok.eos_token_id, tok.bos_token_id, tok.pad_token_id, tok.eot_token} == {50256}


# ---- what a good object does


def test_the_repr_says_what_it_is() -> None:
    assert repr(tok) == "Tokenizer(vocab_size=50257, special_tokens=['<|endoftext|>'])"


def test_it_pickles_small_and_encodes_the_same_whatever_others_there_are() -> None:
    for _ in range(9):
        Tokenizer(from_pairs(np.array([[75, 78]])))
    pickled = pickle.dumps(tok)
    assert len(pickled) < 1000
    assert pickle.loads(pickled).encode(PROMPT) == IDS


@pytest.mark.parametrize("name", ["vocab_size", "model_max_length", "anything"])
def test_nothing_but_roles_can_be_set(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(tok, name, 1)


def test_an_answer_is_the_callers_own() -> None:
    tok.encode("Hello").append(1)
    assert tok.encode("Hello") == [15496]


def test_threads_share_one_tokenizer() -> None:
    texts = [f"word{i} and {'x' * (i % 50)} {i * 7919}" for i in range(400)]
    expected = [Tokenizer().encode(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tok.encode, texts * 4)) == expected * 4


@pytest.mark.parametrize("bad", [None, b"bytes", 5, ["a list"], bytearray(b"x")])
def test_what_is_no_text_is_a_type_error(bad: Any) -> None:
    for refuse in (tok.encode, tok.encode_ordinary, tok.encode_to_numpy, tok.tokenize):
        with pytest.raises(TypeError, match=type(bad).__name__):
            refuse(bad)


@pytest.mark.parametrize("bad", ["a text", None, b"x", [None], ["a", ("b", "c")], [["a", "b"]]])
def test_what_is_no_sequence_of_texts_is_a_type_error(bad: Any) -> None:
    with pytest.raises(TypeError):
        tok.encode_batch(bad)


@pytest.mark.parametrize("text", ["abc\ud800", "<|endoftext|>\udfff", "é" * 5000 + "\udc80"])
def test_a_lone_surrogate_is_refused_at_its_index(text: str) -> None:
    with pytest.raises(UnicodeEncodeError, match=rf"position {len(text) - 1}: a lone surrogate"):
        tok.encode(text)


def test_a_dtype_that_cannot_hold_the_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="50256"):
        tok.encode_to_numpy("x", dtype=np.int16)
    with pytest.raises(TypeError, match="float32"):
        tok.encode_to_numpy("x", dtype=np.float32)


@pytest.mark.parametrize("text", ["a" * 1_000_000, " " * 1_000_000, "-" * 200_000, "ab" * 100_000, "😀" * 50_000])
def test_an_enormous_pretoken_comes_back_whole(text: str) -> None:
    assert tok.decode(tok.encode(text)) == text


def test_iterators_of_texts_and_ids_are_taken_whole() -> None:
    assert tok(text for text in ("Hello", " world")).input_ids == [[15496], [995]]
    assert tok.encode_batch(text for text in ("Hello", " world")) == [[15496], [995]]
    assert tok.decode_with_offsets(iter([40, 1101])) == ("I'm", [0, 1])  # type: ignore[arg-type]
    assert tok.convert_tokens_to_string(iter(["Ġlife"])) == " life"  # type: ignore[arg-type]


def test_what_is_no_vocabulary_is_refused_with_the_way_to_one() -> None:
    with pytest.raises(TypeError, match=r"from_pretrained\('gpt2'\)"):
        Tokenizer("gpt2")  # type: ignore[arg-type]


# Otherwise two threads, one that makes a tokenizer and one that asks the hub, can wait for each other's imports. Python
# ends that with an error.
FOR_A_TOKENIZER = """
import sys
from minigpt2 import Tokenizer

Tokenizer.from_pretrained("gpt2").encode("some words")
print([name for name in sys.modules if name.startswith("minigpt2.hub")])
"""


def test_the_published_tokenizer_needs_no_module_of_the_hub() -> None:
    command = [sys.executable, "-c", FOR_A_TOKENIZER]
    assert subprocess.run(command, env=environment(), capture_output=True, check=True).stdout == b"[]\n"
