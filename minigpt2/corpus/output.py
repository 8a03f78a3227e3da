"""The files of token ids, which appear whole or not at all.

While `OUT` is made, `OUT.partial` holds the ids so far, and `OUT.journal` says how far they go; `.OUT.parts.*` is a
directory for what workers leave. A validation set has an empty journal, so that no other run writes it meanwhile. In
the end `formats` makes of `OUT.partial` what was asked for, the files take their names, and the others are gone. `OUT`
never stands beside the summary of another corpus, `OUT.json`: where it is flat, it takes its name after the old summary
has gone and before the new one comes; in the other formats it is the last.
"""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from glob import escape
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np

from minigpt2.atomic_write import (
    atomic_write,
    folded,
    is_one_name,
    leads_to,
    require_replaceable,
    require_writable,
    resolved,
    set_file,
    sync_directory,
)
from minigpt2.corpus.encoding import Encoded, Tally
from minigpt2.corpus.formats import MEGATRON_INDEX, FileFormat, validation_path
from minigpt2.corpus.journal import BEGINNING, Journal, Progress
from minigpt2.corpus.sources import Source
from minigpt2.interrupts import held_interrupts

# Ends of names that the files of another corpus have beside its ids: two runs would write one file.
_BESIDE_IDS = (".json", ".partial", ".journal", ".idx")

#: Seconds between two entries of the journal: what an interrupted run has to do again.
INTERVAL = 1.0


class Paths:
    """Where a corpus is written to, a symbolic link's end in place of the link."""

    def __init__(self, output: str | os.PathLike[str], file_format: FileFormat) -> None:
        """Find the names of the files. Raises OSError where no file can be written at `output`."""
        require_writable(output)
        self.shown, self.file_format = os.fspath(output), file_format
        self.output = resolved(output)
        self.companions = file_format.companions(self.output)
        self._numbered = file_format.numbered(self.output)
        self.summary = summary_path(self.output)
        self.partial = self.output.with_name(self.output.name + ".partial")
        self.journal = journal_path(self.output)
        self.validation_journal = journal_path(validation_path(self.output))
        # Hidden, so that it is not taken for an input, and another in each run, so that no worker mistakes it.
        self.tag = f"{crc32(os.fsencode(self.output.name)):08x}."  # of files whose names are still to come
        self.parts = self.output.with_name(f".{self.output.name}.parts.{os.urandom(4).hex()}")
        # Also what a run with a validation set can leave.
        self._by_name = {folded(each.name): each for each in [*self.all(), self.validation_journal]}

    def all(self) -> list[Path]:
        """Every file that is or may be written."""
        journals = map(journal_path, self.file_format.outputs(self.output))
        return [self.output, *self.companions, *self._numbered, self.summary, self.partial, *journals]

    def written_over(self, path: str | os.PathLike[str]) -> Path | None:
        """The one of these files that would replace the file at a path, or None."""
        path = resolved(path)
        own = self._by_name.get(folded(path.name))
        return own if own and is_one_name(path, own) else None

    def is_ours(self, path: Path) -> bool:
        """Whether a file at one of the names is of an earlier run: a summary or a journal beside it says so.

        A journal is empty at first.
        """
        if path == self.validation_journal:
            return _begins_as_ours(path) or not path.stat().st_size
        if _begins_as_ours(self.journal):
            return True
        if path in (self.partial, self.journal):
            return self.journal.is_file() and not self.journal.stat().st_size
        is_beside = path in (*self.companions, *self._numbered)
        return _begins_as_ours(self.summary) and (not is_beside or path.name in self._files_before())

    def _files_before(self) -> list[str]:
        """The names of an earlier run's files, by its summary; none of a flat corpus, which is OUT alone."""
        with suppress(ValueError, LookupError, TypeError, RecursionError, OSError):
            summary = json.loads(self.summary.read_bytes())
            files = [Path(each["path"]) for each in summary["files"]]
            beside = [each.with_suffix(".idx") for each in files if summary["output_format"] == "megatron"]
            return [each.name for each in files + beside]
        return []

    def require_writable(self) -> None:
        """Refuse an output if one of its files cannot take its name, or would replace a file of the user's.

        Raises:
            OSError: it is a directory, or is to be in one that does not exist or takes no files.
            ValueError: its name is one of a file beside ids, or it is a device or a pipe, or what is at the name of
                another file that is written is not a file, or a symbolic link, or at that of the summary another file,
                or a file of an earlier corpus would stay beside this one.
        """
        if self.output.suffix.lower() in _BESIDE_IDS:
            end = self.output.suffix
            raise ValueError(
                f"{self.shown} is to hold ids, and a name in {end} is that of another file: let it end in .bin"
            )
        require_writable(self.shown)
        for path in [Path(self.shown), *self.all()]:
            with suppress(FileNotFoundError):  # another run may remove it at any moment
                if not S_ISREG(path.stat().st_mode):
                    raise ValueError(f"{path} is not a file, and a corpus appears whole or not at all: it needs one")
            require_replaceable(path)
        for stale in {*map(summary_path, [*self.companions, *self._numbered])} - {*self.all()}:
            if _begins_as_ours(stale):
                require_replaceable(stale)  # it is removed at the end
        for path in filter(Path.is_symlink, self.companions):
            raise ValueError(f"{path} is a symbolic link, and what it leads to would be replaced: delete it first")
        if not _begins_as_ours(self.summary, if_missing=True):  # another run may move it at any moment
            raise ValueError(
                f"{self.summary} is not the summary of a corpus and would be replaced by one: name another output"
            )
        for path in self._left_by_the_corpus_before():
            raise ValueError(f"{path} is of a corpus that was here before, and would stay beside this one: delete it")

    def _left_by_the_corpus_before(self) -> Iterator[Path]:
        """The files of an earlier corpus at the output that this one does not replace, unless they are of yet another.

        A summary that was copied or renamed with its file speaks of other files. Megatron's index NAME.idx belongs to
        NAME.bin, whatever summary there is.
        """
        names = self._files_before()
        for path in map(self.output.with_name, names if self.output.name in names else []):
            ids = path.with_suffix(self.output.suffix) if path.suffix == ".idx" else path
            is_of_another = ids != self.output and summary_path(ids).exists()
            if path not in self.all() and path.exists() and not is_of_another:
                yield path
        for ids in self.file_format.outputs(self.output):
            path = ids.with_suffix(".idx")
            if ids.suffix == ".bin" and path not in self.all() and _is_megatron_index(path):
                yield path


