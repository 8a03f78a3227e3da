"""How long tests of random input go on: a few seconds each, or what `MINIGPT2_FUZZ_SECONDS` says."""

import os
from typing import Final

FUZZ_SECONDS: Final = float(os.environ.get("MINIGPT2_FUZZ_SECONDS", "5"))
