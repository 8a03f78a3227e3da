"""A trace in the terminal: the text in its tokens, the merges of each pretoken as a tree, the rows, the layers."""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Final

from minigpt2.explain.characters import cut, display_width, visible
from minigpt2.explain.merge_tree import draw
from minigpt2.explain.rows import Rows
from minigpt2.explain.terminal_layers import attention_lines, lens_lines, next_lines, require_head
from minigpt2.explain.trace import SPECIAL_TOKEN, Merge, Pretoken, Token, Trace, replay
from minigpt2.explain.writing import Paint, columns, filled, flow, hanging, shown_token, wrapped
from minigpt2.pretokenize import BRANCHES

NO_LAYERS: Final = (
    "Attention and the next word need the layers of a model on this machine: `minigpt2 download` gets GPT-2's, "
    "`--model bundled` has a small model's."
)

#: Of a longer text only the beginning is shown, and that is said.
MOST_TOKENS: Final = 1000
MOST_PRETOKENS: Final = 40
_MOST_CANDIDATES: Final = 6


def render(
    trace: Trace,
    *,
    width: int = 80,
    colour: bool = False,
    steps: bool = False,
    part: str | None = None,
    head: tuple[int, int] = (0, 0),
) -> Iterator[str]:
    """The lines that show a trace on a terminal of `width` columns, all of `PARTS` or one of them.

    With `steps` each merge is shown with its candidates. `head` is the layer and the head whose attention is shown.

    Raises:
        ValueError: the model has no such head, or the trace has no such part.

    >>> from minigpt2 import Tokenizer
    >>> from minigpt2.explain import explain
    >>> print(next(render(explain(Tokenizer(), "It's naïveté"))))
    It  's  ·na|ï|vet|é
    """
    paint = Paint(colour)
    if not trace.tokens:
        yield (
            "The text has no byte that is in the vocabulary."
            if trace.text
            else "The text is empty, so it has no tokens."
        )
        return
    shown: dict[str, Callable[[], Iterator[str]]] = {
        "tokens": lambda: _tokens(trace, width, paint),
        "merges": lambda: _pretokens(trace, width, paint, steps),
    }
    if trace.rows is not None:
        rows = trace.rows
        shown["rows"] = lambda: _rows(trace, rows, width, paint)
    if trace.layers is not None:
        layers = trace.layers
        require_head(layers, head)
        shown["attention"] = lambda: attention_lines(trace, layers, head, width)
        shown["lens"] = lambda: lens_lines(layers, width)
        shown["next"] = lambda: next_lines(layers, width)
    if part is not None and part not in shown:
        if trace.fault:
            raise ValueError(f"{part} needs the model's layers, and {trace.fault}")
        needed = "weights" if part == "rows" else "the layers of a model on this machine"
        raise ValueError(f"{part} needs {needed}: --model bundled has a small model's")
    label = None if trace.rows is None else trace.rows.label
    for index, name in enumerate(shown if part is None else [part]):
        if index:
            yield ""
        if label is not None and name not in ("tokens", "merges"):
            yield from filled(label, width)
        yield from shown[name]()
    if part is None and trace.rows is not None and trace.layers is None:
        yield ""
        said = f"Attention and the next word need the model's layers, and {trace.fault}." if trace.fault else NO_LAYERS
        yield from filled(said, width)


def _tokens(trace: Trace, width: int, paint: Paint) -> Iterator[str]:
    yield from _text(trace, width, paint)
    yield ""
    yield from wrapped([str(token.id) for token in trace.tokens[:MOST_TOKENS]], width, " ")
    yield ""
    for line in filled(_counts(trace), width):
        yield paint.dim(line)


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


def _text(trace: Trace, width: int, paint: Paint) -> Iterator[str]:
    """Tokens divided by `|`, pretokens by two spaces; in colour, pretokens by hue and their tokens by shade."""
    words = []
    for index, tokens in groupby(trace.tokens[:MOST_TOKENS], key=lambda token: token.pretoken):
        special = trace.pretokens[index].branch == SPECIAL_TOKEN
        parts = [cut(visible(token.data), width) for token in tokens]
        painted = [paint.special(part) if special else paint.token(part, index, i) for i, part in enumerate(parts)]
        words.append((parts, painted))
    yield from flow(words, width, *(("", "") if paint.on else ("|", "  ")))


# ---- the merges of each pretoken


def _pretokens(trace: Trace, width: int, paint: Paint, steps: bool) -> Iterator[str]:
    """A block for each different pretoken."""
    different = {(each.text, each.branch): index for index, each in reversed([*enumerate(trace.pretokens)])}
    indices = sorted(different.values())
    for order, index in enumerate(indices[:MOST_PRETOKENS]):
        if order:
            yield ""
        yield from _pretoken(trace.pretokens[index], index, width, paint, steps)
    if more := indices[MOST_PRETOKENS:]:
        yield ""
        yield paint.dim(cut(f"… and {len(more):,} more different pretokens: --json has every one", width))


