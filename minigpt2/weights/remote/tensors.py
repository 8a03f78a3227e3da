"""The tensors of a safetensors file on the hub: the reader of local files, over bytes that come when needed."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, Self, cast

from minigpt2 import hub
from minigpt2.hub import cache
from minigpt2.hub.answers import ANSWER_SECONDS, Published, RefusedError, translated_errors
from minigpt2.weights.damage import MOST_HEADER
from minigpt2.weights.remote.array import RemoteArray
from minigpt2.weights.remote.byte_ranges import Range, of_rows, together
from minigpt2.weights.remote.hub_file import HubFile
from minigpt2.weights.remote.sparse_file import BOUND, DamagedError, SparseFile, keep_bounded, remove
from minigpt2.weights.safetensors_file import Array, CheckpointError, RowIndex, SafetensorsFile, TensorInfo

FOLDER: Final = "minigpt2-ranges"  # in the hub's cache folder, beside those of the models that are there whole
FIRST_LOOK: Final = 16384  # bytes that are read for the header; that of `gpt2` takes 14,291
AT_ONCE: Final = 8  # requests under way at the same time
NOTE_EVERY: Final = 1 << 25  # bytes after which what came counts as fetched, should the process end
BAR_FROM: Final = 1 << 20  # bytes that are worth a progress bar
MARK: Final = "minigpt2 "  # then the hash and the size: the first line of a journal


class RemoteTensors(SafetensorsFile):
    """A safetensors file on the hub: its header is here, and its numbers come when they are asked for.

    Raises:
        HubError: the hub cannot be reached, has no such file, or does not give parts of it rightly.
        CheckpointError: it is no sound safetensors file.
    """

    def __init__(self, source: HubFile, sparse: SparseFile, cache: Path) -> None:
        """Use `RemoteTensors.open`; `cache` is the folder that is kept bounded."""
        self._source, self._sparse, self._cache = source, sparse, cache
        self.commit = source.file.commit
        self._fetching = Lock()
        self._fetch_header()
        super().__init__(sparse.path)
        if not sparse.is_at_its_path():
            raise DamagedError(f"{sparse.path} was removed while it was opened: another file may be mapped now")

    @classmethod
    def open(
        cls,
        model: str,
        filename: str,
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Self:
        """Open one of a model's files; the commit that the hub first named for the revision stays the one that is read.

        `timeout` is how many seconds the hub may take for its first answer. Raises as the class does.
        """
        ours = cache.cache_root(cache_dir) / FOLDER
        folder = cache.model_folder(cache.long_name(model), ours)
        commit = hub.known_commit(model, revision=revision, cache_dir=cache_dir)
        commit = commit or hub.known_commit(model, revision=revision, cache_dir=ours)
        sparse = commit and _remembered(folder / commit / filename)
        if commit and sparse:
            file = Published(commit, sparse.identity.split(" ")[1], sparse.size, "")
        else:
            file = hub.published(model, filename, revision=commit or revision, cache_dir=cache_dir, timeout=timeout)
            with suppress(OSError):  # a folder that takes no notes
                cache.note_commit(folder, revision or "main", file.commit)
        source = HubFile(model, filename, file, cache_dir)
        with translated_errors(model, filename, file.commit, ours):
            sparse = sparse or _made(folder / file.commit / filename, file)
        keep_bounded(ours, BOUND)
        try:
            return cls(source, sparse, ours)
        except (DamagedError, FileNotFoundError):  # removed in this very moment, by a process that needs the space
            return cls(source, SparseFile.temporary(filename, sparse.identity, sparse.size), ours)

    @property
    def fetched_bytes(self) -> int:
        """How many bytes came over the network for this object."""
        return self._source.fetched_bytes

    def array(self, name: str) -> Array:
        """Tensor `name`, read when it is indexed: no array, but whatever is done with one can be done with it."""
        info, dtype = self.tensors[name], self.read(name, slice(0, 0)).dtype
        return cast(Array, RemoteArray(info.shape, dtype, lambda key: self.read(name, key)))

    def fetch(self, names: Iterable[str]) -> None:
        """Bring all the bytes of these tensors, with as few requests, and a progress bar on a terminal."""
        self._fetch([(self.tensors[name].begin, self.tensors[name].end) for name in names])

    def _prepare(self, info: TensorInfo, rows: RowIndex) -> None:
        """Bring the rows that are about to be read."""
        if not self._sparse.is_whole():
            raise CheckpointError(f"{self.path} has been cut off since it was opened: open it again")
        self._fetch([(info.begin + begin, info.begin + end) for begin, end in of_rows(info.shape, info.nbytes, rows)])

    def _fetch_header(self) -> None:
        """Bring the header: mostly that is one request. What begins as no header does is left to be refused."""
        size = self._sparse.size
        self._fetch([(0, min(FIRST_LOOK, size))])
        with self._sparse.path.open("rb") as file:
            start = file.read(9)
        end = 8 + int.from_bytes(start[:8], "little")
        if start[8:] == b"{" and end <= min(size, 8 + MOST_HEADER):
            self._fetch([(0, end)])

    def _fetch(self, ranges: Iterable[Range]) -> None:
        ranges = list(ranges)
        if not self._sparse.missing(ranges):
            return
        with self._fetching:  # one thread asks; those that want the same find it there
            pieces = together(self._sparse.missing(ranges))
            if pieces:
                self._bring(pieces)
                keep_bounded(self._cache, BOUND)

    def _bring(self, pieces: list[Range]) -> None:
        """Write these ranges into the sparse file, several at once, and count what came as fetched."""
        from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

        source, total = self._source, sum(end - begin for begin, end in pieces)
        quiet = None if total >= BAR_FROM else True  # None: on a terminal alone
        arrived: list[Range] = []
        with (
            translated_errors(source.model, source.filename, source.file.commit, self._cache.parent),
            tqdm(desc=source.filename, total=total, unit="B", unit_scale=True, disable=quiet) as bar,  # type: ignore[no-untyped-call]
        ):
            try:
                _in_parallel(lambda piece: arrived.append(self._bring_one(piece, bar.update)), pieces)
            finally:
                self._sparse.note(arrived)

    def _bring_one(self, piece: Range, progress: Callable[[int], object]) -> Range:
        """Write one range into the sparse file and return what of it `note` has yet to count."""
        start = place = piece[0]
        for chunk in self._source.read(*piece):
            self._sparse.write(place, chunk)
            place += len(chunk)
            progress(len(chunk))
            if place - start >= NOTE_EVERY:
                self._sparse.note([(start, place)])
                start = place
        return start, place


def _remembered(folder: Path) -> SparseFile | None:
    """The sparse file in this folder, if there is one and it is sound."""
    try:
        sparse = SparseFile(folder / folder.name)
        return sparse if sparse.identity.startswith(MARK) else None
    except (OSError, DamagedError):
        return None


def _made(folder: Path, file: Published) -> SparseFile:
    """The sparse file for a published one: in this folder if it takes it, or else where it lasts as long as it is used.

    Raises:
        RefusedError: the hub does not say how large the file is.
    """
    if file.size is None:
        raise RefusedError("the hub does not say how large the file is, so it cannot be read in parts; download it")
    identity = f"{MARK}{file.hash} {file.size}"
    if (found := _remembered(folder)) and found.identity == identity:
        return found
    remove(folder)
    try:
        return SparseFile.create(folder, folder.name, identity, file.size)
    except (OSError, DamagedError):
        return SparseFile.temporary(folder.name, identity, file.size)


def _in_parallel(work: Callable[[Range], object], pieces: list[Range]) -> None:
    """Do the work for every piece, several at once; after the first that fails, begin no other."""
    if len(pieces) == 1:
        work(pieces[0])
        return
    pool = ThreadPoolExecutor(min(AT_ONCE, len(pieces)))
    try:
        for outcome in [pool.submit(work, piece) for piece in pieces]:
            outcome.result()
    finally:
        pool.shutdown(cancel_futures=True)
