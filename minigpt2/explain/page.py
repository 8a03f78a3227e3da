"""A trace as a page: one HTML file that needs nothing else, opens anywhere, and asks nobody for anything.

The page's own parts are in the folder `assets`; here they are put together with the trace, which travels as JSON and is
drawn by the page's script.
"""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from minigpt2 import __version__, byte_alphabet
from minigpt2.explain.characters import segments
from minigpt2.explain.rows import Place, Rows
from minigpt2.explain.trace import LONGEST_RECORDED, SPECIAL_TOKEN, Pretoken, Trace
from minigpt2.pretokenize import BRANCHES

#: A page holds so many tokens of a text at most, the rows of so many, and so many values of each row.
MOST_TOKENS: Final = 20_000
MOST_ROWS: Final = 128
VALUES: Final = 64

# The page's scripts, in the order in which one builds on another.
_SCRIPTS: Final = ("dom", "tokens", "pretokens", "bytes", "merges", "rows", "file", "near", "main")


def page(trace: Trace, *, live: bool = False) -> str:
    """The page that shows a trace; a `live` one has a box for text, and asks the server that it came from.

    >>> from minigpt2 import Tokenizer
    >>> from minigpt2.explain import explain
    >>> "<script>alert" in page(explain(Tokenizer(), "<script>alert(1)</script>"))
    False
    """
    style = _part("page.css")
    script = "\n".join(_part(f"{name}.js") for name in _SCRIPTS)
    parts = {
        "policy": _policy(style, script, live),
        "style": style,
        "script": script,
        "live": "live" if live else "still",
        "version": __version__,
        "trace": as_script_data(payload(trace) | ({"text": trace.text} if live else {})),
    }
    html = _part("page.html")
    for name, part in parts.items():  # the trace last: nothing is looked for in what comes from outside
        html = html.replace("{{" + name + "}}", part, 1)
    return html


def payload(trace: Trace) -> dict[str, Any]:
    """What the page's script draws: the trace with its repetitions taken out, cut to what a page holds."""
    tokens = trace.tokens[:MOST_TOKENS]
    pretokens = trace.pretokens[: tokens[-1].pretoken + 1] if tokens else ()
    different = {(each.text, each.branch): each for each in pretokens}
    places = {key: place for place, key in enumerate(different)}
    written = {token.id: token for token in tokens}
    counts = np.bincount(np.frombuffer(b"".join(each.data for each in trace.pretokens), np.uint8), minlength=256)
    return {
        "counts": {
            "characters": len(trace.text),
            "bytes": int(counts.sum()),
            "pretokens": len(trace.pretokens),
            "tokens": len(trace.tokens),
        },
        "pretokens": [_pretoken(each) for each in different.values()],
        "sequence": [places[each.text, each.branch] for each in pretokens],
        "starts": [each.start for each in pretokens],
        "ids": [token.id for token in tokens],
        "offsets": [place for token in tokens for place in (token.start, token.end)],
        "inPretoken": [token.pretoken for token in tokens],
        "tokens": {
            token_id: {"written": token.written, "bytes": token.data.hex(" "), "shown": segments(token.data)}
            for token_id, token in written.items()
        },
        "branches": {**BRANCHES, SPECIAL_TOKEN: ""},
        "longestRecorded": LONGEST_RECORDED,
        "byteCounts": counts.tolist(),
        "alphabet": byte_alphabet.to_characters(bytes(range(256))),
        "moved": [byte for byte in byte_alphabet.ALPHABET_ORDER if byte_alphabet.to_characters(bytes([byte])) > "\xff"],
        "rows": None if trace.rows is None else _rows(trace, trace.rows),
    }


def as_script_data(value: Any) -> str:
    """JSON that may stand in a `<script>` of data: no `<` in it, so nothing that could end or open anything."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


# In JSON these stand in strings alone, where an escape means the same. The line separators end lines in old readers.
_ESCAPES: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\x7f\u2028\u2029\ufeff"}


def _pretoken(pretoken: Pretoken) -> dict[str, Any]:
    """A pretoken; one whose merges were not recorded only by its beginning."""
    recorded = pretoken.merges is not None
    shown = pretoken.data if recorded else pretoken.text[:64].encode("utf-8")
    return {
        "shown": segments(shown),
        "branch": pretoken.branch,
        "size": len(pretoken.data),
        "bytes": shown.hex(" "),
        "characters": pretoken.characters if recorded else "",
        "ids": pretoken.ids if recorded else (),
        "merges": None
        if pretoken.merges is None
        else [
            [merge.rank, merge.position, merge.product, [number for each in merge.candidates for number in each]]
            for merge in pretoken.merges
        ],
    }


def _rows(trace: Trace, rows: Rows) -> dict[str, Any]:
    return {
        "label": rows.label,
        "wte": _place(rows.wte),
        "wpe": _place(rows.wpe),
        "count": len(rows.tokens[:MOST_ROWS]),
        "values": min(VALUES, rows.wte.shape[1]),
        "type": rows.sums.dtype.name,
        "tokens": _base64(rows.tokens),
        "positions": _base64(rows.positions),
        "sums": _base64(rows.sums),
        "neighbours": {
            token_id: [[near.id, near.token, near.cosine] for near in found]
            for token_id, found in rows.neighbours.items()
        },
        "points": [[each.id, each.token, each.x, each.y, each.of_text] for each in rows.plane.points],
        "shares": rows.plane.shares,
    }


def _place(place: Place) -> dict[str, Any]:
    return {
        "name": place.name,
        "dtype": place.dtype,
        "shape": place.shape,
        "file": place.file,
        "fileSize": place.file_size,
        "begin": place.begin,
        "end": place.end,
        "rowSize": place.row_size,
    }


def _base64(rows: NDArray[Any]) -> str:
    """The first values of the first rows as little-endian numbers of 4 bytes, or of 8 where they are float64."""
    shown = rows[:MOST_ROWS, :VALUES]
    return b64encode(shown.astype("<f8" if shown.dtype == np.float64 else "<f4").tobytes()).decode("ascii")


def _policy(style: str, script: str, live: bool) -> str:
    """What the page may do: run this script and use this style; ask this server, if it is live; nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "connect-src 'self'" if live else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(source: str) -> str:
    # The source between the tags, line ends next to them included.
    digest = sha256(f"\n{source}\n".encode()).digest()
    return f"'sha256-{b64encode(digest).decode('ascii')}'"


@cache
def _part(name: str) -> str:
    return files("minigpt2").joinpath("explain/assets", name).read_text("utf-8")
