"""Step 4 of the article: a prompt as token ids, in a list and in an array.

python scripts/article_4_encode.py [MODEL]
"""

import sys

from minigpt2 import Tokenizer

tokenizer = Tokenizer.from_pretrained(*sys.argv[1:2])
print(tokenizer.tokenize("The meaning of life is"))
print(tokenizer.encode("The meaning of life is"))
print(tokenizer.encode("The meaning of life is", return_tensors="np"))
