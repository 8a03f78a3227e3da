"""The cache of what was read by byte ranges: bounded, shared, checked, and never half-written."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

import numpy as np
import pytest

from minigpt2 import Checkpoint, CheckpointError, Embeddings, HubError
from minigpt2.weights.remote import sparse_file, tensors
from minigpt2.weights.remote.hub_file import HubFile
from tests.command import disk_is_full, files_in, interrupted
from tests.hub_server import Fault, Hub
from tests.weights.remote.published import MODEL, WEIGHTS, Array, Open, assert_same


def used(cache: Path) -> int:
    """The bytes that the sparse files and their journals take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in entries(cache) if path.is_file())


def entries(cache: Path) -> list[Path]:
    return [path for journal in cache.rglob("fetched") for path in journal.parent.iterdir()]


def entry(cache: Path) -> Path:
    [journal] = cache.rglob("fetched")
    return journal.parent


def test_the_cache_is_beside_the_models_own_and_takes_what_was_fetched(remote: Open, cache: Path) -> None:
    weights = remote()
    weights["wte.weight"][3]
    folder = entry(cache)
    assert folder.relative_to(cache).parts[0] == "minigpt2-ranges" and folder.parts[-3] == "models--owner--tiny"
    assert folder.parent.name == weights.commit
    status = (folder / WEIGHTS).stat()
    assert status.st_size == weights.size and status.st_blocks * 512 < weights.size
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, "fetched"}


def test_huggingface_hub_still_finds_its_way_in_the_cache(remote: Open, cache: Path) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    weights = remote()
    weights["wte.weight"][3]
    assert weights.config
    [repository] = scan_cache_dir(cache).repos
    assert repository.repo_id == MODEL and {file.file_name for file in next(iter(repository.revisions)).files} == {
        "config.json"
    }
    assert try_to_load_from_cache(MODEL, WEIGHTS, cache_dir=cache) is None
    assert Checkpoint.from_pretrained(MODEL, cache_dir=cache).num_parameters()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "fetched").write_bytes(b""),
        lambda folder: (folder / "fetched").write_bytes(b"\0" * 500),
        lambda folder: (folder / "fetched").write_bytes(b"\nsomething else 0 00000000\n0 100000 00000000"),
        lambda folder: (folder / "fetched").unlink(),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: os.truncate(folder / WEIGHTS, 100),
        lambda folder: (folder / WEIGHTS).write_bytes(b""),
    ],
    ids=["emptied", "zeros", "foreign", "no journal", "no data", "cut off", "no bytes"],
)
def test_a_damaged_cache_is_made_anew(remote: Open, wte: Array, cache: Path, damage: Callable[[Path], object]) -> None:
    remote()["wte.weight"][3]
    damage(entry(cache))
    assert_same(remote()["wte.weight"][[3, 4]], wte[[3, 4]])


def test_no_line_of_the_journal_counts_that_is_not_whole(remote: Open, wte: Array, cache: Path) -> None:
    begin = remote().info("wte.weight").begin
    folder = entry(cache)
    sound = sparse_file._line(f"{begin} {begin + 50 * 256}")
    with (folder / "fetched").open("ab") as journal:
        for torn in range(1, len(sound)):  # as a process that ends in the middle of a write would leave it
            journal.write(sound[:torn])
    weights = remote()
    assert_same(weights["wte.weight"][:50], wte[:50])
    assert weights.fetched_bytes == 50 * 256
    assert remote()["wte.weight"][:50].tobytes() == wte[:50].tobytes()


def test_a_file_cut_off_while_it_is_open_is_an_error_and_not_the_end_of_the_process(remote: Open, cache: Path) -> None:
    weights = remote()
    weights["wte.weight"][:]
    os.truncate(entry(cache) / WEIGHTS, 1000)
    for read in (lambda: weights["wte.weight"][3], lambda: Embeddings(weights).tokens([3])):
        with pytest.raises(CheckpointError, match="has been cut off"):
            read()


