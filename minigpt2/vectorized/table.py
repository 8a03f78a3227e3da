"""A hash table that answers whole arrays at once: open addressing, where each probe is one step for all keys.

A place is four words, the three of a key, the last of which is never 0, and its value, which is an integer: one gather
brings both. Look-ups need no lock, but what is looked up while keys are added is not to be relied on: a place may have
been half-written.

Two things keep it linear on any input, a chosen one included: nobody can know which keys have the same hash, and a key
is looked for in at most `PROBES` places. One that finds them all taken is not stored.
"""

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Places
from minigpt2.vectorized.keys import Keys, hashes_of

Values = NDArray[np.int64]

PROBES = 16
ABSENT = -1


class Table:
    """A table of `2**bits` places; `find` is for any thread, `add` for one at a time."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.held = 0
        self._rows = np.zeros((1 << bits, 4), np.uint64)

    def grown(self, bits: int) -> "Table":
        """A larger table of the same content; a key that finds no place is left out."""
        larger = Table(bits)
        keys = self._rows.take(np.flatnonzero(self._rows[:, 2]), axis=0)
        values = keys[:, 3].astype(np.int64)
        keys[:, 3] = hashes_of(keys)
        larger.add(keys, values)
        return larger

    def find(self, keys: Keys) -> Values:
        """The value of each key, or `ABSENT`."""
        if not self.held:
            return np.full(len(keys), ABSENT)
        places = _first_places(keys, self.bits)
        values, waiting = self._look(keys, places)
        places, keys = places.take(waiting), keys.take(waiting, axis=0)
        for _ in range(PROBES - 1):
            if not len(waiting):
                break
            places = _next_places(places, keys, self.bits)
            values[waiting], on = self._look(keys, places)
            waiting, places, keys = waiting.take(on), places.take(on), keys.take(on, axis=0)
        return values

    def _look(self, keys: Keys, places: Places) -> tuple[Values, Places]:
        """The values of the keys that are at these places, else `ABSENT`, and the indices of those to look on for."""
        rows = self._rows.take(places, axis=0)
        values: Values = rows[:, 3].astype(np.int64)
        rows ^= keys
        missed = np.flatnonzero(rows[:, 0] | rows[:, 1] | rows[:, 2])
        values[missed] = ABSENT
        is_taken = rows[:, 2].take(missed) != keys[:, 2].take(missed)  # what is empty leaves the key's own word
        return values, missed.take(np.flatnonzero(is_taken))

    def add(self, keys: Keys, values: Values) -> None:
        """Store distinct absent keys and their distinct values, but for those that find `PROBES` places taken."""
        places = _first_places(keys, self.bits)
        *columns, of_values = self._rows.T
        for _ in range(PROBES):
            free = np.flatnonzero(columns[-1][places] == 0)
            of_values[places.take(free)] = values.take(free)  # of rivals for a place, one stays
            won = free.take(np.flatnonzero(of_values[places.take(free)].view(np.int64) == values.take(free)))
            for column, own in zip(columns, keys.T, strict=False):
                column[places.take(won)] = own[won]
            self.held += len(won)
            lost = np.ones(len(places), np.bool_)
            lost[won] = False
            more = np.flatnonzero(lost)
            if not len(more):
                break
            keys, values = keys.take(more, axis=0), values.take(more)
            places = _next_places(places.take(more), keys, self.bits)


def owners(keys: Keys) -> Places:
    """For each key the index of the one among its equals that stands for all; in a heap of rivals, it may be itself.

    In each round, all keys that still wait claim places, equal ones the same. Who claims a place last owns its equals.
    """
    bits = max(10, (2 * len(keys)).bit_length())
    claims = np.empty(1 << bits, np.int32)
    found = np.arange(len(keys))
    waiting, left, places = found.copy(), keys, _first_places(keys, bits)
    for _ in range(PROBES):
        claims[places] = waiting
        owner = claims.take(places)
        others = keys.take(owner, axis=0)
        others ^= left
        more = np.flatnonzero(others[:, 0] | others[:, 1] | others[:, 2])
        owner[more] = waiting.take(more)
        found[waiting] = owner
        if not len(more):
            break
        waiting, left = waiting.take(more), left.take(more, axis=0)
        places = _next_places(places.take(more), left, bits)
    return found


def _first_places(keys: Keys, bits: int) -> Places:
    places = keys[:, 3] >> np.uint64(64 - bits)
    return places.view(np.int64)


def _next_places(places: Places, keys: Keys, bits: int) -> Places:
    """Keys that meet in one place go on to different ones, so that full places do not cluster."""
    further: Places = places + (keys[:, 3].astype(np.int64) | 1)
    further &= (1 << bits) - 1
    return further
