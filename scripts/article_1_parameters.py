"""Step 1 of the article: list the model's parameters.

python scripts/article_1_parameters.py [MODEL]
"""

import sys

from minigpt2 import Checkpoint

weights = Checkpoint.from_pretrained(*sys.argv[1:2])
for name, parameter in weights.named_parameters():
    print(name, parameter.shape)
print(f"{weights.num_parameters():,} numbers")
