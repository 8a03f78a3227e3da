"""Step 5 of the article: the rows of wte that a prompt's token ids name.

python scripts/article_5_rows.py [MODEL]
"""

import sys

from minigpt2 import Checkpoint, Embeddings, Tokenizer

ids = Tokenizer.from_pretrained(*sys.argv[1:2]).encode("The meaning of life is", return_tensors="np")
rows = Embeddings(Checkpoint.from_pretrained(*sys.argv[1:2])).tokens(ids)
print(rows)
print(rows.shape, rows.dtype)
