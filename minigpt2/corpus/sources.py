"""Which files a corpus is read from: files, directories, globs, standard input, and data sets on the hub."""

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from minigpt2.corpus import hub_files
from minigpt2.standard_input import is_standard_input
from minigpt2.vocabulary import ComputedOnce

if TYPE_CHECKING:
    from minigpt2.corpus.output import Paths

STANDARD_INPUT = "-"

# What a source holds: one document of text, a JSON object a line, or a table.
Kind = Literal["text", "jsonl", "parquet"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COMPRESSIONS = (".gz", ".zst")
_KIND_OF_SUFFIX: dict[str, Kind] = {
    **dict.fromkeys([".jsonl", ".ndjson", ".jsonlines", ".json"], "jsonl"),
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class Source:
    """One input, as it is when it is found.

    Attributes:
        index: its index among the inputs.
        name: its path as given or found, on the hub with the commit; `-` is standard input.
        kind: what it holds.
        size: bytes as stored; 0 for a stream.
        modified: when it was last modified, in nanoseconds; 0 on the hub, where the commit says which version it is.
        is_stream: whether it can be read only once, as a pipe.
        directory: what a path that is not absolute starts from; a worker may be in another one.
    """

    index: int
    name: str
    kind: Kind
    size: int
    modified: int = 0
    is_stream: bool = False
    directory: str = ""

    @property
    def path(self) -> Path:
        """Where it is, from whatever directory is the current one."""
        return Path(self.directory, self.name)

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return "standard input" if self.name == STANDARD_INPUT else self.name

    @property
    def is_remote(self) -> bool:
        """Whether it is on the hub."""
        return hub_files.is_hub_name(self.name)

    @ComputedOnce
    def compression(self) -> str:
        """The suffix that says how it is compressed, or nothing."""
        return _compression(self.name)

    @property
    def is_divisible(self) -> bool:
        """Whether any part of it can be read without what comes before."""
        return self.kind != "parquet" and not (self.compression or self.is_stream or self.is_remote or not self.size)


def find(
    names: Sequence[str | os.PathLike[str]], kind: Kind | None = None, output: "Paths | None" = None
) -> list[Source]:
    """The inputs that names stand for, in the order of the names, and sorted where one stands for several.

    A name is a file, `-` for standard input, a directory (its files, and those of the directories in it, except what
    begins with a dot), a glob (`**` is any depth; files alone, or where it ends in a slash those in directories), or
    one of these on the hub, as `hf://datasets/OWNER/NAME/PATH`, where a slash at the end is left out. Symbolic links
    that are found in a directory or by a glob are passed over; those that a name spells out before its first wildcard
    are followed. Directories and globs leave out the files of an earlier corpus at `output`. Each source holds what its
    name says, or `kind`.

    Raises:
        FileNotFoundError: a name stands for nothing.
        OSError: a directory cannot be read, or the hub not reached.
        ValueError: a name is an output's, or an output would replace a document, or no name is given, or standard input
            is named twice.
    """
    if not names:
        raise ValueError("nothing to read: name a file, a directory or a glob, or - for standard input")
    sources: list[Source] = []
    commits: dict[tuple[str, str], str] = {}  # of data sets on the hub
    for name in [os.fspath(name) for name in names]:
        if hub_files.is_hub_name(name):
            for path, size in hub_files.find(name, commits):
                sources.append(Source(len(sources), path, kind or kind_of(path), size))
        else:
            for path in _paths(name, output):
                sources.append(_source(len(sources), path, kind or kind_of(path)))
    if sum(source.name == STANDARD_INPUT for source in sources) > 1:
        raise ValueError("standard input can be read once only: give - once")
    return sources


def kind_of(name: str) -> Kind:
    """The content of a file, by its name.

    >>> kind_of("books.JSONL.gz"), kind_of("table.parquet"), kind_of("README"), kind_of("-")
    ('jsonl', 'parquet', 'text', 'text')
    """
    return _KIND_OF_SUFFIX.get(Path(name.lower().removesuffix(_compression(name))).suffix, "text")


def _compression(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if suffix in COMPRESSIONS else ""


def _paths(name: str, output: "Paths | None") -> list[str]:
    if name == STANDARD_INPUT:
        for path in filter(is_standard_input, output.all() if output else []):
            raise ValueError(f"standard input is {path}, where the corpus is written to: name another output")
        return [name]
    if not name:
        raise ValueError("a name is empty: name a file, a directory or a glob, or . for the current directory")
    path = Path(name)
    below = ["**"] if name.endswith(("/", os.sep)) else []
    if path.is_dir():
        paths, missing = _matches(name, ["**"]), "no file in this directory"
    elif has_magic(name) and (below or not path.exists()):
        start = [*takewhile(lambda part: not has_magic(part), path.parts)]
        paths = _matches(str(Path(*start)) if start else "", [*path.parts[len(start) :], *below])
        missing = "this glob matches no file"
    elif output and output.written_over(path):
        raise ValueError(f"{name} is where the corpus is written to: it cannot be read as well")
    else:
        return [name]
    files = {each for each in paths if _is_file(each)}
    if output:
        files -= _earlier_files(files, output)
    if not files:
        raise FileNotFoundError(errno.ENOENT, f"{missing} (symbolic links are passed over: name them one by one)", name)
    return sorted(files, key=lambda each: Path(each).parts)


def _is_file(path: str) -> bool:
    """As `Path.is_file`, which in newer Pythons hides that a directory may not be entered."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISREG(Path(path).stat().st_mode)
    return False


def _earlier_files(found: Collection[str], output: "Paths") -> set[str]:
    """Those of an earlier corpus at the output.

    Raises:
        ValueError: a document is where a file of the corpus is written to.
    """
    written = {each: own for each in found if (own := output.written_over(each))}
    for each, own in written.items():
        if not output.is_ours(own):
            raise ValueError(
                f"{each} is one of the documents, and the corpus would be written over it: name another output"
            )
    return {*written}


def _matches(directory: str, pattern: Sequence[str]) -> Iterator[str]:
    """The paths below a directory that match the parts of a glob and lead through no symbolic link.

    So a link back into the directory neither ends in a circle nor gives a document twice.
    """
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        for each in _directories(directory):
            yield from _matches(each, rest or ["*"])
    elif has_magic(first):
        for entry in _entries(directory, first):
            path = _path_of(entry, directory)
            if not rest:
                yield path
            elif entry.is_dir():
                yield from _matches(path, rest)
    elif not Path(directory, first).is_symlink():
        path = str(Path(directory, first))
        yield from _matches(path, rest) if rest else [path]


def _directories(directory: str) -> Iterator[str]:
    """A directory and all below it, however deep."""
    left = [directory]
    while left:
        each = left.pop()
        yield each
        left += [_path_of(entry, each) for entry in _entries(each, "*") if entry.is_dir()]


def _path_of(entry: os.DirEntry[str], directory: str) -> str:
    """The path of an entry, never the name of standard input."""
    return entry.path if directory else "./-" if entry.name == STANDARD_INPUT else entry.name


def _entries(directory: str, pattern: str) -> list[os.DirEntry[str]]:
    """The entries of a directory that match one part of a glob, except symbolic links.

    Hidden entries match only a part that begins with a dot.
    """
    try:
        with os.scandir(directory or ".") as entries:
            return [
                entry
                for entry in entries
                if fnmatchcase(entry.name, pattern)
                and (pattern[0] == "." or entry.name[0] != ".")
                and not entry.is_symlink()
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _source(index: int, name: str, kind: Kind) -> Source:
    if name == STANDARD_INPUT:
        return Source(index, name, kind, 0, is_stream=True)
    status = Path(name).stat()
    is_stream = not stat.S_ISREG(status.st_mode)
    directory = "" if Path(name).is_absolute() else str(Path.cwd())
    return Source(index, name, kind, 0 if is_stream else status.st_size, status.st_mtime_ns, is_stream, directory)
