"""Tokenizers that hypothesis makes up, each opened here and by `AutoTokenizer`, and again after saving on both sides.

`MINIGPT2_FUZZ_SECONDS` makes the search as long as asked. Each round prints its seed.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tokenizers
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.special_tokens import AddedToken
from tests.parity.made_up_tokenizers import EXTRA, ROLES, Change, MadeUp, changes, made_up, texts
from tests.parity.references import auto_tokenizer

SECONDS = float(os.environ.get("MINIGPT2_FUZZ_SECONDS", "0"))


def test_a_made_up_tokenizer_is_the_one_that_transformers_opens() -> None:
    end = time.monotonic() + SECONDS
    while True:
        number = random.randrange(2**32)
        print("seed", number, flush=True)
        search(number, 60 if SECONDS == 0 else 300)
        if time.monotonic() >= end:
            return


def search(number: int, examples: int) -> None:
    """Look for a tokenizer that is opened differently."""
    some = st.lists(texts(), min_size=2, max_size=3)
    made = given(made_up(), st.lists(changes(), max_size=3), some, st.integers(1, 9))
    options = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    seed(number)(options(made(check)))()


def check(files: MadeUp, changed: list[Change], some: list[str], length: int) -> None:
    try:
        compare(files, changed, some, length)
    except BaseException as error:
        assume(type(error).__name__ != "PanicException")  # tokenizers breaks off where stripped spaces are tokens
        raise


def compare(files: MadeUp, changed: list[Change], some: list[str], length: int) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        files.write(directory)
        theirs = auto_tokenizer(directory)
        assume(theirs is not None)
        ours = opened(directory)
        agree(ours, theirs, some, length)
        for change in changed:
            change_both(ours, theirs, change)
        agree(ours, theirs, some, length)
        before = state(ours, some)
        ours.save_pretrained(directory / "ours")
        saved = opened(directory / "ours")
        assert state(saved, some) == before
        agree(saved, auto_tokenizer(directory / "ours"), some, length)
        theirs.save_pretrained(directory / "theirs")
        again = auto_tokenizer(directory / "theirs")
        agree(Tokenizer.from_pretrained(directory / "theirs"), again, some, length)


def opened(directory: Path) -> Tokenizer:
    with one_id_for_each_token():
        return Tokenizer.from_pretrained(directory)


@contextmanager
def one_id_for_each_token() -> Iterator[None]:
    """Leave out what is refused: where transformers gives two tokens one id, or takes a file as it is."""
    try:
        yield
    except ValueError as error:
        assume("which is" not in str(error) or "already" not in str(error))
        assume("trust_remote_code in tokenizer_config.json" not in str(error))
        raise


def change_both(ours: Tokenizer, theirs: Any, change: Change) -> None:
    """Add tokens to both, or give a role to a special token."""
    with one_id_for_each_token():
        assert add(ours, change, AddedToken) == add(theirs, change, tokenizers.AddedToken)
    if change.also:
        for each in (ours, theirs):
            setattr(each, change.also, change.tokens[0][0])
        assert getattr(ours, f"{change.also}_id") == getattr(theirs, f"{change.also}_id")


def add(tokenizer: Any, change: Change, make: Callable[..., Any]) -> Any:
    """Add the tokens to one of the two, a token without flags as its text; how many were new."""
    tokens = [make(content, **flags) if flags else content for content, flags in change.tokens]
    if change.key is None:
        return tokenizer.add_tokens(tokens, special_tokens=change.option)
    return tokenizer.add_special_tokens({change.key: tokens if change.key in EXTRA else tokens[0]}, change.option)


def agree(ours: Tokenizer, theirs: Any, some: list[str], length: int) -> None:
    """Compare everything that a tokenizer answers."""
    assert roles(ours) == roles(theirs)
    for each in (ours, theirs):
        assert each.all_special_ids == [each.convert_tokens_to_ids(token) for token in each.all_special_tokens]
    assert (ours.vocab_size, len(ours), ours.get_vocab()) == (theirs.vocab_size, len(theirs), theirs.get_vocab())
    assert (ours.model_max_length, ours.all_special_tokens) == (theirs.model_max_length, theirs.all_special_tokens)
    for text in some:
        assert ours.tokenize(text) == theirs.tokenize(text)
        for adds in (True, False):
            expected = theirs.encode(text, add_special_tokens=adds)
            assert ours.encode(text, add_special_tokens=adds) == expected
            assert ours.encode_to_numpy(text, add_special_tokens=adds).tolist() == expected
            options: dict[str, Any] = {"add_special_tokens": adds, "return_offsets_mapping": True}
            assert dict(ours(text, **options)) == dict(theirs(text, **options))
        ids = theirs.encode(text)
        for skips in (True, False):
            assert ours.decode(ids, skip_special_tokens=skips) == theirs.decode(ids, skip_special_tokens=skips)
            stream = ours.decode_stream(skip_special_tokens=skips)
            assert "".join([*map(stream.step, ids), stream.end()]) == ours.decode(ids, skip_special_tokens=skips)
        assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
    many = sorted(theirs.get_vocab().values()) * 4  # so many that they are decoded another way
    for skips in (True, False):
        assert ours.decode(many, skip_special_tokens=skips) == theirs.decode(many, skip_special_tokens=skips)
    agree_on_batches(ours, theirs, some, length)


def agree_on_batches(ours: Tokenizer, theirs: Any, some: list[str], length: int) -> None:
    assert ours.encode_batch(some) == theirs(some).input_ids
    own = theirs.num_special_tokens_to_add()
    options: dict[str, Any] = {"return_offsets_mapping": True}
    if length >= own:
        cut = options | {"truncation": True, "max_length": length}
        assert dict(ours(some, **cut)) == dict(theirs(some, **cut))
    if theirs.pad_token is not None:
        for padding in ("longest", "max_length"):
            pad = options | {"padding": padding, "max_length": 20, "truncation": True}
            assert dict(ours(some, **pad)) == dict(theirs(some, **pad))


def roles(tokenizer: Any) -> dict[str, tuple[str | None, int | None]]:
    """Each role's token and id; of padding only the token, because ours falls back to `<|endoftext|>`."""
    found = {role: (getattr(tokenizer, role), getattr(tokenizer, f"{role}_id")) for role in ROLES}
    if found["pad_token"][0] is None:
        found["pad_token"] = (None, None)
    return found


def state(tokenizer: Tokenizer, some: list[str]) -> Any:
    """Everything that saving must not change."""
    ids = [tokenizer(text, return_offsets_mapping=True) for text in some]
    return roles(tokenizer), ids, tokenizer.get_vocab(), tokenizer.all_special_tokens, tokenizer.model_max_length
