"""Step 2 of the article: show wte, the token embeddings.

python scripts/article_2_wte.py [MODEL]
"""

import sys

from minigpt2 import Checkpoint

wte = Checkpoint.from_pretrained(*sys.argv[1:2])["transformer.wte.weight"]
print(wte)
print(wte.shape, wte.dtype)
