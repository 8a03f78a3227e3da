"""`python -m minigpt2` is the command `minigpt2`."""

import sys

from minigpt2.cli import main

if __name__ == "__main__":
    sys.exit(main())
