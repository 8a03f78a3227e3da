"""Saving a tokenizer over another: whatever interrupts, files of the two are never taken for one tokenizer."""

import errno
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from minigpt2 import Tokenizer
from minigpt2.tokenizer_files.files import NAMES, Find, in_directory
from tests.command import disk_is_full, files_in
from tests.parity.made_up_tokenizers import MERGES, TOKENS, MadeUp
from tests.parity.references import auto_tokenizer
from tests.parity.test_tokenizer_files import BACKEND, GPT2, OPENS, TEMPLATE, one_file

TEXTS = [" ab", "the thing<s><pad>", "aba é"]

OLD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "two files, and those of transformers 4": OPENS["transformers 4"],
    "tokenizer.json": {**one_file("<pad>"), "tokenizer_config.json": BACKEND},
    "tokenizer.json beside two files": {**OPENS["transformers 4"], **one_file("<s>")},
}
OTHER_IDS = {token: index for index, token in enumerate(reversed(TOKENS))}
OTHER_ORDER = MERGES[::-1]
NEW: dict[str, dict[str, Any]] = {
    "two files": {
        "vocab.json": OTHER_IDS,
        "merges.txt": "\n".join(OTHER_ORDER),
        "tokenizer_config.json": GPT2 | {"pad_token": "<pad>"},
    },
    "tokenizer.json": {
        **one_file("<s>", post_processor=TEMPLATE, model={"vocab": OTHER_IDS, "merges": OTHER_ORDER}),
        "tokenizer_config.json": BACKEND,
    },
}
pytestmark = [
    pytest.mark.parametrize("new", NEW.values(), ids=NEW),
    pytest.mark.parametrize("old", OLD.values(), ids=OLD),
]


def prepared(old: dict[str, Any], new: dict[str, Any], tmp_path: Path) -> tuple[Tokenizer, Path]:
    """The new tokenizer, and the directory of the old one, over which it will be saved."""
    for name, files in {"old": old, "new": new}.items():
        (tmp_path / name).mkdir()
        MadeUp({"config.json": {"model_type": "gpt2"}, **files}).write(tmp_path / name)
    return Tokenizer.from_pretrained(tmp_path / "new"), tmp_path / "old"


def linked(directory: Path, elsewhere: Path) -> list[Path]:
    """Move the files of a directory elsewhere and leave symbolic links to them, as in the hub's cache; the links."""
    elsewhere.mkdir()
    links = list(directory.iterdir())
    for path in links:
        path.symlink_to(path.rename(elsewhere / path.name))
    return links


def ours(directory: Path, refusals: Any = (ValueError, FileNotFoundError)) -> list[list[int]] | None:
    """The ids of some texts by the tokenizer in a directory, or None where it does not open."""
    try:
        tokenizer = Tokenizer.from_pretrained(directory)
    except refusals:
        return None
    return [tokenizer.encode(text) for text in TEXTS]


def theirs(directory: Path) -> list[list[int]] | None:
    """The same by transformers."""
    tokenizer = auto_tokenizer(directory)
    return None if tokenizer is None else [tokenizer(text)["input_ids"] for text in TEXTS]


