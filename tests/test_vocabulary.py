"""The packaged array against the published files, and other vocabularies' files in and out."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minigpt2 import Tokenizer, bpe
from minigpt2.byte_alphabet import ALPHABET_ORDER, to_characters
from minigpt2.vocabulary import Vocabulary, gpt2
from tests import readable

PUBLISHED = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def small_vocabulary() -> tuple[dict[str, int], list[str]]:
    """A vocabulary with three merges and one token that none reaches, ids starting at 7."""
    tokens = [*to_characters(ALPHABET_ORDER), "th", "the", "Ġthe", "unreached", "<|endoftext|>"]
    return {token: 7 + index for index, token in enumerate(tokens)}, ["t h", "th e", "Ġ the"]


def write_vocabulary(directory: Path, vocab: Any, merges: list[str]) -> tuple[Path, Path]:
    vocab_file, merges_file = directory / "vocab.json", directory / "merges.txt"
    vocab_file.write_text(json.dumps(vocab))
    merges_file.write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return vocab_file, merges_file


def test_the_packaged_array_is_200_000_bytes() -> None:
    assert gpt2().pairs.shape == (50_000, 2)
    assert (Path(bpe.__file__).parent / "data" / "gpt2_merges.bin").stat().st_size == 200_000


def test_both_published_files_come_out_byte_for_byte(tmp_path: Path) -> None:
    Tokenizer().save_pretrained(tmp_path)
    assert {name: sha256(tmp_path / name) for name in PUBLISHED} == PUBLISHED


def test_every_token_as_a_pretoken_merges_to_itself() -> None:
    vocabulary = gpt2()
    for token_id, data in vocabulary.token_bytes.items():
        if token_id != 50256:
            assert bpe.merge_long([vocabulary.byte_ids[byte] for byte in data], vocabulary.merges) == [token_id]


def test_the_published_files_read_back_as_the_packaged_vocabulary(tmp_path: Path) -> None:
    Tokenizer().save_pretrained(tmp_path)
    read = Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert read.get_vocab() == Tokenizer().get_vocab()
    assert read.encode("The meaning of life is<|endoftext|>") == [464, 3616, 286, 1204, 318, 50256]


@pytest.mark.parametrize("name", ["gpt2", "gpt2-xl", "openai-community/gpt2-medium", "distilbert/distilgpt2"])
def test_the_gpt2_family_is_answered_from_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt2.hub.fetch", lambda *_, **__: pytest.fail("asked the hub"))
    assert len(Tokenizer.from_pretrained(name)) == 50257


def test_a_vocabulary_with_other_ids_and_sizes_loads(tmp_path: Path) -> None:
    vocab, merges = small_vocabulary()
    tokenizer = Tokenizer.from_files(*write_vocabulary(tmp_path, vocab, merges))
    assert tokenizer.tokenize("the the") == ["the", "Ġthe"]
    assert tokenizer.encode("the the") == [vocab["the"], vocab["Ġthe"]]
    assert tokenizer.decode([vocab["the"], vocab["Ġthe"]]) == "the the"


def test_an_entry_that_no_merge_reaches_is_inert_but_decodes(tmp_path: Path) -> None:
    vocab, merges = small_vocabulary()
    tokenizer = Tokenizer.from_files(*write_vocabulary(tmp_path, vocab, merges))
    assert vocab["unreached"] not in tokenizer.encode("unreached")
    assert tokenizer.decode([vocab["unreached"]]) == "unreached"


def test_other_vocabularies_come_back_from_what_was_saved(tmp_path: Path) -> None:
    vocab, merges = small_vocabulary()
    tokenizer = Tokenizer.from_files(*write_vocabulary(tmp_path, vocab, merges))
    tokenizer.save_pretrained(tmp_path / "saved")
    again = Tokenizer.from_pretrained(tmp_path / "saved")
    assert again.get_vocab() == tokenizer.get_vocab()
    assert len(again) == len(vocab)


@pytest.mark.parametrize("added", [{"<a>": 50256}, {"<a>": 50257, "<b>": 50257}], ids=["of the vocabulary", "of both"])
def test_an_added_token_with_the_id_of_another_is_refused(added: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(max(added.values()))):
        gpt2().and_also(added)


@pytest.mark.parametrize(("step", "first"), [(1, 0), (2, 0), (1, 400)], ids=["no gaps", "gaps", "gap before"])
def test_tokens_added_one_by_one_make_the_vocabulary_of_tokens_added_together(step: int, first: int) -> None:
    vocabulary = readable.small_vocabulary("the| the", step, first)
    end, added, one_by_one = max(vocabulary.token_bytes) + 1, vocabulary.added_tokens, vocabulary
    free = next(token_id for token_id in range(end + 1) if token_id not in vocabulary.token_bytes)
    for token, token_id in [("<b>", end + 2), ("日本", end + 1), ("Ġ<a>", end + 3), ("<c>", free)]:
        added = {**added, token: token_id}
        one_by_one = one_by_one.and_also(added)
    together = vocabulary.and_also(added)
    assert one_by_one.__getstate__() == together.__getstate__()
    assert list(together.token_bytes) == sorted(together.token_bytes)
    assert one_by_one.token_ids() == vocabulary.token_ids() | {token: added[token] for token in one_by_one.beyond}


def test_adding_a_token_and_saving_do_not_search_the_tokens_that_were_added_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Tokenizer()
    tokenizer.add_tokens([f"<{i}>" for i in range(50)])
    with monkeypatch.context() as patch:
        patch.setattr(Vocabulary, "written", None)  # what a search would ask of each
        tokenizer.add_tokens("<new>")
    unsearched = replace(tokenizer.vocabulary, beyond=Unsearched(tokenizer.vocabulary.beyond))
    assert unsearched.vocab_json() == gpt2().vocab_json()


class Unsearched(tuple[str, ...]):
    """A tuple that a search for one item after the other would go through as often."""

    def __contains__(self, item: object) -> bool:
        raise AssertionError(f"looked for {item!r}")


def test_a_token_that_is_not_written_in_the_byte_alphabet_keeps_its_form(tmp_path: Path) -> None:
    vocab, merges = small_vocabulary()
    vocab["two words"] = 500
    tokenizer = Tokenizer.from_files(*write_vocabulary(tmp_path, vocab, merges))
    assert (tokenizer.convert_tokens_to_ids("two words"), tokenizer.decode([500])) == (500, "two words")


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        ({}, ["t e"], r"vocab\.json: token 'te' of merge 3 is missing"),
        ({}, ["xyz e"], r"token 'xyz' of merge 3"),
        ({}, ["t h e"], r"merges\.txt: merge \d is 't h e', expected two tokens"),
        ({"th": -1}, [], r"'th' has the id -1"),
        ({"th": True}, [], r"'th' has the id True"),
        ({"th": small_vocabulary()[0]["the"]}, [], r"'the?' and 'the?' share the id"),
    ],
)
def test_a_vocabulary_that_cannot_work_is_refused_at_load(
    vocab: dict[str, int], merges: list[str], message: str, tmp_path: Path
) -> None:
    sound_vocab, sound_merges = small_vocabulary()
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_files(*write_vocabulary(tmp_path, sound_vocab | vocab, sound_merges + merges))


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"<html>", b"\x80\x02pickle", b'{"a": 1', b"[" * 100_000])
def test_a_file_that_is_no_vocabulary_is_named(content: bytes, tmp_path: Path) -> None:
    vocab_file, merges_file = write_vocabulary(tmp_path, *small_vocabulary())
    vocab_file.write_bytes(content)
    with pytest.raises(ValueError, match=r"vocab\.json: "):
        Tokenizer.from_files(vocab_file, merges_file)


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Tokenizer.from_files(tmp_path / "nowhere.json", tmp_path / "merges.txt")
    with pytest.raises(FileNotFoundError, match=r"expected tokenizer\.json, or vocab\.json and merges\.txt"):
        Tokenizer.from_pretrained(tmp_path)


def test_nothing_half_written_stays_when_saving_fails(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").mkdir()
    with pytest.raises(OSError, match=r"merges\.txt"):
        Tokenizer().save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["merges.txt"]
