"""A trace in the terminal: the text in its tokens, the merges of each pretoken as a tree, the rows."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final

from minigpt2.explain.characters import display_width, visible
from minigpt2.explain.rows import Rows
from minigpt2.explain.trace import LONGEST_RECORDED, SPECIAL_TOKEN, Pretoken, Token, Trace, replay
from minigpt2.explain.tree import draw
from minigpt2.pretokenize import BRANCHES

#: Of a longer text only the beginning is shown, and that is said.
MOST_TOKENS: Final = 1000
MOST_PRETOKENS: Final = 40
_MOST_CANDIDATES: Final = 6

# Backgrounds of the 256-colour palette for neighbouring pretokens, each in two shades for the tokens of one.
_SHADES: Final = ((153, 117), (157, 114), (229, 221), (225, 218), (223, 216), (159, 116))


@dataclass(frozen=True, slots=True)
class _Paint:
    """Colours where the terminal has them, the bare text where not."""

    on: bool

    def _painted(self, text: str, codes: str) -> str:
        return f"\x1b[{codes}m{text}\x1b[0m" if self.on else text

    def dim(self, text: str) -> str:
        return self._painted(text, "2")

    def strong(self, text: str) -> str:
        return self._painted(text, "1")

    def token(self, text: str, pretoken: int, place: int) -> str:
        return self._painted(text, f"38;5;16;48;5;{_SHADES[pretoken % len(_SHADES)][place % 2]}")

    def special(self, text: str) -> str:
        return self._painted(text, "7")


def render(trace: Trace, *, width: int = 80, colour: bool = False, steps: bool = False) -> Iterator[str]:
    """The lines that show a trace on a terminal of `width` columns; with `steps`, each merge with its candidates.

    >>> from minigpt2 import Tokenizer
    >>> from minigpt2.explain import explain
    >>> print(next(render(explain(Tokenizer(), "It's naïveté"))))
    It  's  ·na|ï|vet|é
    """
    paint = _Paint(colour)
    if not trace.tokens:
        yield "The text is empty: it has no pretokens, no tokens and no rows."
        return
    yield from _text(trace, width, paint)
    yield ""
    yield from _wrapped([str(token.id) for token in trace.tokens[:MOST_TOKENS]], width, " ")
    yield ""
    yield paint.dim(_counts(trace))
    yield from _pretokens(trace, width, paint, steps)
    if trace.rows is not None:
        yield from _rows(trace, trace.rows, width, paint)


def _counts(trace: Trace) -> str:
    nbytes = sum(len(pretoken.data) for pretoken in trace.pretokens)
    counts = {
        "character": len(trace.text),
        "byte": nbytes,
        "pretoken": len(trace.pretokens),
        "token": len(trace.tokens),
    }
    shown = " → ".join(f"{count:,} {noun}{'s' if count != 1 else ''}" for noun, count in counts.items())
    return shown if len(trace.tokens) <= MOST_TOKENS else f"{shown}; the first {MOST_TOKENS:,} tokens are shown above"


# ---- the text in its tokens


def _text(trace: Trace, width: int, paint: _Paint) -> Iterator[str]:
    """Tokens divided by `|`, pretokens by two spaces; in colour, pretokens by hue and their tokens by shade."""
    words = []
    for index, tokens in groupby(trace.tokens[:MOST_TOKENS], key=lambda token: token.pretoken):
        special = trace.pretokens[index].branch == SPECIAL_TOKEN
        parts = [visible(token.data) for token in tokens]
        painted = [paint.special(part) if special else paint.token(part, index, i) for i, part in enumerate(parts)]
        words.append((parts, painted))
    yield from _flow(words, width, *(("", "") if paint.on else ("|", "  ")))


def _flow(words: Iterable[tuple[list[str], list[str]]], width: int, between: str, apart: str) -> Iterator[str]:
    """Words, each in parts and the same painted, in lines of `width`; a line also ends after a `↵`."""
    line, used = "", 0
    for parts, painted in words:
        for place, (part, shown) in enumerate(zip(parts, painted, strict=True)):
            separator = between if place else apart
            needed = display_width(part) + len(separator)
            if used and used + needed > width:
                yield line
                line, used = "", 0
            line += (separator if used else "") + shown
            used += needed
        if parts[-1].endswith("↵"):
            yield line
            line, used = "", 0
    if used:
        yield line


def _wrapped(words: Sequence[str], width: int, separator: str) -> Iterator[str]:
    yield from _flow([([word], [word]) for word in words], width, "", separator)


# ---- the merges of each pretoken


def _pretokens(trace: Trace, width: int, paint: _Paint, steps: bool) -> Iterator[str]:
    """A block for each different pretoken."""
    different = {(each.text, each.branch): place for place, each in reversed([*enumerate(trace.pretokens)])}
    places = sorted(different.values())
    for place in places[:MOST_PRETOKENS]:
        yield ""
        yield from _pretoken(trace.pretokens[place], place, width, paint, steps)
    if more := places[MOST_PRETOKENS:]:
        yield ""
        yield paint.dim(f"… and {len(more):,} more different pretokens: --json has every one")


def _pretoken(pretoken: Pretoken, place: int, width: int, paint: _Paint, steps: bool) -> Iterator[str]:
    name = _cut(visible(pretoken.data), width // 2)
    where = f"characters {pretoken.start} to {pretoken.end}"
    if pretoken.branch == SPECIAL_TOKEN:
        yield f"{paint.special(name)}  {paint.dim(f'{where}, a special token, found before the split')}"
        yield f"  {pretoken.ids[0]}"
        return
    branch = f"{pretoken.branch.replace('_', ' ')}  {BRANCHES[pretoken.branch].replace(' ?', '␣?')}"
    yield f"{paint.token(name, place, 0)}  {paint.dim(f'{where}, {branch}')}"
    if pretoken.merges is None:
        yield f"  {len(pretoken.data):,} bytes → {len(pretoken.ids):,} tokens: {_why_unrecorded(pretoken)}"
        return
    if len(pretoken.data) == 1:
        yield f"  {pretoken.characters}  {pretoken.data.hex()}  {pretoken.ids[0]}"
        return
    lines = draw(pretoken, width - 2)
    if lines is None and not steps:
        lines = [f"{len(pretoken.data)} bytes, a tree too wide for this terminal: --steps lists its merges"]
    yield from (f"  {line}" for line in lines or ())
    if steps:
        yield from _steps(pretoken, width, paint)


def _why_unrecorded(pretoken: Pretoken) -> str:
    if len(pretoken.data) > LONGEST_RECORDED:
        return f"merges are recorded up to {LONGEST_RECORDED} bytes"
    return "the text has too many merges to record them all"


def _steps(pretoken: Pretoken, width: int, paint: _Paint) -> Iterator[str]:
    """Each merge: the symbols with the pair in brackets, the product and its rank, and the pairs it was chosen from."""
    merges = pretoken.merges or ()
    states = replay(pretoken.characters, merges, lambda merge: merge.token)
    for number, (symbols, merge) in enumerate(zip(states, merges, strict=False), start=1):
        at = merge.position
        shown = [*symbols[:at], f"[{symbols[at]} {symbols[at + 1]}]", *symbols[at + 2 :]]
        yield from _hanging(f"{number:>4}  ", shown, width, " ")
        ranks = sorted((rank, symbols[place] + symbols[place + 1]) for rank, place in merge.candidates)
        listed = [f"{pair} {rank}" for rank, pair in ranks[:_MOST_CANDIDATES]]
        if len(ranks) > _MOST_CANDIDATES:
            listed.append(f"{len(ranks) - _MOST_CANDIDATES} more")
        chosen = f"      → {paint.strong(merge.token)}  rank {merge.rank}"
        yield chosen + (
            paint.dim(f", the lowest of {', '.join(listed)}") if len(ranks) > 1 else paint.dim(", the only pair")
        )
    yield from _hanging("      ", states[-1], width, " ")
    end = "no pair left is in the list of merges" if len(states[-1]) > 1 else "one token: nothing is left to merge"
    yield paint.dim(f"      {end}")


def _hanging(start: str, words: Sequence[str], width: int, separator: str) -> Iterator[str]:
    for place, line in enumerate(_wrapped(words, width - len(start), separator)):
        yield (" " * len(start) if place else start) + line


# ---- the rows


def _rows(trace: Trace, rows: Rows, width: int, paint: _Paint) -> Iterator[str]:
    yield ""
    yield f"{rows.wte.name}: {rows.wte.dtype} {rows.wte.shape}, {rows.wte.row_size:,} bytes a row, in {rows.wte.file}"
    if rows.label is not None:
        yield rows.label
    first = {token.id: (place, token) for place, token in reversed([*enumerate(trace.tokens[: len(rows.tokens)])])}
    shown = sorted(first.values(), key=lambda each: each[0])[:MOST_PRETOKENS]
    header = ["id", "token", "bytes of the file", "first values", "nearest tokens"]
    cells = [_row_cells(rows, place, token) for place, token in shown]
    for line in _columns([header, *cells], width):
        yield paint.dim(line) if line.lstrip().startswith("id ") else line
    if len(first) > len(shown):
        yield paint.dim(f"… and {len(first) - len(shown):,} more different tokens")
    if len(trace.tokens) > len(rows.tokens):
        yield f"The model has {rows.wpe.shape[0]:,} positions: the rows of {len(rows.tokens):,} tokens are looked up."


def _row_cells(rows: Rows, place: int, token: Token) -> list[str]:
    begin, end = rows.wte.row(token.id)
    values = " ".join(f"{value:+.4f}" for value in rows.tokens[place, :3].tolist())
    near = "  ".join(visible(each.token.encode("utf-8")) for each in rows.neighbours.get(token.id, ())[:3])
    return [str(token.id), _cut(visible(token.data), 20), f"{begin:,} to {end:,}", f"{values} …", near]


def _columns(lines: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Lines of cells in columns that line up, cut at the terminal's edge."""
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell + " " * (room - display_width(cell)) for cell, room in zip(line, widths, strict=True)]
        yield _cut("  ".join(cells).rstrip(), width)


def _cut(text: str, width: int) -> str:
    """The text if it fits, or else as much of it as does with `…` behind it."""
    if display_width(text) <= width:
        return text
    used = list(accumulate(map(display_width, text)))
    return text[: bisect_right(used, width - 1)] + "…"
