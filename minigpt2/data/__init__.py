"""The package's data: GPT-2's merges and Unicode's character classes, each made by a script under `scripts/`."""

import os


def read(name: str) -> bytes:
    """The content of one of the files in this folder.

    >>> len(read("gpt2_merges.bin"))
    200000
    """
    folder = os.path.dirname(__file__)  # noqa: PTH120 - importing pathlib would take longer than all else here
    with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH118, PTH123
        return file.read()
