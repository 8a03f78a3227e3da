"""A hash table that answers whole arrays at once: open addressing, where each probe is one step for all keys.

A value is an int32. Look-ups need no lock: a key's last word, which is never 0, is written last, and no key is ever
overwritten or removed.

Two things keep it linear on any input, a chosen one included: the hash is salted in every process, so nobody can know
which keys collide, and a key is looked for in at most `PROBES` places. One that finds them all taken is not stored.
"""

import os

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Places, Words
from minigpt2.vectorized.keys import Keys

Values = NDArray[np.int32]

PROBES = 16
ABSENT = -1

_SALT = np.frombuffer(os.urandom(24), np.uint64) | np.uint64(1)


class Table:
    """A table of `2**bits` places; `find` is for any thread, `add` for one at a time."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._keys = np.zeros((3, 1 << bits), np.uint64)
        self._values = np.zeros(1 << bits, np.int32)

    def grown(self, bits: int) -> "Table":
        """A larger table of the same content; a key that finds no place is left out."""
        larger = Table(bits)
        held = np.flatnonzero(self._keys[2])
        larger.add(self._keys.take(held, axis=1), self._values.take(held))
        return larger

    def find(self, keys: Keys) -> Values:
        """The value of each key, or `ABSENT`."""
        places = _first_places(keys, self.bits)
        last = self._keys[2].take(places)
        missed = np.flatnonzero(~self._are_at(places, keys, last))
        values = self._values.take(places)
        values[missed] = ABSENT
        taken = missed.take(np.flatnonzero(last.take(missed)))
        values[taken] = self._find_further(keys.take(taken, axis=1), places.take(taken))
        return values

    def _find_further(self, keys: Keys, places: Places) -> Values:
        """Go on from places that hold other keys."""
        values = np.full(len(places), ABSENT, np.int32)
        waiting = np.arange(len(places))
        for _ in range(PROBES - 1):
            if not len(waiting):
                break
            places = _next_places(places, keys, self.bits)
            last = self._keys[2].take(places)
            match = self._are_at(places, keys, last)
            hits = np.flatnonzero(match)
            values[waiting.take(hits)] = self._values.take(places.take(hits))
            more = np.flatnonzero(~match & (last != 0))
            waiting, keys, places = waiting.take(more), keys.take(more, axis=1), places.take(more)
        return values

    def _are_at(self, places: Places, keys: Keys, last: Words) -> NDArray[np.bool_]:
        """Whether each place, of which the last word was read before the others, holds the key."""
        match: NDArray[np.bool_] = last == keys[2]
        match &= self._keys[0].take(places) == keys[0]
        match &= self._keys[1].take(places) == keys[1]
        return match

    def add(self, keys: Keys, values: Values) -> None:
        """Store distinct absent keys and their distinct values, but for those that find `PROBES` places taken."""
        places = _first_places(keys, self.bits)
        for _ in range(PROBES):
            free = np.flatnonzero(self._keys[2].take(places) == 0)
            self._values[places.take(free)] = values.take(free)  # of rivals for a place, one stays
            won = free.take(np.flatnonzero(self._values.take(places.take(free)) == values.take(free)))
            for own, given in zip(self._keys, keys, strict=True):
                own[places.take(won)] = given.take(won)
            lost = np.ones(len(places), np.bool_)
            lost[won] = False
            more = np.flatnonzero(lost)
            if not len(more):
                break
            keys, values = keys.take(more, axis=1), values.take(more)
            places = _next_places(places.take(more), keys, self.bits)


def owners(keys: Keys) -> Places:
    """For each key the index of the one among its equals that stands for all; in a heap of rivals, it may be itself."""
    bits = max(10, (2 * keys.shape[1]).bit_length())
    claims = np.full(1 << bits, ABSENT, np.int32)
    found = np.arange(keys.shape[1])
    waiting, places, left = found.copy(), _first_places(keys, bits), keys
    for _ in range(PROBES):
        free = np.flatnonzero(claims.take(places) == ABSENT)
        claims[places.take(free)] = waiting.take(free)
        owner = claims.take(places)
        equal = (keys.take(owner, axis=1) == left).all(axis=0)
        found[waiting[equal]] = owner[equal]
        more = np.flatnonzero(~equal)
        if not len(more):
            break
        waiting, left = waiting.take(more), left.take(more, axis=1)
        places = _next_places(places.take(more), left, bits)
    return found


def _first_places(keys: Keys, bits: int) -> Places:
    mixed: Words = keys[0] * _SALT[0]
    mixed += keys[1] * _SALT[1]
    mixed += keys[2] * _SALT[2]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _SALT[0]
    mixed >>= np.uint64(64 - bits)
    return mixed.view(np.int64)


def _next_places(places: Places, keys: Keys, bits: int) -> Places:
    """Keys that meet in one place go on to different ones, so that full places do not cluster."""
    steps: Words = (keys[0] ^ keys[1] ^ keys[2]) * _SALT[1] >> np.uint64(64 - bits) | np.uint64(1)
    further: Places = (places + steps.view(np.int64)) & ((1 << bits) - 1)
    return further