def test_a_cache_that_takes_no_files_costs_only_the_second_look(
    hub: Hub, remote: Open, tmp_path: Path, wte: Array
) -> None:
    (tmp_path / "a file").write_text("where the cache's folder should be")
    for _ in range(2):
        weights = remote(cache_dir=tmp_path / "a file")
        assert_same(weights["wte.weight"][[3, 4]], wte[[3, 4]])
        assert weights.fetched_bytes == 16384 + 512
        path = weights.path
        assert path.exists()
        del weights
        assert not path.exists(), "what cannot be kept goes with the checkpoint"


def test_a_file_removed_while_it_is_open_is_read_on(remote: Open, wte: Array, cache: Path) -> None:
    weights = remote()
    sparse_file.remove(entry(cache))
    assert_same(weights["wte.weight"][[3, 4]], wte[[3, 4]])
    assert_same(remote()["wte.weight"][[4, 300]], wte[[4, 300]])
    assert_same(weights["wte.weight"][[4, 300]], wte[[4, 300]])


def test_a_cache_that_is_removed_while_it_is_looked_through_fails_no_read(
    remote: Open, monkeypatch: pytest.MonkeyPatch, wte: Array
) -> None:
    def glob(directory: Path, pattern: str) -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory))

    weights = remote()
    monkeypatch.setattr(Path, "glob", glob)
    assert_same(weights["wte.weight"][[100, 200]], wte[[100, 200]])


def test_a_file_made_anew_by_another_process_while_it_is_opened_is_not_called_unsound(
    remote: Open, monkeypatch: pytest.MonkeyPatch, wte: Array
) -> None:
    fetch_header = tensors.RemoteTensors._fetch_header

    def replaced_afterwards(opened: tensors.RemoteTensors) -> None:
        monkeypatch.undo()
        fetch_header(opened)
        sparse = opened._sparse
        sparse_file.remove(sparse.path.parent)
        sparse_file.SparseFile.create(sparse.path.parent, WEIGHTS, sparse.identity, sparse.size)

    monkeypatch.setattr(tensors.RemoteTensors, "_fetch_header", replaced_afterwards)
    assert_same(remote()["wte.weight"][[3, 4]], wte[[3, 4]])


def test_the_cache_is_bounded_and_what_was_used_last_stays(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch, published: Path, cache: Path
) -> None:
    for number in range(4):
        hub.publish(f"owner/model{number}", files_in(published))
        remote(f"owner/model{number}")["wte.weight"][:]
    for order, journal in enumerate(sorted(cache.rglob("fetched"))):
        os.utime(journal, (order, order))
    bound = used(cache)
    monkeypatch.setattr(tensors, "BOUND", bound)
    remote("owner/model0").fetch(["h.0.mlp.c_fc.weight"])
    kept = sorted(journal.parents[2].name for journal in cache.rglob("fetched"))
    assert kept == ["models--owner--model0", "models--owner--model2", "models--owner--model3"]
    assert used(cache) <= bound


def test_a_file_that_alone_is_more_than_the_bound_is_read_and_not_kept(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch, wte: Array, cache: Path
) -> None:
    monkeypatch.setattr(tensors, "BOUND", 50_000)
    weights = remote()
    assert_same(weights["wte.weight"], wte)
    assert_same(weights["wte.weight"][3], wte[3])
    assert not list(cache.rglob("fetched"))


def test_many_threads_read_the_same_numbers_and_fetch_each_once(remote: Open, wte: Array) -> None:
    weights = remote()
    before = weights.fetched_bytes
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: np.array(weights["wte.weight"][[i * 37 % 400, 399]]), range(100)))
    for i, row in enumerate(rows):
        assert_same(row, wte[[i * 37 % 400, 399]])
    assert weights.fetched_bytes - before <= wte.nbytes


def test_two_checkpoints_of_one_file_share_what_either_fetches(remote: Open, wte: Array) -> None:
    one, other = remote(), remote()
    one["wte.weight"][50:60]
    before = other.fetched_bytes
    assert_same(other["wte.weight"][50:60], wte[50:60])
    assert other.fetched_bytes == before


