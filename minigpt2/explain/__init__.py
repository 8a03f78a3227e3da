"""What happened on the way from a text to its rows, for people: as data, in the terminal, as a page, in a notebook.

`trace` has the data and the function `explain`; everything that is shown draws from it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigpt2.explain.trace import Trace as Trace
    from minigpt2.explain.trace import explain as explain

__all__ = ["Trace", "explain"]


# Late, as in `minigpt2` itself: the command's tables use this room's `characters` and need no numpy for it.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'minigpt2.explain' has no attribute {name!r}")
    from minigpt2.explain import trace

    return getattr(trace, name)
