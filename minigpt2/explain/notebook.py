"""A trace in a notebook: the text in its tokens, each with its id, and the next tokens."""

from html import escape
from typing import Final

from minigpt2.explain.characters import visible
from minigpt2.explain.layers import Layers
from minigpt2.explain.trace import Token, Trace
from minigpt2.explain.writing import shown_token

MOST_TOKENS: Final = 500
MOST_NEXT: Final = 8

# Backgrounds for neighbouring pretokens. With black text they are readable in light and in dark notebooks.
_COLOURS: Final = ("#bfe3ff", "#bdeebf", "#f5e0a6", "#ffcbe5", "#ffd2b8", "#ddd0ff")


def trace_html(trace: Trace) -> str:
    """The text in its tokens as HTML, coloured by pretoken. Markup in the text is shown as text."""
    shown = "".join(map(_token_html, trace.tokens[:MOST_TOKENS]))
    counts = f"{len(trace.text):,} characters, {len(trace.pretokens):,} pretokens, {len(trace.tokens):,} tokens"
    if len(trace.tokens) > MOST_TOKENS:
        counts += f", the first {MOST_TOKENS} shown"
    text = f'<div style="line-height:3.2em;font-family:monospace">{shown}</div><small>{counts}</small>'
    return text if trace.layers is None else text + _next_html(trace, trace.layers)


def _next_html(trace: Trace, layers: Layers) -> str:
    guesses = layers.next_tokens[:MOST_NEXT]
    listed = ", ".join(f"<code>{escape(shown_token(each.token))}</code> {each.probability:.1%}" for each in guesses)
    label = "" if trace.rows is None or trace.rows.label is None else f"<br><small>{escape(trace.rows.label)}</small>"
    return f"<div>next: {listed}{label}</div>"


def _token_html(token: Token) -> str:
    colour = _COLOURS[token.pretoken % len(_COLOURS)]
    where = escape(f"{token.written}, bytes {token.data.hex(' ')}, characters {token.start} to {token.end}", quote=True)
    return (
        f'<span title="{where}" style="display:inline-block;line-height:1.3em;margin:1px;padding:2px 5px;'
        f'border-radius:4px;background:{colour};color:#000"><bdi>{escape(visible(token.data))}</bdi>'
        f'<br><span style="font-size:75%">{token.id}</span></span>'
    )
