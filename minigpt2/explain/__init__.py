"""The steps on the way from a text to the next word: as data, in the terminal, as a page, in a notebook.

`trace` has the data and the function `explain`; everything that is shown is drawn from it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigpt2.explain.trace import Trace as Trace
    from minigpt2.explain.trace import explain as explain

__all__ = ["Trace", "explain"]

#: The parts of a trace that the terminal can show alone.
PARTS = ("tokens", "merges", "rows", "attention", "lens", "next")


# Late, as in `minigpt2` itself: the command's tables use `characters` from here, and need no numpy for it.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'minigpt2.explain' has no attribute {name!r}")
    from minigpt2.explain import trace

    return getattr(trace, name)
