"""The tensors of a safetensors file on the hub: the reader of local files, whose bytes are fetched when needed."""

import mmap
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final, Self, cast
from urllib.parse import quote

import numpy as np

from minigpt2.forking import RenewedLock
from minigpt2.hub import cache, known_commit, published
from minigpt2.hub.answers import ANSWER_SECONDS, Published, translated_errors
from minigpt2.hub.errors import RefusedError, endpoint
from minigpt2.weights.damage import MOST_HEADER
from minigpt2.weights.remote.array import RemoteArray
from minigpt2.weights.remote.byte_ranges import Range, of_rows, together
from minigpt2.weights.remote.hub_file import HubFile
from minigpt2.weights.remote.sparse_file import BOUND, DamagedError, SparseFile, keep_bounded, remove
from minigpt2.weights.safetensors_file import Array, CheckpointError, RowIndex, SafetensorsFile, TensorInfo

FOLDER: Final = "minigpt2-ranges"  # in the hub's cache folder, beside those of the models that are there whole
FIRST_READ: Final = 16384  # bytes that are read for the header; that of `gpt2` has 14,291
AT_ONCE: Final = 8  # concurrent requests
NOTE_EVERY: Final = 1 << 25  # bytes of one range after which those that came are noted as fetched
BAR_FROM: Final = 1 << 20  # bytes from which on there is a progress bar
MARK: Final = "minigpt2 "  # the first line of a journal: this, the hash, the size


class RemoteTensors(SafetensorsFile):
    """A safetensors file on the hub: its header is read when it is opened, its numbers when they are needed.

    Raises:
        HubError: the hub cannot be reached, has no such file, or does not send parts of it correctly.
        CheckpointError: it is not a sound safetensors file.
    """

    def __init__(self, source: HubFile, sparse: SparseFile, cache: Path) -> None:
        """Use `RemoteTensors.open`; `cache` is the folder that is kept bounded."""
        self._source, self._sparse, self._cache = source, sparse, cache
        self.commit = source.file.commit
        self._fetching = RenewedLock()
        self._fetch_header()
        try:
            super().__init__(sparse.path)
        finally:  # also where another file, made there meanwhile, was refused
            if not sparse.is_at_its_path():
                raise DamagedError(f"{sparse.path} was removed while it was opened: another file may be mapped")

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
        """Open one of a model's files, at the commit that the hub first named for this revision.

        The hub's first answer may take `timeout` seconds. Raises as the class does.
        """
        ours = _folder_of_endpoint(cache.cache_root(cache_dir))
        folder = cache.model_folder(cache.long_name(model), ours)
        commit = known_commit(model, revision=revision, cache_dir=cache_dir)
        commit = commit or known_commit(model, revision=revision, cache_dir=ours)
        sparse = _remembered(folder / commit / filename) if commit else None
        if commit and sparse:
            file = Published(commit, sparse.identity.split(" ")[1], sparse.size, "")
        else:
            file = published(model, filename, revision=commit or revision, cache_dir=cache_dir, timeout=timeout)
            with suppress(OSError):  # a folder that cannot be written to
                cache.note_commit(folder, revision or "main", file.commit)
        source = HubFile(model, filename, file, cache_dir, revision)
        if sparse is None:
            with translated_errors(model, filename, file.commit, ours):
                sparse = _made(folder / file.commit / filename, file)
        keep_bounded(ours.parent, BOUND)
        try:
            return cls(source, sparse, ours.parent)
        except (DamagedError, FileNotFoundError):  # just removed by a process that needs the space
            return cls(source, SparseFile.temporary(filename, sparse.identity, sparse.size), ours.parent)

    def _mapped(self) -> mmap.mmap:
        return mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)  # shared: it must show what is fetched later

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """A pickle names the file and its commit; where it is read, they are opened again."""
        source = self._source
        again = partial(RemoteTensors.open, revision=self.commit, cache_dir=source.cache_dir)
        return again, (source.model, source.filename)

    @property
    def fetched_bytes(self) -> int:
        """How many bytes came over the network for this object."""
        return self._source.fetched_bytes

    def array(self, name: str) -> Array:
        """Tensor `name` as a lazy stand-in that behaves like an array and is read when it is indexed."""
        info = self.tensors[name]
        dtype = np.dtype(np.float32) if info.dtype == "BF16" else self._view(name, info).dtype
        return cast(Array, RemoteArray(info.shape, dtype, lambda key: self.read(name, key)))

    def fetch(self, names: Iterable[str]) -> None:
        """Download all bytes of these tensors, with few requests and a progress bar on a terminal."""
        self._fetch([(self.tensors[name].begin, self.tensors[name].end) for name in names])

    def _prepare(self, info: TensorInfo, rows: RowIndex) -> None:
        """Download the rows that are about to be read."""
        if not self._sparse.is_whole():
            raise CheckpointError(f"{self.path} has been cut off since it was opened: open it again")
        self._fetch([(info.begin + begin, info.begin + end) for begin, end in of_rows(info.shape, info.nbytes, rows)])

    def _fetch_header(self) -> None:
        """Download the header, usually with one request. Another kind of file is left for the reader to refuse."""
        size = self._sparse.size
        self._fetch([(0, min(FIRST_READ, size))])
        with self._sparse.path.open("rb") as file:
            start = file.read(9)
        end = 8 + int.from_bytes(start[:8], "little")
        if start[8:] == b"{" and end <= min(size, 8 + MOST_HEADER):
            self._fetch([(0, end)])

    def _fetch(self, ranges: Iterable[Range]) -> None:
        ranges = list(ranges)
        if not self._sparse.missing(ranges):
            return
        with self._fetching.now:  # one thread at a time; the next one may find its bytes here
            pieces = together(self._sparse.missing(ranges))
            if pieces:
                self._bring(pieces)
                keep_bounded(self._cache, BOUND)

    def _bring(self, pieces: list[Range]) -> None:
        """Write these ranges into the sparse file, several at a time, and note those that came as fetched."""
        source, total = self._source, sum(end - begin for begin, end in pieces)
        quiet = None if total >= BAR_FROM else True  # None: quiet unless it is a terminal
        arrived: list[Range] = []
        stop = Event()  # set after an error or Ctrl-C
        with translated_errors(source.model, source.filename, source.file.commit, self._cache.parent):
            from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

            name = repr(source.filename)[1:-1]  # the hub's index chose it: escape control characters
            with tqdm(desc=name, total=total, unit="B", unit_scale=True, disable=quiet) as bar:  # type: ignore[no-untyped-call]
                try:
                    _in_parallel(lambda piece: arrived.append(self._bring_one(piece, bar.update, stop)), pieces, stop)
                finally:
                    self._sparse.note(arrived)

    def _bring_one(self, piece: Range, progress: Callable[[int], object], stop: Event) -> Range:
        """Write one range into the sparse file, or its beginning if `stop` is set; return the part not noted yet."""
        start = offset = piece[0]
        for chunk in self._source.read(*piece):
            if stop.is_set():
                break
            self._sparse.write(offset, chunk)
            offset += len(chunk)
            progress(len(chunk))
            if offset - start >= NOTE_EVERY:
                self._sparse.note([(start, offset)])
                start = offset
        return start, offset