def test_the_file_is_opened_anew_for_what_another_machine_may_have_fetched(
    remote: Open, wte: Array, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system over a network, what a machine remembers of an open file may be old."""
    weights, other, seen = remote(), remote(), []
    other["wte.weight"][300]
    opening = Path.open

    def noted(path: Path, *arguments: Any, **options: Any) -> Any:
        seen.append(path)
        return opening(path, *arguments, **options)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = weights.fetched_bytes
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        weights["wte.weight"][300]
    monkeypatch.setattr(Path, "open", noted)
    assert_same(weights["wte.weight"][300], wte[300])
    assert weights.fetched_bytes == before and entry(cache) / WEIGHTS in seen


def test_a_failing_disk_is_a_hub_error_and_nothing_counts(
    remote: Open, monkeypatch: pytest.MonkeyPatch, wte: Array
) -> None:
    weights = remote()
    with monkeypatch.context() as patched:
        patched.setattr(sparse_file, "write_at", disk_is_full)
        with pytest.raises(HubError, match="HF_HOME or cache_dir"):
            weights["wte.weight"][3]
    assert_same(weights["wte.weight"][3], wte[3])


def test_a_full_disk_of_temporary_files_is_not_called_the_caches(
    remote: Open, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    cache.mkdir(exist_ok=True)
    (cache / "minigpt2-ranges").write_bytes(b"")  # so that no file can be made below it
    weights = remote()
    monkeypatch.setattr(sparse_file, "write_at", disk_is_full)
    with pytest.raises(HubError, match=rf"{tmp_path}/temporary/.* cannot be used \({os.strerror(errno.ENOSPC)}\)"):
        weights["wte.weight"][3]


def test_an_interrupt_leaves_nothing_that_counts(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch, wte: Array
) -> None:
    weights = remote()
    with monkeypatch.context() as patched:
        patched.setattr(sparse_file, "write_at", interrupted)
        with pytest.raises(KeyboardInterrupt):
            weights["wte.weight"][3:200:90]
    assert_same(remote()["wte.weight"][:], wte)


def test_an_interrupt_ends_the_requests_under_way_and_what_has_come_counts(
    remote: Open, monkeypatch: pytest.MonkeyPatch, wte: Array
) -> None:
    under_way, is_over = Event(), Event()
    read, shutdown = HubFile.read, ThreadPoolExecutor.shutdown

    def interrupt_or_send_one_byte_first(file: HubFile, begin: int, end: int) -> Iterator[bytes]:
        if begin == weights.info("wte.weight").begin + 100 * 256:
            assert under_way.wait(30)
            raise KeyboardInterrupt
        first, *rest = (bytes([byte]) for chunk in read(file, begin, end) for byte in chunk)
        yield first
        under_way.set()
        assert is_over.wait(30)
        yield from rest

    def end(pool: ThreadPoolExecutor, **options: Any) -> None:
        is_over.set()
        shutdown(pool, **options)

    weights, again = remote(), remote()
    with monkeypatch.context() as patched:
        patched.setattr(HubFile, "read", interrupt_or_send_one_byte_first)
        patched.setattr(ThreadPoolExecutor, "shutdown", end)
        with pytest.raises(KeyboardInterrupt):
            weights["wte.weight"][[100, 200]]
    assert_same(again["wte.weight"][[200]], wte[[200]])
    assert again.fetched_bytes == 255


def test_what_has_come_of_a_long_stream_counts_though_the_rest_does_not_come(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "NOTE_EVERY", 10_000)
    weights = remote()
    hub.faults[WEIGHTS] = Fault.DROP_ONCE
    hub.statuses[WEIGHTS] = iter([None, *repeat((500, {}), 5)])  # type: ignore[list-item]  # one answer, then none
    with pytest.raises(HubError):
        weights["wte.weight"][:]
    hub.statuses.clear()
    hub.faults.clear()
    again = remote()
    again["wte.weight"][:]
    assert 0 < again.fetched_bytes < weights.info("wte.weight").nbytes
