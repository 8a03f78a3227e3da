"""A renewed lock keeps other threads out, and a forked child can take it even if its parent holds it."""

import os
from threading import Thread

import pytest

from minigpt2.forking import RenewedLock


def test_another_thread_waits() -> None:
    lock, seen = RenewedLock(), list[str]()

    def take() -> None:
        with lock:
            seen.append("taken")

    with lock:
        thread = Thread(target=take)
        thread.start()
        thread.join(0.05)
        assert seen == []
    thread.join()
    assert seen == ["taken"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_holder_can_fork_and_take_it_again_in_the_child() -> None:
    lock, child, outcome = RenewedLock(), -1, 1
    try:
        with lock:
            child = os.fork()
            with lock:
                pass
        outcome = 0
    finally:
        if child == 0:
            os._exit(outcome)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
