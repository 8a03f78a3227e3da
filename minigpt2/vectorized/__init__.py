"""The numpy engine: the same ids as `pretokenize` and `bpe` give, for whole texts at once.

What a loop does pretoken by pretoken is here done step by step, each step for all pretokens together:

- `boundaries`: where pieces start, from the class of every character in an array;
- `memory`: which tokens each piece is, looked up among `short_pieces`, or by its `keys` in a `table`; what a memory
  starts from is in `known`;
- `merging`: the pieces that nobody met before, merged side by side, with the merges of `pairs`, whose `ranks` are found
  with one look;
- `long_pieces`: pieces too long for that, cut into overlapping rows and sewn together;
- `store` and `packed`: from answers to ids, four ids to a word, which are added to the `growing` output;
- `engine`: texts of any size, window by window;
- `decoding`: the way back.

What the arrays hold is named in `arrays`, and `freed_memory` has the memory of one serve the next.

Why no input makes it slow: boundaries are local; a look-up takes at most `table.PROBES` probes, of a table that nobody
can aim at; merging goes in rounds over rows of at most 256 bytes, or over longer ones that a few ranks merge, and what
is left after `merging.MOST_ROUNDS` takes O(n log n). Nothing is looked at more often than that, whatever the text.
"""
