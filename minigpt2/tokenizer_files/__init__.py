"""The files of a tokenizer, in and out: what `AutoTokenizer` of transformers makes of them, or a refusal.

Each reader lists the keys that it understands, and those that change no result; any other key is refused by name.

- `opening`: a directory, a model on the hub, or two files → a vocabulary and settings;
- `files`: where files are, and how they are read;
- `configuration`: `tokenizer_config.json` and `config.json`, and which class of transformers they choose;
- `bpe_model`: tokens and merges, from `vocab.json` and `merges.txt` or from `tokenizer.json`;
- `tokenizer_json`: the rest of `tokenizer.json`;
- `declared`: added tokens and roles, from all the files that name some;
- `saving`: a vocabulary and settings → files.

Source: transformers 5.23 and tokenizers 0.23, tried out; the tests compare with both.
"""
