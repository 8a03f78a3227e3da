"""Several processes at work, their results in the order of the pieces."""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from typing import NamedTuple, TypeVar

from minigpt2.corpus.encoding import PieceEncoder, Tally
from minigpt2.corpus.pieces import SIZE, Piece
from minigpt2.corpus.slots import Slots
from minigpt2.tokenizer import Tokenizer

# What another process has to do at most, so that none waits while this one works; and what may wait for its turn.
_AHEAD, _BEHIND = 3, 12

# The bytes of a slot: as a batch has no more tokens than bytes, the ids of most have room, of two bytes each. What has
# none, or finds no slot free, goes through the pipe.
SLOT = 2 * SIZE

T = TypeVar("T")
Batch = list[Piece]
Encoded = tuple[bytes, list[Tally]]


class Workers:
    """What makes ids of pieces: this process, and others that make up the number of jobs. A context, which ends them.

    The others start at once, before whoever makes them opens a file that they would inherit.
    """

    def __init__(self, encoder: PieceEncoder, jobs: int) -> None:
        self._encoder, self._others = encoder, jobs - 1
        context = _context()
        is_copy = context.get_start_method() == "fork"  # others share no anonymous memory
        self._slots = Slots(2 * _AHEAD * self._others, SLOT) if self._others and is_copy else None
        start = (encoder, self._slots)
        self._pool = ProcessPoolExecutor(self._others, context, _start, start) if self._others else None
        if self._pool:
            with warnings.catch_warnings():  # Python warns of numpy's threads, which bear a fork
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pool.submit(os.getpid)  # a pool starts no process before it has something to do

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def later(self, function: Callable[[Tokenizer], T]) -> Callable[[], T]:
        """Have something found out about the tokenizer, by another process if there is one; ask when it is needed."""
        if self._pool:
            return partial(_result, self._pool.submit(_ask, function))
        return cache(partial(function, self._encoder.tokenizer))

    def encoded(self, pieces: Iterable[Piece]) -> Iterator[tuple[Batch, Encoded]]:
        """Pieces and their token ids, some at a time, in order.

        Where pieces cannot be read on, those before come first, so that any number of processes ends alike.

        Raises:
            ChildProcessError: a process ended unasked.
            ValueError: as the encoder and the pieces do, the first of them.
        """
        failure: list[Exception] = []
        waiting: deque[_Begun] = deque()
        for batch in _batches(_until_failure(pieces, failure)):
            waiting.append(self._begun(batch, waiting))
            while waiting and (waiting[0].future.done() or len(waiting) > _BEHIND * self._others):
                yield self._ended(waiting.popleft())
        while waiting:
            yield self._ended(waiting.popleft())
        if failure:
            raise failure[0]

    def _begun(self, batch: Batch, waiting: Iterable["_Begun"]) -> "_Begun":
        """Give a batch to another process, or do it here where the others have enough to do."""
        others_have = sum(not begun.future.done() for begun in waiting)
        if self._pool and others_have < _AHEAD * self._others:
            slot = self._slots.take() if self._slots else None
            with _telling_of_lost_workers():
                return _Begun(batch, self._pool.submit(_work, batch, slot), slot)
        future: Future[tuple[bytes | int, list[Tally]]] = Future()
        try:
            future.set_result(self._encoder(batch))
        except Exception as error:  # for its turn
            future.set_exception(error)
        return _Begun(batch, future, None)

    def _ended(self, begun: "_Begun") -> tuple[Batch, Encoded]:
        """What became of a batch; its ids may have been left in a slot, which is free again."""
        ids, tallies = _result(begun.future)
        if self._slots and begun.slot is not None:
            if isinstance(ids, int):
                ids = self._slots.read(begun.slot, ids)
            self._slots.give_back(begun.slot)
        assert isinstance(ids, bytes)
        return begun.batch, (ids, tallies)


class _Begun(NamedTuple):
    """A batch that is being worked on. What comes of it is its ids, or how many bytes of them are in the slot."""

    batch: Batch
    future: "Future[tuple[bytes | int, list[Tally]]]"
    slot: int | None


def _context() -> multiprocessing.context.BaseContext:
    """A copy of this process starts fastest, but only Linux's libraries bear it, and no other thread may be at work."""
    is_safe = sys.platform == "linux" and threading.active_count() == 1
    return multiprocessing.get_context("fork" if is_safe else "spawn")


def _batches(pieces: Iterable[Piece]) -> Iterator[Batch]:
    """Small pieces together, so that handing them over costs little."""
    batch: Batch = []
    size = 0
    for piece in pieces:
        if batch and size + piece.size > SIZE:
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += piece.size
    if batch:
        yield batch


def _until_failure(pieces: Iterable[Piece], failure: list[Exception]) -> Iterator[Piece]:
    try:
        yield from pieces
    except (OSError, ValueError, ImportError) as error:
        failure.append(error)


def _result(future: "Future[T]") -> T:
    with _telling_of_lost_workers():
        return future.result()


@contextmanager
def _telling_of_lost_workers() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        reason = "a worker process ended unasked; where memory is short, fewer --jobs help"
        raise ChildProcessError(reason) from None


# ---- in a worker process

_encoder: PieceEncoder
_slots: Slots | None


def _start(encoder: PieceEncoder, slots: Slots | None) -> None:
    global _encoder, _slots  # a process pool gives a worker no other place to keep something
    _encoder, _slots = encoder, slots
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed cannot end its workers, which would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ask(function: Callable[[Tokenizer], T]) -> T:
    return function(_encoder.tokenizer)


def _work(batch: Batch, slot: int | None) -> tuple[bytes | int, list[Tally]]:
    ids, tallies = _encoder(batch)
    if _slots and slot is not None and _slots.write(slot, ids):
        return len(ids), tallies
    return ids, tallies