def _folder_of_endpoint(cache_root: Path) -> Path:
    """The folder for what is read from this hub: the same name may be another model on another hub."""
    return cache_root / FOLDER / quote(endpoint(), safe="", errors="surrogateescape")


def _remembered(folder: Path) -> SparseFile | None:
    """The sparse file in this folder, if there is a sound one."""
    try:
        sparse = SparseFile(folder / folder.name)
        return sparse if sparse.identity.startswith(MARK) else None
    except (OSError, DamagedError):
        return None


def _made(folder: Path, file: Published) -> SparseFile:
    """The sparse file for a published one: in this folder, or a temporary one if the folder cannot be written to.

    Raises:
        RefusedError: the hub does not say how large the file is.
    """
    if file.size is None:
        raise RefusedError("the hub does not say how large the file is, so it cannot be read in parts: download it")
    identity = f"{MARK}{file.hash} {file.size}"
    if (found := _remembered(folder)) and found.identity == identity:
        return found
    remove(folder)
    try:
        return SparseFile.create(folder, folder.name, identity, file.size)
    except (OSError, DamagedError):
        return SparseFile.temporary(folder.name, identity, file.size)


def _in_parallel(work: Callable[[Range], object], pieces: list[Range], stop: Event) -> None:
    """Do the work for every piece, several at a time; the first failure sets `stop`, and no other is begun."""
    if len(pieces) == 1:
        work(pieces[0])
        return
    pool = ThreadPoolExecutor(min(AT_ONCE, len(pieces)))
    try:
        for outcome in [pool.submit(work, piece) for piece in pieces]:
            outcome.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
