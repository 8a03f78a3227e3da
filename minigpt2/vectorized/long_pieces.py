"""Long pieces: cut into overlapping rows that are merged side by side, and sewn together where two rows agree.

Merging a piece of n bytes takes up to n rounds, so rows must be short. Cutting is exact, because tokens are what BPE
makes of their text if, and only if, each two neighbours are what BPE makes of those two alone. (Why: look at the first
merge that crosses the edge between two tokens. Until then both tokens saw only merges within them, just as if the two
stood alone; and there no merge crosses their edge.)

So where two overlapping rows have the same token at the same offset, the left row's tokens before it and the right
row's tokens from it on fit together. Rows that agree nowhere in their overlap are joined into one and merged again.
"""

import numpy as np

from minigpt2.vectorized import merging
from minigpt2.vectorized.arrays import Bytes, Indices, Mask, indices_where, lengths_between, ragged_ranges, starts_of
from minigpt2.vectorized.merge_tables import MergeTables
from minigpt2.vectorized.merging import Merged

#: The bytes of a block. Two neighbouring rows share one block: the last of the left row, the first of the right one.
OVERLAP = 64

#: The longest piece that is merged whole, in bytes.
LONG = 256


def merge(tables: MergeTables, data: Bytes, lengths: Indices) -> Merged:  # (bytes,), (pieces,)
    """Merge the bytes of pieces of any length, laid one after the other, into tokens.

    >>> from minigpt2.vocabulary import gpt2
    >>> merged = merge(MergeTables(gpt2()), np.full(1000, ord("-"), np.uint8), np.array([3, 997]))
    >>> merged.symbols[:3].tolist(), merged.lengths.tolist()  # '---' is a token, and so are 64 dashes
    ([6329, 10097, 10097], [1, 17])
    """
    if not len(lengths) or lengths.max() <= LONG:
        return merging.merge(tables, data, lengths)
    return _Seams(tables, data, lengths).sew()


class _Seams:
    """Pieces cut into blocks of `OVERLAP` bytes. A row is one or more blocks of a piece and the block after them.

    Attributes:
        data: the bytes of all blocks; a piece's last block may have unused bytes at its end, (bytes,) uint8.
        within: at the byte where it starts, each row's tokens up to where the next row begins, else -1, (bytes,) int32.
        ahead: likewise, each row's tokens in the block that it shares with the next row, (bytes,) int32.
        starts_piece, starts_row: which blocks start a piece, and which a row, (blocks,) bool.
        first_blocks: the first block of each piece, (pieces,) intp.
        piece_ends: where the piece of each block ends, (blocks,) intp.
    """

    def __init__(self, tables: MergeTables, data: Bytes, lengths: Indices) -> None:  # (bytes,), (pieces,)
        self.tables = tables
        blocks = -(-lengths // OVERLAP)  # of each piece, (pieces,)
        self.first_blocks = starts_of(blocks)
        self.piece_ends = np.repeat(self.first_blocks * OVERLAP + lengths, blocks)
        total = int(blocks.sum())
        self.data = np.zeros(total * OVERLAP, np.uint8)
        self.data[ragged_ranges(self.first_blocks * OVERLAP, lengths)] = data
        self.within = np.full(len(self.data), -1, np.int32)
        self.ahead = np.full(len(self.data), -1, np.int32)
        self.starts_piece = np.zeros(total, np.bool_)
        self.starts_piece[self.first_blocks] = True
        self.starts_row = np.ones(total, np.bool_)

    def sew(self) -> Merged:
        """Merge the rows, and join those that do not agree until all do."""
        stale = self.starts_row.copy()
        while stale.any():
            self._merge_rows(indices_where(stale))
            stale = self._join_torn_rows()
        return self._tokens()

    def _join_torn_rows(self) -> Mask:  # -> (blocks,)
        """Join each row that does not agree with the one before to it, and say which blocks now start a larger row.

        A row that grows for the second time takes in as many blocks again, up to its piece's end. After a space, a run
        of one letter agrees with no row that starts within it: joined block by block, it would be merged anew for each.
        """
        torn = self.starts_row & ~self.starts_piece & ~self._agreement().any(axis=1)
        rows = indices_where(self.starts_row)
        self.starts_row[torn] = False
        kept = indices_where(self.starts_row)
        first = np.searchsorted(rows, kept)
        grown = lengths_between(first, len(rows)) > 1
        begin, end = kept[grown], np.append(kept[1:], len(torn))[grown]
        again = lengths_between(rows, len(torn)).take(first[grown]) > 1
        piece_end = -(-self.piece_ends.take(begin) // OVERLAP)
        more = np.minimum(again * (end - begin), piece_end - end)
        self.starts_row[ragged_ranges(end[more > 0], more[more > 0])] = False
        larger = np.zeros_like(torn)
        larger[begin] = True
        return larger & self.starts_row  # some were taken in themselves

    def _merge_rows(self, first_blocks: Indices) -> None:  # (rows,)
        """Merge the rows that start with the given blocks, and write their tokens to `within` and `ahead`."""
        row_starts = indices_where(self.starts_row)
        next_row = np.append(row_starts, len(self.starts_row))[np.searchsorted(row_starts, first_blocks) + 1]
        begin, own_end = first_blocks * OVERLAP, next_row * OVERLAP
        end = np.minimum(own_end + OVERLAP, self.piece_ends.take(first_blocks))
        merged = merging.merge(self.tables, self.data.take(ragged_ranges(begin, end - begin)), end - begin)
        widths = self.tables.token_lengths.take(merged.symbols)
        row = np.repeat(np.arange(len(begin)), merged.lengths)  # of each token, as are the next two arrays
        offset = starts_of(widths) + (begin - starts_of(end - begin)).take(row)
        is_ahead = offset >= own_end.take(row)
        shares = indices_where(end > own_end)
        self.within[ragged_ranges(begin, own_end - begin)] = -1
        self.ahead[ragged_ranges(own_end[shares], end[shares] - own_end[shares])] = -1
        self.within[offset[~is_ahead]] = merged.symbols[~is_ahead]
        self.ahead[offset[is_ahead]] = merged.symbols[is_ahead]

    def _agreement(self) -> Mask:  # -> (blocks, OVERLAP)
        """Where the row that ends in a block and the row that starts with it have the same token."""
        agree: Mask = (self.within == self.ahead) & (self.within >= 0)
        return agree.reshape(-1, OVERLAP)

    def _tokens(self) -> Merged:
        """In each shared block, the left row's tokens up to the first on which both agree, then the right row's."""
        sewn = self.starts_row & ~self.starts_piece
        seam = np.where(sewn, self._agreement().argmax(axis=1), 0)  # (blocks,)
        left = np.arange(OVERLAP) < seam[:, None]  # (blocks, OVERLAP)
        symbols = np.where(left, self.ahead.reshape(-1, OVERLAP), self.within.reshape(-1, OVERLAP)).ravel()
        is_token = symbols >= 0
        per_block = np.add.reduceat(is_token, np.arange(0, len(symbols), OVERLAP), dtype=np.intp)
        return Merged(symbols[is_token], np.add.reduceat(per_block, self.first_blocks))