def test_a_process_that_dies_at_any_moment_leaves_one_tokenizer_or_none(
    old: dict[str, Any], new: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, directory = prepared(old, new, tmp_path)
    left = [directory]

    def after_a_copy(name: str) -> None:
        change = getattr(Path, name)

        def changed(path: Path, *arguments: Any, **options: Any) -> Any:
            left.append(tmp_path / str(len(left)))
            shutil.copytree(directory, left[-1])  # what a process leaves that dies now
            return change(path, *arguments, **options)

        monkeypatch.setattr(Path, name, changed)

    for name in ("replace", "unlink"):
        after_a_copy(name)
    tokenizer.save_pretrained(directory)
    monkeypatch.undo()
    assert len(left) > 5
    for answers in (ours, theirs):
        before, after = answers(left[1]), answers(directory)
        assert after is not None and after != before
        assert all(answers(each) in (before, after, None) for each in left)
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: .* interrupted: save it again"):
        Tokenizer.from_pretrained(left[-2])


@pytest.mark.parametrize("is_saved", [True, False], ids=["saved", "directory moved"])
def test_what_is_opened_while_another_takes_its_place_is_one_of_the_two_or_an_error(
    is_saved: bool, old: dict[str, Any], new: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, directory = prepared(old, new, tmp_path)
    tokenizer.save_pretrained(tmp_path / "saved")
    allowed, seen = [None, ours(directory), ours(tmp_path / "saved")], 0

    def changing_at(moment: int) -> Callable[[Path], Find]:
        def find_in(directory: Path) -> Find:
            def find(name: str) -> Path | None:
                nonlocal seen
                path = in_directory(directory)(name)
                if (seen := seen + 1) == moment:  # between the look for a file and the reading of it
                    if is_saved:
                        tokenizer.save_pretrained(directory)
                    else:
                        directory.rename(f"{directory} aside")
                return path

            return find

        return find_in

    for moment in count(1):
        if seen < moment - 1:
            break  # the last one came after all files had been looked for
        seen, copy = 0, shutil.copytree(directory, tmp_path / str(moment))
        monkeypatch.setattr("os.fsync", lambda _: None)  # it takes long, and nothing crashes here
        monkeypatch.setattr("minigpt2.tokenizer_files.opening.in_directory", changing_at(moment))
        # A FileNotFoundError would say that the directory has no tokenizer: its model would be read with GPT-2's.
        assert ours(copy, ValueError if old else (ValueError, FileNotFoundError)) in allowed
    assert moment > 5


def test_symbolic_links_to_files_that_are_written_again_stay_and_lead_to_the_new_ones(
    old: dict[str, Any], new: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer, directory = prepared(old, new, tmp_path)
    tokenizer.save_pretrained(shutil.copytree(directory, tmp_path / "plain"))
    links = linked(directory, tmp_path / "elsewhere")
    tokenizer.save_pretrained(directory)
    assert files_in(directory) == files_in(tmp_path / "plain")
    assert all(path.is_symlink() for path in links if path.exists())


def test_so_do_those_that_lead_nowhere_yet(old: dict[str, Any], new: dict[str, Any], tmp_path: Path) -> None:
    tokenizer, directory = prepared(old, new, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for name in NAMES:
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(f"../elsewhere/{name}")
    written = tokenizer.save_pretrained(directory)
    assert {path for path in directory.iterdir() if path.is_symlink()} == {*map(Path, written)}
    assert Tokenizer.from_pretrained(directory).encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


@pytest.mark.parametrize("written", range(4))
def test_a_disk_that_fills_leaves_what_was_there(
    written: int, old: dict[str, Any], new: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, directory = prepared(old, new, tmp_path)
    before = files_in(directory)
    fits = iter(range(written))

    def sync(_: int) -> None:
        if next(fits, None) is None:
            disk_is_full()

    monkeypatch.setattr("os.fsync", sync)
    with pytest.raises(OSError, match="No space left") as raised:
        tokenizer.save_pretrained(directory)
    assert str(directory) in str(raised.value)
    assert files_in(directory) == before


@pytest.mark.parametrize("are_links", [False, True])
@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EBUSY, os.strerror(errno.EBUSY))], ids=repr)
def test_an_error_while_files_take_their_names_brings_the_old_ones_back(
    error: BaseException,
    number: int,
    are_links: bool,
    old: dict[str, Any],
    new: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer, directory = prepared(old, new, tmp_path)
    before, changes = files_in(directory), count()
    if are_links:
        linked(directory, tmp_path / "elsewhere")

    def failing(name: str) -> Callable[..., Any]:
        change = getattr(Path, name)

        def fail_once(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.parent in (directory, tmp_path / "elsewhere") and next(changes) == number:
                raise error
            return change(path, *arguments, **options)

        return fail_once

    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, failing(name))
    try:
        tokenizer.save_pretrained(directory)
    except (KeyboardInterrupt, OSError):
        assert files_in(directory) == before
    else:
        assert ours(directory) is not None  # it was one of what removes hidden files
