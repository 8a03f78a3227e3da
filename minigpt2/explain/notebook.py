"""A trace in a notebook: the text in its tokens, each with its id."""

from html import escape
from typing import Final

from minigpt2.explain.characters import visible
from minigpt2.explain.trace import Token, Trace

MOST_TOKENS: Final = 500

# Backgrounds for neighbouring pretokens, with black text on them: they read the same in a light and a dark notebook.
_COLOURS: Final = ("#bfe3ff", "#bdeebf", "#f5e0a6", "#ffcbe5", "#ffd2b8", "#ddd0ff")


def trace_html(trace: Trace) -> str:
    """The text in its tokens as HTML, coloured by pretoken; whatever is in the text is shown as text."""
    shown = "".join(map(_token_html, trace.tokens[:MOST_TOKENS]))
    counts = f"{len(trace.text):,} characters, {len(trace.pretokens):,} pretokens, {len(trace.tokens):,} tokens"
    if len(trace.tokens) > MOST_TOKENS:
        counts += f", the first {MOST_TOKENS} shown"
    return f'<div style="line-height:3.2em;font-family:monospace">{shown}</div><small>{counts}</small>'


def _token_html(token: Token) -> str:
    colour = _COLOURS[token.pretoken % len(_COLOURS)]
    where = escape(f"{token.written}, bytes {token.data.hex(' ')}, characters {token.start} to {token.end}", quote=True)
    return (
        f'<span title="{where}" style="display:inline-block;line-height:1.3em;margin:1px;padding:2px 5px;'
        f'border-radius:4px;background:{colour};color:#000"><bdi>{escape(visible(token.data))}</bdi>'
        f'<br><span style="font-size:75%">{token.id}</span></span>'
    )
