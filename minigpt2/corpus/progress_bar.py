"""The bar that shows how far a corpus is."""

from tqdm import tqdm

from minigpt2.forking import FORK_WAITS


class ProgressBar(tqdm):  # type: ignore[misc]
    """tqdm's bar, with a lock for which a fork waits, and without a thread that redraws what stalls."""

    monitor_interval = 0


ProgressBar.set_lock(FORK_WAITS)
