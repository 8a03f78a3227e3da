"""Write Unicode 16.0's letters, numbers and whitespace, and its word characters, as ranges into minigpt2/data.

Needs a Unicode 16.0 database: `pip install unicodedata2==16.0.0`.
"""

from collections.abc import Callable, Iterator
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


# The property Alphabetic beyond letters, marks and letter numbers (circled and squared letters; PropList.txt,
# Unicode 16.0), and the property Join_Control.
ALPHABETIC_SYMBOLS = {*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A)}
ALPHABETIC_SYMBOLS |= {*range(0x1F170, 0x1F18A)}
JOIN_CONTROL = {0x200C, 0x200D}

DATA = Path(__file__).parents[1] / "minigpt2" / "data"


def class_of(code_point: int) -> str:
    """`letter`, `number`, `space`, or nothing for all others."""
    if code_point in WHITE_SPACE:
        return "space"
    return {"L": "letter", "N": "number"}.get(unicodedata2.category(chr(code_point))[0], "")


def is_word(code_point: int) -> str:
    """`word` for what regular expressions call `\\w` (Unicode Technical Standard 18), or nothing for all others."""
    category = unicodedata2.category(chr(code_point))
    is_one = category[0] in "LM" or category in ("Nd", "Nl", "Pc") or code_point in ALPHABETIC_SYMBOLS | JOIN_CONTROL
    return "word" if is_one else ""


def ranges(name_of: Callable[[int], str]) -> Iterator[tuple[str, int, int]]:
    """Each run of code points that have the same name: the name, the first, the last."""
    for name, group in groupby(range(0x110000), name_of):
        code_points = list(group)
        if name:
            yield name, code_points[0], code_points[-1]


def main() -> None:
    assert unicodedata2.unidata_version == "16.0.0", unicodedata2.unidata_version
    classes = [f"{name} {first:04X} {last:04X}\n" for name, first, last in ranges(class_of)]
    words = [f"{first:04X} {last:04X}\n" for _, first, last in ranges(is_word)]
    for name, lines in (("unicode_classes.txt", classes), ("word_characters.txt", words)):
        (DATA / name).write_text("".join(lines), "ascii")
        print(f"{name}: {len(lines)} ranges")


if __name__ == "__main__":
    main()