def summary_path(path: Path) -> Path:
    """Where the summary of a file of ids is."""
    return path.with_name(f"{path.name}.json")


def journal_path(path: Path) -> Path:
    """Where the journal of a file of ids is, while that is made."""
    return path.with_name(f"{path.name}.journal")


def _begins_as_ours(path: Path, if_missing: bool = False) -> bool:
    """Whether a summary or a journal begins as those that are written here."""
    try:
        return b"".join(_beginning(path, 64).split()).startswith(b"".join(BEGINNING.split()))
    except FileNotFoundError:
        return if_missing
    except PermissionError:
        raise  # another user's, which may well be one
    except OSError:
        return False


def _is_megatron_index(path: Path) -> bool:
    with suppress(OSError):
        return _beginning(path, len(MEGATRON_INDEX)) == MEGATRON_INDEX
    return False


def _beginning(path: Path, size: int) -> bytes:
    """The first bytes of a regular file, and none of anything else, because reading a pipe can block."""
    if not S_ISREG(path.stat().st_mode):
        return b""
    with path.open("rb") as file:
        return file.read(size)


class Output:
    """The ids of a corpus on their way to files: a context that leaves what can be continued, or nothing.

    Attributes:
        progress: how far it has come.
    """

    def __init__(
        self,
        paths: Paths,
        sources: Sequence[Source],
        request: Callable[[], Mapping[str, Any]],
        dtype: str,
        end: int,
        *,
        can_continue: bool,
        resume: bool,
    ) -> None:
        """Continue what an interrupted run left, if that is wanted, or start from nothing.

        `request` gives all that the ids depend on besides the contents of the sources. It is called late.

        Raises:
            OSError: the files cannot be written.
            ValueError: there is something to continue, and that is not wanted or not possible.
        """
        self._paths, self._sources, self._request = paths, sources, request
        self._dtype, self._end = dtype, end
        self._can_continue = can_continue
        self._touched: set[int] = set()
        self._keeps_partial = False  # once what was at OUT has gone
        self._last_entry = time.monotonic()
        with _naming_output(paths.shown):
            paths.require_writable()
            if not can_continue:  # what it makes would be lost if this were refused only at the end
                paths.file_format.refuse_stale(paths.output)
            with ExitStack() as locks:
                self._journal = Journal(paths.journal)
                locks.callback(self._journal.leave)
                if paths.file_format.val_fraction:
                    locks.callback(Journal(paths.validation_journal).leave)
                paths.require_writable()  # again: another run may have ended in between
                self._open(resume)
                self._locks = locks.pop_all()

    def _open(self, resume: bool) -> None:
        partial = self._paths.partial
        if self._journal.is_new and partial.exists() and partial.stat().st_size:  # an interrupt can leave an empty one
            raise ValueError(
                f"{partial} is there without a journal and would be replaced: delete it, or name another output"
            )
        self._remove_parts()
        left = self._journal.progress if partial.exists() else None
        if left and not resume:
            raise ValueError(f"{partial} is there from an interrupted run: continue it with --resume, or delete it")
        if left:
            size = left.tokens * np.dtype(self._dtype).itemsize
            self._require_same(size)
            self._file = partial.open("r+b", buffering=0)
            self._file.truncate(size)
            self._file.seek(size)
        else:
            self._journal.clear()
            partial.unlink(missing_ok=True)  # a run that lost its journal may still write to that file
            self._file = partial.open("xb", buffering=0)
        self.progress = left or Progress()
        self._has_entry = left is not None

    def _require_same(self, size: int) -> None:
        partial = self._paths.partial
        try:
            self._journal.require_same(self._request(), self._sources)
        except ValueError as error:
            raise ValueError(f"cannot continue: {error}; delete {partial} to start over") from None
        if partial.stat().st_size < size:
            raise ValueError(f"{partial} is shorter than its journal says: delete it to start over")

    def make_parts(self) -> Path:
        """A directory in which workers can leave what they made."""
        with _naming_output(self._paths.shown):
            self._paths.parts.mkdir()
        return self._paths.parts

    def _remove_parts(self) -> None:
        output = self._paths.output
        for parts in output.parent.glob(f"{escape(f'.{output.name}.parts.')}{'[0-9a-f]' * 8}"):
            gone = parts.with_name(f".{self._paths.tag}{os.urandom(4).hex()}.gone")
            with suppress(OSError):  # an overlay file system renames no directory of a layer below
                parts.rename(gone)  # first: workers that are still at it find the directory gone, and stop
            for each in (gone, parts):
                shutil.rmtree(each, ignore_errors=True)
        for left in output.parent.glob(f".{self._paths.tag}*.partial"):  # by a run that was killed as it finished
            left.unlink(missing_ok=True)

    def add(self, encoded: Encoded) -> None:
        """Write the ids of what comes next, and from time to time note how far they go."""
        progress = self.progress
        with _naming_output(self._paths.shown):
            self.write(encoded.ids)
            for part in encoded.parts:
                progress.tallies.setdefault(part.source, Tally()).add(part.tally)
                progress.tokens += part.tally.tokens
                self._touched.add(part.source)
                progress.source, progress.start = (part.source + 1, 0) if part.is_last else (part.source, part.end)
            if time.monotonic() - self._last_entry >= INTERVAL:
                self._enter()

    def write(self, ids: bytes) -> None:
        """Write ids alone."""
        rest = memoryview(ids)
        with _naming_output(self._paths.shown):
            self._require_alone()
            while rest:
                rest = rest[self._file.write(rest) :]  # a disk that is nearly full takes a part

    def _require_alone(self) -> None:
        """Refuse to go on beside another run: the locks of some network file systems hold on one machine alone."""
        partial, descriptor = self._paths.partial, self._file.fileno()
        if not leads_to(partial, descriptor) or os.fstat(descriptor).st_size != self._file.tell():
            raise ValueError(f"{partial} was changed while this corpus was written: does another run write it as well?")

    def _enter(self) -> None:
        if not self._can_continue:
            return
        if not self._has_entry:
            self._journal.begin(self._request())
        os.fsync(self._file.fileno())  # before the journal says so
        self._journal.enter(self.progress, [self._sources[index] for index in sorted(self._touched)])
        self._touched.clear()
        self._has_entry = True
        self._last_entry = time.monotonic()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Make the files that were asked for, with the summary beside them, and give them their names.

        Raises:
            OSError: it cannot be done. What was written can be continued.
            ValueError: the format has no room for it.
        """
        paths, file_format = self._paths, self._paths.file_format
        with _naming_output(paths.shown), ExitStack() as held:
            if not self._journal.is_ours():
                raise ValueError(f"{paths.journal} was removed while this corpus was written: start over")
            self._enter()
            os.fsync(self._file.fileno())
            self._require_alone()
            self._file.close()
            with ExitStack() as files:  # they take their names when it ends, the last first
                opened: dict[Path, BinaryIO] = {}

                def create(path: Path) -> BinaryIO:
                    opened[path] = files.enter_context(atomic_write(path, paths.tag))
                    return opened[path]

                listed = dict(summary)
                if not file_format.is_flat:
                    written = file_format.write(paths.partial, paths.output, self._dtype, self._end, create)
                    listed |= {"output_format": file_format.name, "files": [asdict(each) for each in written]}
                create(paths.summary).write(json.dumps(listed, indent=2).encode("ascii") + b"\n")
                for file in opened.values():  # a disk that is full says so now
                    file.flush()
                    os.fsync(file.fileno())
                for stale in {*map(summary_path, opened)} - {*opened}:
                    if _begins_as_ours(stale):  # of a corpus whose file is replaced
                        stale.unlink()
                if file_format.is_flat:
                    files.enter_context(self._taking_its_name())
                else:
                    self._keeps_partial = True
                    paths.output.unlink(missing_ok=True)  # so that it never stands beside files of another corpus
                held.enter_context(held_interrupts())  # until the journal is gone: otherwise all would be done again
            self._keeps_partial = False
            paths.partial.unlink(missing_ok=True)
            self._remove_parts()
            self._journal.remove()

    @contextmanager
    def _taking_its_name(self) -> Iterator[None]:
        """When the block ends, move the old summary away and give the flat file its name; the new summary comes later.

        So `OUT` is always there, and never beside the summary of another corpus. Where it cannot take the name, the old
        summary comes back.
        """
        yield
        partial, output, summary = self._paths.partial, self._paths.output, resolved(self._paths.summary)
        with suppress(OSError):  # there was none, or the file system has no modes
            partial.chmod(output.stat().st_mode)
        aside = summary.with_name(f".{self._paths.tag}{os.urandom(4).hex()}.partial")
        try:
            with suppress(FileNotFoundError):
                summary.rename(aside)
            partial.replace(output)
            sync_directory(output.parent)
        finally:
            if partial.exists() and aside.exists():
                aside.rename(summary)
            aside.unlink(missing_ok=True)

    def __enter__(self) -> "Output":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and Path(str(error.filename)).parent == self._paths.parts:
            set_file(error, self._paths.shown)  # what a worker could not leave
        with held_interrupts():
            self._close()

    def _close(self) -> None:
        self._file.close()
        if self._journal.is_ours():  # still: neither finished nor removed
            self._remove_parts()
            if not (self._has_entry and self.progress.tokens):
                if not self._keeps_partial:
                    self._paths.partial.unlink(missing_ok=True)
                self._journal.remove()
        self._locks.close()


@contextmanager
def _naming_output(output: str) -> Iterator[None]:
    """Let errors speak of the output by the name that its user gave, or of the file that is in its way."""
    try:
        yield
    except OSError as error:
        is_in_the_way = isinstance(error, PermissionError) or error.errno == errno.EBUSY
        names_it = is_in_the_way and error.filename and os.path.lexists(error.filename)
        if error.errno and not names_it:  # without a number it has a message, which says all
            set_file(error, output)
        raise
