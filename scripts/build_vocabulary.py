"""Write minigpt2/data/gpt2_merges.bin: GPT-2's 50,000 merges as pairs of token ids, little-endian uint16.

Usage: python scripts/build_vocabulary.py DIRECTORY, where DIRECTORY holds the published vocab.json and merges.txt.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

SHA256 = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def published(directory: Path, name: str) -> bytes:
    """The content of a published file, if it is that."""
    content = (directory / name).read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256[name]:
        raise SystemExit(f"{directory / name} is not GPT-2's published file: its SHA-256 is {found}")
    return content


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    directory = Path(sys.argv[1])
    token_ids = json.loads(published(directory, "vocab.json"))
    _, *merges, _ = published(directory, "merges.txt").decode("utf-8").split("\n")
    pairs = [[token_ids[part] for part in merge.split(" ")] for merge in merges]
    target = Path(__file__).parents[1] / "minigpt2" / "data" / "gpt2_merges.bin"
    target.write_bytes(np.array(pairs, "<u2").tobytes())
    print(f"{target.name}: {len(pairs)} merges, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
