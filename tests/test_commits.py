"""A model's files are all of one commit, whatever is published or downloaded while they are read."""

import argparse
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.cli.model_option import open_both
from minigpt2.hub import HubError, MissingFileError, UnreachableError, cached, download, fetch
from minigpt2.tokenizer_files.files import CHAT_TEMPLATE, NAMES
from tests.hub_server import BEFORE_1, Fault, Hub
from tests.parity.test_tokenizer_files import FLAGS, VOCABULARY, one_file, two_files
from tests.small_gpt2 import random_tensors

MODEL = "owner/tiny"
TEXT = "the thing<a><b>"
SIZES = {"n_layer": 1, "n_embd": 8, "n_positions": 16, "vocab_size": 300}
QUESTIONS = 12  # for the files of a tokenizer; later ones are never asked

Files = dict[str, bytes]
Happens = Callable[[int, Callable[[], object]], None]


def version(number: int) -> Files:
    """Weights and a tokenizer, of which each version has a file that the other lacks; `number` is `wte`'s first."""
    added = ["<a>", "<b>"] if number == 1 else ["<b>", "<a>"]
    files = two_files()
    decoder = {str(len(VOCABULARY) + index): {"content": token, **FLAGS} for index, token in enumerate(added)}
    files["tokenizer_config.json"] = {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": decoder}
    if number == 2:
        swap = {"Ġthe": VOCABULARY["the"], "the": VOCABULARY["Ġthe"]}
        files |= one_file(model={"vocab": VOCABULARY | swap})  # which is not as in its vocab.json
    else:
        files["special_tokens_map.json"] = {"pad_token": "<b>"}
    files["config.json"] = {"model_type": "gpt2", "n_head": number, **SIZES}
    tensors = random_tensors(SIZES)
    tensors["wte.weight"][0, 0] = number
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in files.items()}
    return {"model.safetensors": save(tensors)} | {name: text.encode() for name, text in texts.items()}


FIRST, SECOND = version(1), version(2)


def tokenizer_in(files: Files, directory: Path) -> Tokenizer:
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return Tokenizer.from_pretrained(directory)


def ids(files: Files, directory: Path) -> list[int]:
    return tokenizer_in(files, directory).encode(TEXT)


@pytest.fixture
def before_question(monkeypatch: pytest.MonkeyPatch) -> Happens:
    """Let something happen before a file is asked for, the first (0) or a later one."""

    def happens(number: int, event: Callable[[], object]) -> None:
        asked: list[str] = []

        def fetch_with_event(model: str, filename: str, **options: Any) -> Path:
            asked.append(filename)
            if len(asked) == number + 1:
                event()
            return fetch(model, filename, **options)

        monkeypatch.setattr("minigpt2.hub.fetch", fetch_with_event)

    return happens


def download_all() -> None:
    """What another process does with `minigpt2 download`."""
    for name in FIRST | SECOND:
        with suppress(MissingFileError):
            download(MODEL, name)


def publish_second(server: Hub, *, also_download: bool = True) -> None:
    server.publish(MODEL, SECOND)
    if also_download:
        download_all()


