"""Step 3 of the article: the first five tokens of the vocabulary and their vectors.

python scripts/article_3_first_tokens.py [MODEL]
"""

import sys

from minigpt2 import Checkpoint, Embeddings, Tokenizer

tokenizer = Tokenizer.from_pretrained(*sys.argv[1:2])
embeddings = Embeddings(Checkpoint.from_pretrained(*sys.argv[1:2]))
for token_id, vector in enumerate(embeddings.tokens(range(5))):
    print(token_id, tokenizer.convert_ids_to_tokens(token_id), vector)
