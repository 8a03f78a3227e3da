"""Write minigpt2/data/unicode_classes.txt: Unicode 16.0's letters, numbers and whitespace as ranges.

Needs a Unicode 16.0 database: `pip install unicodedata2==16.0.0`.
"""

from itertools import groupby
from pathlib import Path

import unicodedata2

# The property White_Space, which the database's Python interface does not give (PropList.txt, Unicode 16.0).
WHITE_SPACE = {
    *range(0x9, 0xE),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
}
WHITE_SPACE |= {0x3000}


def class_of(code_point: int) -> str:
    """`letter`, `number`, `space`, or nothing for all others."""
    if code_point in WHITE_SPACE:
        return "space"
    return {"L": "letter", "N": "number"}.get(unicodedata2.category(chr(code_point))[0], "")


def main() -> None:
    assert unicodedata2.unidata_version == "16.0.0", unicodedata2.unidata_version
    lines = []
    for name, group in groupby(range(0x110000), class_of):
        code_points = list(group)
        if name:
            lines.append(f"{name} {code_points[0]:04X} {code_points[-1]:04X}\n")
    target = Path(__file__).parents[1] / "minigpt2" / "data" / "unicode_classes.txt"
    target.write_text("".join(lines), "ascii")
    print(f"{target.name}: {len(lines)} ranges")


if __name__ == "__main__":
    main()
