"""What becomes of the memory of arrays that are no longer needed.

Every step makes arrays of a few megabytes and drops those of the step before. glibc gives such large blocks back to the
system as soon as they are freed, and whoever asks for the next one pays for each of its pages anew: a quarter to a
third of the time of a first pass. What glibc calls large grows to the size of the largest block that was freed so far,
and it keeps twice that at the end of its heap (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
"""

import numpy as np

#: So that 32 MB of freed memory are kept.
_LARGE = 16 << 20


def keep() -> None:
    """Have the C library keep the memory of freed arrays for the next ones: free a block, no page of which was used."""
    np.empty(_LARGE, np.uint8)
