"""The numpy engine: the ids that `pretokenize` and `bpe` give, for whole texts at once.

What the readable engine does pretoken by pretoken, this one does step by step, each step for all pretokens together.
In reading order:

- `arrays`: what the arrays hold;
- `boundaries`: where pieces start, from the class of every character;
- `keys`, `short_pieces`, `hash_table`: a piece as a number, and tables that look up many at once;
- `merge_tables`, `ranks`: the vocabulary's merges, each found with one look;
- `merging`, `long_pieces`: the pieces not met before, merged side by side;
- `packed`, `store`, `memory`: the tokens of each piece met so far, from `vocabulary_tables` on;
- `growing`, `engine`: texts of any size, window by window;
- `decoding`: the way back.

No input makes it slow. Boundaries are local. A look-up takes at most `hash_table.PROBES` probes, in a table whose hash
cannot be predicted. Merging takes at most `merging.MOST_ROUNDS` rounds over an array, and O(n log n) for what is left.
"""
