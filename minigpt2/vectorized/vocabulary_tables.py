"""Tables that follow from a vocabulary alone, made once for all memories: its merges, and its tokens as pieces."""

from functools import lru_cache

import numpy as np

from minigpt2.vectorized import keys, long_pieces, merging
from minigpt2.vectorized.arrays import Bytes, Indices, indices_where, keep_freed_memory, lengths_between, starts_of
from minigpt2.vectorized.boundaries import part_starts
from minigpt2.vectorized.hash_table import HashTable
from minigpt2.vectorized.merge_tables import MergeTables
from minigpt2.vectorized.merging import Merged
from minigpt2.vectorized.ranks import NO_RANK
from minigpt2.vectorized.short_pieces import ShortPieces
from minigpt2.vocabulary import Vocabulary, gpt2


class VocabularyTables:
    """A vocabulary's merges, which byte pairs any merge can join, and its tokens that are their own answer as pieces.

    Attributes:
        merges: the ranks and products of its merges.
        tokens: how many tokens it has.
        joinable: whether some merge joins a token ending with byte `a` to one starting with `b`, at `a << 8 | b`,
            (65536,) bool.
        table, short_pieces: the symbol of each piece that is a token and that BPE merges to that token.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        keep_freed_memory()
        self.merges = MergeTables(vocabulary)
        tokens = list(vocabulary.token_bytes.values())
        self.tokens = len(tokens)
        self.joinable = self.merges.lowest_rank_between < NO_RANK
        symbols = _tokens_that_merge_to_themselves(vocabulary, tokens, self.merges)
        starts = starts_of(self.merges.token_lengths).take(symbols)
        words, lengths = keys.words_at(b"".join(tokens)), self.merges.token_lengths.take(symbols)
        self.table = HashTable((2 * len(symbols)).bit_length())
        self.table.add(keys.keys_of(words, starts, lengths), symbols)
        self.short_pieces = ShortPieces()
        self.short_pieces.put(words.take(starts), lengths, symbols)

    def merged(self, data: Bytes, lengths: Indices) -> Merged:  # (bytes,), (pieces,)
        """Merge pieces, laid one after the other: cut each where no merge joins, and merge all parts side by side.

        >>> tables_of(gpt2()).merged(np.frombuffer(b"thethx", np.uint8), np.array([3, 3])).symbols.tolist()
        [1169, 400, 87]
        """
        if not len(lengths):
            return Merged(np.empty(0, np.int32), lengths)
        starts = starts_of(lengths)
        parts = part_starts(data, starts, self.joinable)
        merged = long_pieces.merge(self.merges, data, lengths_between(parts, len(data)))
        ends = np.cumsum(merged.lengths)
        last_parts = np.append(np.searchsorted(parts, starts[1:]), len(parts)) - 1
        return Merged(merged.symbols, np.diff(ends.take(last_parts), prepend=0))


@lru_cache(maxsize=4)
def tables_of(vocabulary: Vocabulary) -> VocabularyTables:
    """A vocabulary's tables, made when they are first asked for."""
    return VocabularyTables(vocabulary)


def _tokens_that_merge_to_themselves(vocabulary: Vocabulary, tokens: list[bytes], merges: MergeTables) -> Indices:
    """The symbols of the tokens that have a key and that BPE merges to themselves, (symbols,) intp."""
    is_short = (merges.token_lengths <= keys.LONGEST) & (merges.token_lengths > 0)
    if vocabulary is gpt2():
        is_short[np.searchsorted(merges.ids, list(vocabulary.added_tokens.values()))] = False
        return indices_where(is_short)  # a test shows that all of these do
    short = indices_where(is_short)
    data = np.frombuffer(b"".join(tokens[symbol] for symbol in short), np.uint8)
    merged = merging.merge(merges, data, merges.token_lengths.take(short))
    alone = indices_where(merged.lengths == 1)
    is_itself = merged.symbols.take(starts_of(merged.lengths).take(alone)) == short.take(alone)
    return short.take(alone.take(indices_where(is_itself)))
