"""What follows from a vocabulary alone, made once for all memories: its merges, and its tokens as pieces."""

from functools import lru_cache

import numpy as np

from minigpt2.vectorized import freed_memory, keys, long_pieces, merging
from minigpt2.vectorized.arrays import Bytes, Places
from minigpt2.vectorized.boundaries import part_starts
from minigpt2.vectorized.merging import Pieces
from minigpt2.vectorized.pairs import Merges
from minigpt2.vectorized.ranks import NO_RANK
from minigpt2.vectorized.short_pieces import ShortPieces
from minigpt2.vectorized.table import Table
from minigpt2.vocabulary import Vocabulary, gpt2


class Known:
    """A vocabulary's merges, between which two bytes they join anything, and its tokens that may be looked up whole.

    `joinable`, shape (65536,), tells it for each byte, times 256, and the next.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        freed_memory.keep()
        self.merges = Merges(vocabulary)
        tokens = list(vocabulary.token_bytes.values())
        self.tokens = len(tokens)
        self.joinable = self.merges.lowest_rank_between < NO_RANK
        symbols = _tokens_that_merge_to_themselves(vocabulary, tokens, self.merges)
        lengths = self.merges.token_lengths
        starts = (np.cumsum(lengths) - lengths).take(symbols)
        words, lengths = keys.words_at(b"".join(tokens)), lengths.take(symbols)
        self.table = Table((2 * len(symbols)).bit_length())
        self.table.add(keys.keys_of(words, starts, lengths), symbols)
        self.short_pieces = ShortPieces()
        self.short_pieces.put(words.take(starts), lengths, symbols)

    def merged(self, data: Bytes, lengths: Places) -> Pieces:
        """Merge pieces, laid one after the other, all the parts that no merge joins side by side."""
        if not len(lengths):
            return Pieces(np.empty(0, np.int32), lengths)
        starts = np.cumsum(lengths) - lengths
        parts = part_starts(data, starts, self.joinable)
        merged = long_pieces.merge(self.merges, data, np.diff(parts, append=len(data)))
        ends = np.cumsum(merged.lengths)
        last_parts = np.append(np.searchsorted(parts, starts[1:]), len(parts)) - 1
        return Pieces(merged.symbols, np.diff(ends.take(last_parts), prepend=0))


@lru_cache(maxsize=4)
def known(vocabulary: Vocabulary) -> Known:
    """The tables of a vocabulary, made when first asked for."""
    return Known(vocabulary)


def _tokens_that_merge_to_themselves(vocabulary: Vocabulary, tokens: list[bytes], merges: Merges) -> Places:
    """The symbols of the tokens that have a key and may be looked up whole, shape (symbols,)."""
    is_short = (merges.token_lengths <= keys.LONGEST) & (merges.token_lengths > 0)
    if vocabulary is gpt2():
        is_short[np.searchsorted(merges.ids, list(vocabulary.added_tokens.values()))] = False
        return np.flatnonzero(is_short)  # a test shows that all of these do
    short = np.flatnonzero(is_short)
    data = np.frombuffer(b"".join(tokens[symbol] for symbol in short), np.uint8)
    merged = merging.merge(merges, data, merges.token_lengths.take(short))
    alone = np.flatnonzero(merged.lengths == 1)
    first = np.cumsum(merged.lengths) - merged.lengths
    is_itself = merged.symbols.take(first.take(alone)) == short.take(alone)
    return short.take(alone.take(np.flatnonzero(is_itself)))