@pytest.mark.parametrize("number", range(QUESTIONS))
@pytest.mark.parametrize(("is_cached", "is_downloaded"), [(False, False), (False, True), (True, True)])
def test_a_tokenizers_files_are_of_one_commit(
    hub: Hub, before_question: Happens, tmp_path: Path, number: int, is_cached: bool, is_downloaded: bool
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    hub.publish(MODEL, FIRST)
    if is_cached:
        download_all()
    before_question(number, lambda: publish_second(hub, also_download=is_downloaded))
    expected = [ids(FIRST, tmp_path / "1"), ids(SECOND, tmp_path / "2")]
    assert expected[0] != expected[1]
    assert Tokenizer.from_pretrained(MODEL).encode(TEXT) in expected


@pytest.mark.parametrize("open_model", [GPT2.from_pretrained, lambda name: GPT2(Checkpoint.from_pretrained(name))])
def test_a_models_tokenizer_is_of_the_commit_of_its_weights(
    hub: Hub, tmp_path: Path, open_model: Callable[[str], GPT2]
) -> None:
    hub.publish(MODEL, FIRST)
    model = open_model(MODEL)
    publish_second(hub)
    assert model.wte[0, 0] == 1
    assert model.tokenizer.encode(TEXT) == ids(FIRST, tmp_path)


@pytest.mark.parametrize("number", range(QUESTIONS))
@pytest.mark.parametrize("is_cached", [True] if BEFORE_1 else [False, True])  # which cannot read by ranges
def test_a_commands_tokenizer_and_config_are_of_the_commit_of_its_weights(
    hub: Hub, before_question: Happens, tmp_path: Path, number: int, is_cached: bool
) -> None:
    hub.publish(MODEL, FIRST)
    if is_cached:
        download_all()
    before_question(number, lambda: publish_second(hub))
    tokenizer, weights = open_both(argparse.Namespace(model=MODEL, revision=None))
    version_of_weights = weights["wte.weight"][0, 0]
    assert weights.config["n_head"] == version_of_weights
    assert tokenizer.encode(TEXT) == ids(FIRST if version_of_weights == 1 else SECOND, tmp_path)


def test_a_tokenizer_that_was_opened_once_is_opened_again_without_a_request(hub: Hub) -> None:
    for files in (FIRST, SECOND):  # one without a tokenizer.json, which is asked for first, and one with it
        model = f"owner/{len(files)}"
        hub.publish(model, files)
        opened = Tokenizer.from_pretrained(model)
        hub.requests.clear()
        assert Tokenizer.from_pretrained(model).encode(TEXT) == opened.encode(TEXT)
        assert hub.requests == []


def test_a_revision_that_moved_on_is_not_set_back_by_a_file_of_an_older_commit(hub: Hub) -> None:
    hub.publish(MODEL, FIRST)
    commit = Checkpoint.from_pretrained(MODEL).commit
    publish_second(hub)
    assert fetch(MODEL, "merges.txt", commit=commit).parent.name == commit
    assert Checkpoint.from_pretrained(MODEL, local_files_only=True)["wte.weight"][0, 0] == 2


@pytest.mark.parametrize("files", [FIRST, SECOND], ids=["two files", "tokenizer.json"])
def test_what_transformers_cached_opens_while_the_hub_does_not_answer(
    hub: Hub, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(MODEL, files)
    for name in {"model.safetensors", "config.json", *NAMES} - {CHAT_TEMPLATE}:  # which old versions do not know
        with suppress(MissingFileError):  # the cache notes it, as transformers does
            download(MODEL, name)
    asked: list[str] = []

    def fetch_from_the_cache(model: str, filename: str, **options: Any) -> Path:
        try:
            return fetch(model, filename, **(options | {"local_files_only": True}))
        except MissingFileError:
            raise
        except HubError:
            asked.extend([] if options["local_files_only"] else [filename])
            raise HubError("the hub does not answer") from None

    monkeypatch.setattr("minigpt2.hub.fetch", fetch_from_the_cache)
    assert Tokenizer.from_pretrained(MODEL).encode("the thing") == tokenizer_in(files, tmp_path).encode("the thing")
    assert len(asked) <= 1  # a hub that does not answer is waited for once


def test_where_the_hub_is_out_of_reach_a_warning_says_what_a_tokenizer_may_lack(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(MODEL, FIRST)
    for name in ("vocab.json", "merges.txt", "config.json"):
        download(MODEL, name)

    def fetch_from_the_cache(model: str, filename: str, **options: Any) -> Path:
        if not options["local_files_only"] and cached(model, filename, revision=options["commit"]) is None:
            raise UnreachableError("the network is down")
        return fetch(model, filename, **options)

    monkeypatch.setattr("minigpt2.hub.fetch", fetch_from_the_cache)
    with pytest.warns(UserWarning, match="may lack what only the hub has: the network is down") as warned:
        assert Tokenizer.from_pretrained(MODEL).encode("the thing")
    assert len(warned) == 1


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("name", ["tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"])
@pytest.mark.parametrize("fault", [401, 403, 404, 500, Fault.TRUNCATE, Fault.DROP, Fault.CORRUPT])
def test_a_file_that_the_hub_fails_to_give_is_not_taken_for_a_missing_one(
    hub: Hub, fault: Fault | int, name: str, is_cached: bool
) -> None:
    names = ("vocab.json", "merges.txt", "config.json")
    hub.publish(MODEL, {each: FIRST[each] for each in names} | {name: b"{}"})
    if is_cached:
        for each in ("vocab.json", "merges.txt"):
            download(MODEL, each)
    hub.faults[name] = fault
    with pytest.raises(HubError, match=re.escape(name)):
        Tokenizer.from_pretrained(MODEL)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "vocab.json", "generation_config.json"])
def test_a_link_of_the_cache_that_leads_nowhere_is_not_a_missing_file(hub: Hub, name: str) -> None:
    hub.publish(MODEL, FIRST | {"generation_config.json": b"{}"})
    weights = Checkpoint.from_pretrained(MODEL)
    GPT2.from_pretrained(MODEL).generate("a", max_new_tokens=1)
    (weights.path.parent / name).resolve().unlink()
    with pytest.raises(
        HubError, match=rf"{name}: this symbolic link leads nowhere; `minigpt2 download {MODEL} --revision "
    ):
        GPT2.from_pretrained(MODEL, local_files_only=True).generate("a", max_new_tokens=1)


def test_without_a_vocabulary_in_the_cache_the_hub_must_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(MODEL, FIRST)
    for name in ("model.safetensors", "config.json", "tokenizer_config.json"):
        download(MODEL, name)

    def fetch_nothing(model: str, filename: str, **options: Any) -> Path:
        raise HubError("the hub does not answer")

    monkeypatch.setattr("minigpt2.hub.fetch", fetch_nothing)
    with pytest.raises(HubError, match="does not answer"):
        Tokenizer.from_pretrained(MODEL)
