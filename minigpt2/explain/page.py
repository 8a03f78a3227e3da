"""A trace as a page: one HTML file that opens anywhere, needs no other file and makes no request.

The folder `assets` has the parts of the page. Here they are put together with the data that the scripts draw.
"""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from minigpt2 import __version__
from minigpt2.explain.payload import payload
from minigpt2.explain.trace import Trace

# The page's scripts, in the order in which one builds on another.
_SCRIPTS: Final = (
    *("dom", "text", "selection", "runs", "tokens", "pretokens", "bytes", "tree", "player", "training", "ids"),
    *("heat", "rows", "plane", "near", "attention", "lens", "next", "file", "live", "main"),
)
_STYLES: Final = ("base", "tokens", "merges", "rows", "layers", "print")


def page(trace: Trace, *, live: bool = False) -> str:
    """The page that shows a trace; a `live` one has a box for text and asks the server that it came from.

    >>> from minigpt2 import Tokenizer
    >>> from minigpt2.explain import explain
    >>> "<script>alert" in page(explain(Tokenizer(), "<script>alert(1)</script>"))
    False
    """
    style = "\n".join(_part(f"{name}.css") for name in _STYLES)
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
    for name, part in parts.items():  # the trace last, so that nothing in it is replaced
        html = html.replace("{{" + name + "}}", part, 1)
    return html


def as_script_data(value: Any) -> str:
    """JSON for a `<script>` of data. It has no `<`, so it cannot end the script or open anything."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


# In JSON these occur only in strings, where an escape means the same. Old readers take the separators for line ends.
_ESCAPES: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\x7f\u2028\u2029\ufeff"}


def _policy(style: str, script: str, live: bool) -> str:
    """The page's permissions: run this script, use this style and, if it is live, ask its server."""
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