def _pretoken(pretoken: Pretoken, index: int, width: int, paint: Paint, steps: bool) -> Iterator[str]:
    name = cut(visible(pretoken.data[: 8 * width]), width // 2)  # of a long one the beginning is enough
    room = width - display_width(name) - 2
    where = f"characters {pretoken.start} to {pretoken.end}"
    if pretoken.branch == SPECIAL_TOKEN:
        found = f"{where}, a special token, found before the split"
        how = found if pretoken.end > pretoken.start else "a special token, which the tokenizer puts around every text"
        yield f"{paint.special(name)}  {paint.dim(cut(how, room))}"
        yield f"  {pretoken.ids[0]}"
        return
    branch = f"{pretoken.branch.replace('_', ' ')}  {BRANCHES[pretoken.branch].replace(' ?', '·?')}"
    yield f"{paint.token(name, index, 0)}  {paint.dim(cut(f'{where}, {branch}', room))}"
    if pretoken.merges is None:
        said = f"{len(pretoken.data):,} bytes → {len(pretoken.ids):,} tokens: {pretoken.unrecorded}"
        yield from (f"  {line}" for line in filled(said, width - 2))
        return
    if len(pretoken.data) == 1:
        yield f"  {pretoken.characters}  {pretoken.data.hex()}  {pretoken.ids[0]}"
        return
    lines = draw(pretoken, width - 2)
    if lines is None and not steps:
        said = f"{len(pretoken.data)} bytes, a tree too wide for this terminal: --steps lists its merges"
        lines = filled(said, width - 2)
    yield from (f"  {line}" for line in lines or ())
    if steps:
        yield from _steps(pretoken, width, paint)


def _steps(pretoken: Pretoken, width: int, paint: Paint) -> Iterator[str]:
    """Each merge: the symbols with the pair in brackets, the product and its rank, and the pairs it was chosen from."""
    merges = pretoken.merges or ()
    states = [
        [cut(symbol, width - 8) for symbol in symbols]
        for symbols in replay(pretoken.characters, merges, lambda merge: merge.token)
    ]
    for number, (symbols, merge) in enumerate(zip(states, merges, strict=False), start=1):
        at = merge.position
        shown = [*symbols[:at], f"[{symbols[at]}", f"{symbols[at + 1]}]", *symbols[at + 2 :]]
        yield from hanging(f"{number:>4}  ", shown, width, " ")
        rank = f"  rank {merge.rank}"
        token = cut(merge.token, width - 9 - len(rank))
        room = width - 8 - display_width(token) - len(rank)
        yield f"      → {paint.strong(token)}{rank}{paint.dim(cut(f', {_rivals(merge, symbols)}', room))}"
    yield from hanging("      ", states[-1], width, " ")
    end = "no pair left is in the list of merges" if len(states[-1]) > 1 else "one token: nothing is left to merge"
    yield paint.dim(cut(f"      {end}", width))


def _rivals(merge: Merge, symbols: list[str]) -> str:
    """The pairs that a merge was chosen from, the lowest ranks first."""
    ranks = sorted((rank, symbols[position] + symbols[position + 1]) for rank, position in merge.candidates)
    listed = [f"{pair} {rank}" for rank, pair in ranks[:_MOST_CANDIDATES]]
    if len(ranks) > _MOST_CANDIDATES:
        listed.append(f"{len(ranks) - _MOST_CANDIDATES} more")
    return f"the lowest of {', '.join(listed)}" if len(ranks) > 1 else "the only pair"


# ---- the rows


def _rows(trace: Trace, rows: Rows, width: int, paint: Paint) -> Iterator[str]:
    matrix = rows.wte
    yield from filled(
        f"{matrix.name}: {matrix.dtype} {matrix.shape}, {matrix.row_size:,} bytes a row, in {matrix.file}", width
    )
    first = {token.id: (index, token) for index, token in reversed([*enumerate(trace.tokens[: len(rows.tokens)])])}
    shown = sorted(first.values(), key=lambda each: each[0])[:MOST_PRETOKENS]
    header = ["id", "token", "first values", "nearest tokens", "bytes of the file"]
    cells = [_row_cells(rows, index, token) for index, token in shown]
    for number, line in enumerate(columns([header, *cells], width)):
        yield line if number else paint.dim(line)
    if len(first) > len(shown):
        yield paint.dim(f"… and {len(first) - len(shown):,} more different tokens")
    if len(trace.tokens) > len(rows.tokens):
        yield from filled(f"The model has {rows.wpe.shape[0]:,} positions: only so many tokens have a row here.", width)


def _row_cells(rows: Rows, index: int, token: Token) -> list[str]:
    begin, end = rows.wte.row(token.id)
    values = " ".join(f"{value:+.2f}" for value in rows.tokens[index, :3].tolist())
    near = "  ".join(shown_token(each.token) for each in rows.neighbours.get(token.id, ())[:3])
    return [str(token.id), cut(visible(token.data), 20), f"{values} …", near, f"{begin:,} to {end:,}"]
