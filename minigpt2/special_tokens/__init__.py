"""Tokens that are found in a text as they stand, before it is split: `<|endoftext|>` and whatever else was added.

- `search`: where a text has any of many strings, in time that grows with the text alone;
- `added`: the added tokens, their flags, and the parts that they cut a text into;
- `roles`: which tokens begin a text, end it, or pad it.

Source of the rules: `AddedVocabulary` of the `tokenizers` library, tried out in version 0.23.
"""

from minigpt2.special_tokens.added import AddedToken, AddedTokens, Part, Selection

__all__ = ["AddedToken", "AddedTokens", "Part", "Selection"]
