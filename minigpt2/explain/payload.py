"""The data of a page: a trace without its repetitions, cut to what a page holds, for the page's scripts to draw."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from minigpt2 import byte_alphabet
from minigpt2.explain.characters import segments
from minigpt2.explain.layers import Guess, Layers
from minigpt2.explain.rows import Rows
from minigpt2.explain.trace import SPECIAL_TOKEN, Pretoken, Trace
from minigpt2.pretokenize import BRANCHES
from minigpt2.vocabulary import bytes_of

#: A page holds so many tokens of a text at most, the rows of so many, and so many values of each row.
MOST_TOKENS: Final = 20_000
MOST_ROWS: Final = 128
VALUES: Final = 64


def payload(trace: Trace) -> dict[str, Any]:
    """The data for the page's scripts, as JSON can hold it. Tokens are named by id; `tokens` has each of them once."""
    tokens = trace.tokens[:MOST_TOKENS]
    pretokens = trace.pretokens[: tokens[-1].pretoken + 1] if tokens else ()
    different = {(each.text, each.branch): each for each in pretokens}
    index_of = {key: index for index, key in enumerate(different)}
    byte_counts = np.bincount(
        np.frombuffer(b"".join(each.data for each in trace.pretokens if each.end > each.start), np.uint8), minlength=256
    )
    written = dict(_written(trace, list(different.values())))
    return {
        "counts": {
            "characters": len(trace.text),
            "bytes": int(byte_counts.sum()),
            "pretokens": len(trace.pretokens),
            "tokens": len(trace.tokens),
        },
        "pretokens": [_pretoken(each) for each in different.values()],
        "sequence": [index_of[each.text, each.branch] for each in pretokens],
        "ids": [token.id for token in tokens],
        "offsets": [offset for token in tokens for offset in (token.start, token.end)],
        "inPretoken": [token.pretoken for token in tokens],
        "tokens": {token_id: _token(text) for token_id, text in written.items()},
        "branches": {**BRANCHES, SPECIAL_TOKEN: ""},
        "byteCounts": byte_counts.tolist(),
        "alphabet": byte_alphabet.to_characters(bytes(range(256))),
        "moved": [byte for byte in byte_alphabet.ALPHABET_ORDER if byte_alphabet.to_characters(bytes([byte])) > "\xff"],
        "rows": None if trace.rows is None else _rows(trace.rows),
        "layers": None if trace.layers is None else _layers(trace.layers),
        "fault": trace.fault.encode("utf-8", "backslashreplace").decode("utf-8"),  # the path in it may not be UTF-8
    }


def _written(trace: Trace, pretokens: list[Pretoken]) -> Iterator[tuple[int, str]]:
    """Every token that the page names: its id, and the token as GPT-2 writes it."""
    for token in trace.tokens[:MOST_TOKENS]:
        yield token.id, token.written
    for pretoken in pretokens:
        if pretoken.merges is not None:
            yield from zip(pretoken.symbols, pretoken.characters, strict=pretoken.branch != SPECIAL_TOKEN)
            yield from ((merge.product, merge.token) for merge in pretoken.merges)
    if trace.rows is not None:
        yield from ((near.id, near.token) for found in trace.rows.neighbours.values() for near in found)
    if trace.layers is not None:
        yield from ((guess.id, guess.token) for row in trace.layers.lens for guesses in row for guess in guesses)
        yield from ((guess.id, guess.token) for guess in trace.layers.next_tokens)


def _token(written: str) -> dict[str, Any]:
    data, _ = bytes_of(written)
    return {"written": written, "bytes": data.hex(" "), "shown": segments(data)}


def _pretoken(pretoken: Pretoken) -> dict[str, Any]:
    """A pretoken; where its merges were not recorded, only the beginning of its text."""
    recorded = pretoken.merges is not None
    shown = pretoken.data if recorded else pretoken.text[:64].encode("utf-8")
    return {
        "shown": segments(shown),
        "branch": pretoken.branch,
        "size": len(pretoken.data),
        "bytes": shown.hex(" "),
        "symbols": pretoken.symbols if recorded else (),
        "ids": pretoken.ids if recorded else (),
        "unrecorded": pretoken.unrecorded,
        "merges": None
        if pretoken.merges is None
        else [
            [merge.rank, merge.position, merge.product, [number for each in merge.candidates for number in each]]
            for merge in pretoken.merges
        ],
    }


def _rows(rows: Rows) -> dict[str, Any]:
    return {
        "label": rows.label,
        "wte": asdict(rows.wte) | {"row_size": rows.wte.row_size},
        "wpe": asdict(rows.wpe),
        "count": len(rows.tokens[:MOST_ROWS]),
        "values": min(VALUES, rows.wte.shape[1]),
        "type": rows.sums.dtype.name,
        "tokens": _base64(rows.tokens),
        "positions": _base64(rows.positions),
        "sums": _base64(rows.sums),
        "neighbours": {
            token_id: [[near.id, near.cosine] for near in found] for token_id, found in rows.neighbours.items()
        },
        "points": [[each.id, each.x, each.y, each.of_text] for each in rows.plane.points],
        "shares": rows.plane.shares,
    }


def _base64(rows: NDArray[Any]) -> str:
    """The first values of the first rows as little-endian numbers of 4 bytes, or of 8 where they are float64."""
    shown = rows[:MOST_ROWS, :VALUES]
    return b64encode(shown.astype("<f8" if shown.dtype == np.float64 else "<f4").tobytes()).decode("ascii")


def _layers(layers: Layers) -> dict[str, Any]:
    n_layer, n_head, length, _ = layers.attentions.shape
    # What a token takes from later ones is 0, so the lower triangles are enough; 255 stands for 1.
    triangles = layers.attentions[:, :, *np.tril_indices(length)]  # (n_layer, n_head, T (T + 1) / 2)
    return {
        "count": n_layer,
        "heads": n_head,
        "length": length,
        "read": layers.tokens_read,
        "attentions": b64encode(np.rint(255 * triangles).astype(np.uint8).tobytes()).decode("ascii"),
        "lens": [[[_guess(guess) for guess in guesses] for guesses in row] for row in layers.lens],
        "next": [[guess.id, guess.logit] for guess in layers.next_tokens],
        "logSums": [[temperature, log_sum] for temperature, log_sum in layers.log_sums.items()],
    }


def _guess(guess: Guess) -> list[float]:
    return [guess.id, round(guess.probability, 4)]
