"""Long pieces: cut into overlapping rows that are merged side by side, and sewn together where two rows agree.

Merging a piece of n bytes takes up to n rounds, so rows must be short. What makes it exact to cut one up: a sequence of
tokens is what BPE makes of their text if, and only if, each two neighbours among them are what it makes of those two.
(Of all merges across a token's edge, look at the first. Until then the two tokens it touches saw only merges within
them, the same as if the two stood alone, where it does not happen.) So where the same token stands at the same place
in two overlapping rows, the tokens before it, from the left row, and it and what follows, from the right row, fit: the
left row shows that it follows what stands before it. Rows that agree nowhere in their overlap are joined into one row,
and merged again.
"""

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized import merging
from minigpt2.vectorized.arrays import Bytes, Places
from minigpt2.vectorized.merging import Pieces, ragged_ranges
from minigpt2.vectorized.pairs import Merges

#: The bytes that two rows share; each row starts with such a stretch and, but for the last, ends with the next one.
OVERLAP = 64

#: The longest piece that is merged whole, in bytes.
LONG = 256


def merge(merges: Merges, data: Bytes, lengths: Places) -> Pieces:
    """Merge the bytes of pieces of any length, laid one after the other, into tokens."""
    if not len(lengths) or lengths.max() <= LONG:
        return merging.merge(merges, data, lengths)
    return _Seams(data, lengths).sew(merges)


class _Seams:
    """Pieces cut into blocks of `OVERLAP` bytes: a row is some blocks of a piece, and shares its last with the next.

    The arrays are over the positions of all blocks, those that a piece leaves of its last one being unused. `within`
    holds, at its start, each token of a row up to where the next row begins, `ahead` those of the block they share.
    """

    def __init__(self, data: Bytes, lengths: Places) -> None:
        self.blocks = -(-lengths // OVERLAP)  # of each piece
        self.first_blocks = np.cumsum(self.blocks) - self.blocks
        self.piece_ends = np.repeat(self.first_blocks * OVERLAP + lengths, self.blocks)
        positions = int(self.blocks.sum()) * OVERLAP
        self.data = np.zeros(positions, np.uint8)
        self.data[ragged_ranges(self.first_blocks * OVERLAP, lengths)] = data
        self.within = np.full(positions, -1, np.int32)
        self.ahead = np.full(positions, -1, np.int32)
        self.starts_piece = np.zeros(positions // OVERLAP, np.bool_)
        self.starts_piece[self.first_blocks] = True
        self.starts_row = np.ones(positions // OVERLAP, np.bool_)

    def sew(self, merges: Merges) -> Pieces:
        """Merge the rows, and join those that do not agree until all do."""
        stale = self.starts_row.copy()
        while stale.any():
            self._merge_rows(merges, np.flatnonzero(stale))
            torn = self._agreement().max(axis=1) == 0
            torn &= self.starts_row & ~self.starts_piece
            rows = np.flatnonzero(self.starts_row)
            self.starts_row[torn] = False
            kept = np.flatnonzero(self.starts_row)
            grown = np.diff(np.searchsorted(rows, kept), append=len(rows)) > 1
            stale = np.zeros_like(stale)
            stale[kept[grown]] = True
        return self._tokens()

    def _merge_rows(self, merges: Merges, first_blocks: Places) -> None:
        """Merge the rows that start with some blocks, and put down where their tokens start."""
        starts = np.flatnonzero(self.starts_row)
        next_block = np.append(starts, len(self.starts_row))[np.searchsorted(starts, first_blocks) + 1]
        begin, own_end = first_blocks * OVERLAP, next_block * OVERLAP
        end = np.minimum(own_end + OVERLAP, self.piece_ends.take(first_blocks))
        tokens = merging.merge(merges, self.data.take(ragged_ranges(begin, end - begin)), end - begin)
        widths = merges.token_lengths.take(tokens.symbols)
        offsets = np.cumsum(end - begin) - (end - begin)  # of the rows, which were merged one after the other
        row = np.repeat(np.arange(len(begin)), tokens.lengths)
        position = np.cumsum(widths) - widths + (begin - offsets).take(row)
        is_ahead = position >= own_end.take(row)
        shares = np.flatnonzero(end > own_end)
        self.within[ragged_ranges(begin, own_end - begin)] = -1
        self.ahead[ragged_ranges(own_end[shares], end[shares] - own_end[shares])] = -1
        self.within[position[~is_ahead]] = tokens.symbols[~is_ahead]
        self.ahead[position[is_ahead]] = tokens.symbols[is_ahead]

    def _agreement(self) -> NDArray[np.bool_]:
        """Where the row that ends in a block and the one that starts with it have the same token, (blocks, OVERLAP)."""
        agree: NDArray[np.bool_] = (self.within == self.ahead) & (self.within >= 0)
        return agree.reshape(-1, OVERLAP)

    def _tokens(self) -> Pieces:
        """Of each shared block, the left row's tokens up to the first that both rows have, then the right row's."""
        sewn = self.starts_row & ~self.starts_piece
        seam = np.where(sewn, self._agreement().argmax(axis=1), 0)
        left = np.arange(OVERLAP) < seam[:, None]
        symbols = np.where(left, self.ahead.reshape(-1, OVERLAP), self.within.reshape(-1, OVERLAP)).ravel()
        is_token = symbols >= 0
        per_block = np.add.reduceat(is_token, np.arange(0, len(symbols), OVERLAP), dtype=np.int64)
        return Pieces(symbols[is_token], np.add.reduceat(per_block, self.first_blocks))
