"""A file appears whole or not at all."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from minigpt2.atomic_write import atomic_write, is_one_name, locked, require_replaceable, require_writable


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
        file.flush()
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_there_stays_if_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), atomic_write(tmp_path / "a") as file:
        file.write(b"half")
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_what_a_symbolic_link_points_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o755])
def test_the_mode_of_a_file_that_is_replaced_stays(mode: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(mode)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "a/file"):
        for write in (require_writable, lambda path: atomic_write(path).__enter__()):
            with pytest.raises(OSError, match="Too many levels of symbolic links") as raised:
                write(tmp_path / name)
            assert raised.value.filename == str(tmp_path / name)
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("write", [require_writable, lambda path: atomic_write(path).__enter__()])
def test_an_empty_name_is_not_the_current_directory(write: Callable[[str], object]) -> None:
    with pytest.raises(FileNotFoundError, match="the name of a file is empty"):
        write("")


def test_one_at_a_time_holds_the_lock_of_a_directory(tmp_path: Path) -> None:
    order: list[int] = []

    def write(number: int) -> None:
        with locked(tmp_path):
            for _ in range(3):
                order.append(number)
                time.sleep(0.01)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order) == sorted([*range(5)] * 3)
    assert all(len(set(order[start : start + 3])) == 1 for start in range(0, 15, 3))


def test_a_lock_that_others_hold_for_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt2.atomic_write.LOCK_SECONDS", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with locked(tmp_path):
        pass
    os.close(descriptor)


def test_a_directory_that_cannot_be_read_has_no_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "not there"):
        (tmp_path / "a").write_text("written")


def test_a_child_that_was_forked_under_the_lock_does_not_hold_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    name = "x" * os.pathconf(tmp_path, "PC_NAME_MAX")
    with atomic_write(tmp_path / name) as file:
        file.write(b"new")
    assert names(tmp_path) == [name]


def test_a_pipe_without_a_path_is_written_to() -> None:
    reading, writing = os.pipe()
    require_writable(f"/dev/fd/{writing}")
    with atomic_write(f"/dev/fd/{writing}") as file:
        file.write(b"through")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"through"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with atomic_write(tmp_path / "pipe") as file:
        file.write(b"through")
    reader.join()
    assert read == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    ("name", "code"),
    [(".", errno.EISDIR), ("missing/a", errno.ENOENT), ("file/a", errno.ENOTDIR), ("x" * 300, errno.ENAMETOOLONG)],
)
def test_an_error_names_the_path_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as raised, atomic_write(name):
        pass
    assert (raised.value.errno, raised.value.filename) == (code, name)


def test_a_full_disk_names_the_file_that_was_written(tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, atomic_write(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.filename == str(tmp_path / "a")
    assert str(raised.value) == f"[Errno 28] No space left on device: '{tmp_path / 'a'}'"


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, atomic_write(tmp_path / "a"):
        (tmp_path / "source").read_bytes()
    assert raised.value.filename == str(tmp_path / "source")


@pytest.mark.parametrize(
    "error", [ConnectionError("the hub does not answer"), OSError(errno.EBADF, "bad", 99)], ids=str
)
def test_an_error_of_something_else_keeps_its_message(error: OSError, tmp_path: Path) -> None:
    message = str(error)
    with pytest.raises(OSError) as raised, atomic_write(tmp_path / "a"):
        raise error
    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["directory", "missing/a", "file/a", "directory/missing/a"])
def test_where_no_file_can_be_written_is_known_before(name: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    path = str(tmp_path / name)
    with pytest.raises(OSError) as raised:
        require_writable(path)
    assert raised.value.filename == path
    with pytest.raises(OSError), atomic_write(path):
        pass


@pytest.mark.parametrize("name", ["new", "directory/new", "file", "link", "/dev/null"])
def test_where_a_file_can_be_written_nothing_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("missing")
    require_writable(tmp_path / name)
    assert names(tmp_path) == ["directory", "file", "link"]
    with atomic_write(tmp_path / name):
        pass


def test_directories_that_will_be_made_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    require_writable(tmp_path / "a" / "b" / "c", makes_directories=True)
    with pytest.raises(NotADirectoryError, match="file is not a directory"):
        require_writable(tmp_path / "file" / "b" / "c", makes_directories=True)


def test_a_directory_that_takes_no_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # root may write anywhere
    with pytest.raises(PermissionError, match=f"no file can be written in {tmp_path}"):
        require_writable(tmp_path / "a")


@pytest.mark.parametrize(("mode", "user", "may_replace"), [(0o1777, -1, False), (0o1777, 0, True), (0o777, -1, True)])
def test_another_users_file_in_a_directory_such_as_tmp_is_refused_before_the_work(
    mode: int, user: int, may_replace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids.bin").touch()
    tmp_path.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with nullcontext() if may_replace else pytest.raises(PermissionError, match="another user's file"):
        require_writable(tmp_path / "ids.bin")
    require_writable(tmp_path / "new.bin")


def test_another_users_file_in_such_a_directory_is_named_by_whatever_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text("theirs")
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    with pytest.raises(PermissionError, match="another user's file"), atomic_write(tmp_path / "page.html"):
        pass
    assert (tmp_path / "page.html").read_text() == "theirs"


MOUNTED = """
mount --bind mounted ids.bin && exec "$0" -c '
from minigpt2.atomic_write import require_writable
require_writable("other.bin")
require_writable("ids.bin")
'
"""


def test_a_file_that_is_a_mount_point_is_refused_before_the_work(tmp_path: Path) -> None:
    for name in ("mounted", "ids.bin", "other.bin"):
        (tmp_path / name).touch()
        require_writable(tmp_path / name)
    shell = ["unshare", "-rm", "sh", "-c"]
    if subprocess.run([*shell, "mount --bind . ."], cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run(
        [*shell, MOUNTED, sys.executable], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    last = finished.stderr.splitlines()[-1]
    assert "a mount point, where no file can be replaced: mount its directory instead: 'ids.bin'" in last


def test_what_this_machine_has_mounted_is_known() -> None:
    with pytest.raises(OSError, match="a mount point"):
        require_replaceable("/proc")


@pytest.mark.parametrize(
    ("name", "other", "is_one"), [("Book", "book", True), ("\u00e9", "e\u0301", True), ("a", "b", False)]
)
def test_names_that_a_file_system_takes_for_one_are_one(name: str, other: str, is_one: bool, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert not is_one_name(tmp_path / name, tmp_path / other)
    os.link(tmp_path / name, tmp_path / other)  # as it is there on a file system that does not tell capitals apart
    assert is_one_name(tmp_path / name, tmp_path / other) is is_one
