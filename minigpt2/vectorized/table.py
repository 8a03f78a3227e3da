"""A hash table that answers whole arrays at once: open addressing, where each probe is one step for all keys.

A key is two words, of which the second is never 0; a value is an int32. Look-ups need no lock: a value is written
before its key, and no key is ever overwritten or removed.

Two things keep it linear on any input, a chosen one included: the hash is salted in every process, so nobody can know
which keys collide, and a key is looked for in at most `PROBES` places. One that finds them all taken is not stored.
"""

import os

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Values = NDArray[np.int32]
Places = NDArray[np.int64]

PROBES = 16
ABSENT = -1

_SALT = np.frombuffer(os.urandom(16), np.uint64) | np.uint64(1)


class Table:
    """A table of `2**bits` places; `find` is for any thread, `place` and `store` for one at a time."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._shift = np.uint64(64 - bits)
        self._low = np.zeros(1 << bits, np.uint64)
        self._high = np.zeros(1 << bits, np.uint64)
        self._values = np.zeros(1 << bits, np.int32)

    def copy(self, bits: int) -> "Table":
        """A table of `2**bits` places, not fewer, that grows on its own; a key that finds no place is left out."""
        if len(self._low) == 1 << bits:
            twin = Table.__new__(Table)
            twin.bits, twin._shift = bits, self._shift
            twin._low, twin._high, twin._values = self._low.copy(), self._high.copy(), self._values.copy()
            return twin
        grown = Table(bits)
        held = np.flatnonzero(self._high)
        grown.add(self._low.take(held), self._high.take(held), self._values.take(held))
        return grown

    def add(self, low: Words, high: Words, values: Values) -> None:
        """Store distinct absent keys, but for those that find `PROBES` places taken."""
        homes, _ = self.place(low, high)
        placed = np.flatnonzero(homes != ABSENT)
        self.store(homes[placed], low[placed], high[placed], values[placed])

    def _first_places(self, low: Words, high: Words) -> Places:
        mixed: Words = low * _SALT[0] + high * _SALT[1]
        mixed ^= mixed >> np.uint64(32)
        mixed *= _SALT[0]
        mixed >>= self._shift
        return mixed.view(np.int64)

    def _next_places(self, places: Places, low: Words, high: Words) -> Places:
        """Keys that meet in one place go on to different ones, so that full places do not cluster."""
        steps: Words = (low ^ high) * _SALT[1] >> self._shift | np.uint64(1)
        further: Places = (places + steps.view(np.int64)) & (len(self._low) - 1)
        return further

    def find(self, low: Words, high: Words) -> Values:
        """The value of each key, or `ABSENT`."""
        places = self._first_places(low, high)
        held = self._high.take(places)
        missed = np.flatnonzero((held != high) | (self._low.take(places) != low))
        values = self._values.take(places)
        values[missed] = self._find_further(low.take(missed), high.take(missed), places.take(missed), held.take(missed))
        return values

    def _find_further(self, low: Words, high: Words, places: Places, held: Words) -> Values:
        """Go on from places that hold other keys, or none."""
        values = np.full(len(low), ABSENT, np.int32)
        waiting = np.flatnonzero(held)
        low, high, places = low.take(waiting), high.take(waiting), places.take(waiting)
        for _ in range(PROBES - 1):
            if not len(waiting):
                break
            places = self._next_places(places, low, high)
            held = self._high.take(places)
            match = (held == high) & (self._low.take(places) == low)
            hits = np.flatnonzero(match)
            values[waiting.take(hits)] = self._values.take(places.take(hits))
            more = np.flatnonzero(~match & (held != 0))
            waiting, low, high, places = waiting.take(more), low.take(more), high.take(more), places.take(more)
        return values

    def place(self, low: Words, high: Words) -> tuple[Places, Places]:
        """Find a free place for each of some absent keys, equal keys getting the same one.

        Returns the places (`ABSENT` where `PROBES` of them are taken) and, for each key, the index of the one among
        its equals that stands for all; a key without a place stands for itself.
        """
        claims = np.full(len(self._low), ABSENT, np.int32)
        homes = np.full(len(low), ABSENT, np.int64)
        owners = np.arange(len(low))
        places, waiting = self._first_places(low, high), np.arange(len(low))
        for _ in range(PROBES):
            free = np.flatnonzero((self._high.take(places) == 0) & (claims.take(places) == ABSENT))
            claims[places.take(free)] = waiting.take(free)  # of equals and rivals, one stays
            owner = claims.take(places)
            mine = owner != ABSENT
            mine &= (low.take(owner) == low.take(waiting)) & (high.take(owner) == high.take(waiting))
            settled, more = np.flatnonzero(mine), np.flatnonzero(~mine)
            homes[waiting.take(settled)] = places.take(settled)
            owners[waiting.take(settled)] = owner.take(settled)
            if not len(more):
                break
            waiting = waiting.take(more)
            places = self._next_places(places.take(more), low.take(waiting), high.take(waiting))
        return homes, owners

    def store(self, homes: Places, low: Words, high: Words, values: Values) -> None:
        """Write keys and their values to the places that `place` found for them."""
        self._values[homes] = values
        self._low[homes] = low
        self._high[homes] = high
