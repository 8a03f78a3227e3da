"""A hash table that answers whole arrays at once: open addressing, where each probe is one step for all keys.

A slot is four words: the three of a key, the last of which is never 0, and a value. One gather brings both. Look-ups
need no lock, but must not be relied on while keys are added: a slot may be half-written.

Input cannot make it slow: the salted hash cannot be predicted, and a key is looked for in at most `PROBES` slots. A key
that finds them all taken is not stored.
"""

import numpy as np

from minigpt2.vectorized.arrays import Indices, as_indices, indices_where
from minigpt2.vectorized.keys import Keys, hashes_of

PROBES = 16
ABSENT = -1


class HashTable:
    """A table of `2**bits` slots; any thread may call `find`, one at a time `add`.

    >>> from minigpt2.vectorized.keys import keys_of, words_at
    >>> keys = keys_of(words_at(b"I'm"), np.array([0, 1]), np.array([1, 2]))
    >>> table = HashTable(bits=8)
    >>> table.add(keys[:1], np.array([40]))
    >>> table.find(keys).tolist()
    [40, -1]
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.held = 0
        self._rows = np.zeros((1 << bits, 4), np.uint64)

    def grown(self, bits: int) -> "HashTable":
        """A larger table with the same content; a key that finds no slot is left out."""
        larger = HashTable(bits)
        keys = self._rows.take(indices_where(self._rows[:, 2]), axis=0)
        values = keys[:, 3].astype(np.intp)
        keys[:, 3] = hashes_of(keys)
        larger.add(keys, values)
        return larger

    def find(self, keys: Keys) -> Indices:  # (n, 4) -> (n,)
        """The value of each key, or `ABSENT`."""
        if not self.held:
            return np.full(len(keys), ABSENT, np.intp)
        slots = _first_slots(keys, self.bits)
        values, waiting = self._look(keys, slots)
        slots, keys = slots.take(waiting), keys.take(waiting, axis=0)
        for _ in range(PROBES - 1):
            if not len(waiting):
                break
            slots = _next_slots(slots, keys, self.bits)
            values[waiting], on = self._look(keys, slots)
            waiting, slots, keys = waiting.take(on), slots.take(on), keys.take(on, axis=0)
        return values

    def _look(self, keys: Keys, slots: Indices) -> tuple[Indices, Indices]:  # (n, 4), (n,) -> (n,), (left,)
        """The value of each key that is in its slot, else `ABSENT`; and the indices of the keys to look for further."""
        rows = self._rows.take(slots, axis=0)
        values: Indices = rows[:, 3].astype(np.intp)
        rows ^= keys
        missed = indices_where(rows[:, 0] | rows[:, 1] | rows[:, 2])
        values[missed] = ABSENT
        is_taken = rows[:, 2].take(missed) != keys[:, 2].take(missed)  # an empty slot, 0, leaves the key's own word
        return values, missed.take(indices_where(is_taken))

    def add(self, keys: Keys, values: Indices) -> None:  # (n, 4), (n,)
        """Store distinct absent keys with distinct values, except those that find `PROBES` slots taken."""
        slots = _first_slots(keys, self.bits)
        *columns, of_values = self._rows.T
        for _ in range(PROBES):
            free = indices_where(columns[-1][slots] == 0)
            of_values[slots.take(free)] = values.take(free)  # of several keys for one slot, one keeps its value there
            won = free.take(indices_where(of_values[slots.take(free)].astype(np.intp) == values.take(free)))
            for column, own in zip(columns, keys.T, strict=False):
                column[slots.take(won)] = own[won]
            self.held += len(won)
            lost = np.ones(len(slots), np.bool_)
            lost[won] = False
            more = indices_where(lost)
            if not len(more):
                break
            keys, values = keys.take(more, axis=0), values.take(more)
            slots = _next_slots(slots.take(more), keys, self.bits)


def distinct(keys: Keys) -> tuple[Keys, Indices]:  # (n, 4) -> (few, 4), (n,)
    """Each key once, and for each of the given keys which one it is. Rarely, a key comes twice.

    >>> from minigpt2.vectorized.keys import keys_of, words_at
    >>> keys = keys_of(words_at(b"aba"), np.arange(3), np.ones(3, np.intp))
    >>> few, which = distinct(keys)
    >>> len(few), (few[which] == keys).all().item()
    (2, True)
    """
    owner = _owners(keys)
    first = indices_where(owner == np.arange(len(owner)))
    order = np.empty(len(owner), np.intp)
    order[first] = np.arange(len(first))
    return keys.take(first, axis=0), order.take(owner)


def _owners(keys: Keys) -> Indices:  # (n, 4) -> (n,)
    """For each key the index of the one among its equals that stands for all of them.

    In each round, all keys that still wait claim slots, equal keys the same slot. The last to claim a slot owns its
    equals. A key that has lost all `PROBES` rounds to different keys stands for itself.
    """
    bits = max(10, len(keys).bit_length())
    claims = np.empty(1 << bits, np.int32)
    found = np.arange(len(keys))
    waiting, left, slots = found.copy(), keys, _first_slots(keys, bits)
    for _ in range(PROBES):
        claims[slots] = waiting
        owner = claims.take(slots)
        others = keys.take(owner, axis=0)
        others ^= left
        more = indices_where(others[:, 0] | others[:, 1] | others[:, 2])
        owner[more] = waiting.take(more)
        found[waiting] = owner
        if not len(more):
            break
        waiting, left = waiting.take(more), left.take(more, axis=0)
        slots = _next_slots(slots.take(more), left, bits)
    return found


def _first_slots(keys: Keys, bits: int) -> Indices:  # (n, 4) -> (n,)
    return as_indices(keys[:, 3] >> np.uint64(64 - bits))


def _next_slots(slots: Indices, keys: Keys, bits: int) -> Indices:  # (n,), (n, 4) -> (n,)
    """Each key's own odd step ahead: keys that meet in one slot part again, so that full slots do not cluster."""
    further: Indices = slots + (keys[:, 3].astype(np.intp) | 1)
    further &= (1 << bits) - 1
    return further
