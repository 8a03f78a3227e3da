"""Hooks: functions that look at what the model computes at a named point, and may put another array there."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Hook = Callable[[Float32], Any]

LAYER_POINTS: Final = [
    *("ln_1", "attn.q", "attn.k", "attn.v", "attn.pattern", "attn.c_proj"),
    *("ln_2", "mlp.c_fc", "mlp.act", "mlp.c_proj"),
]


def hook_points(n_layer: int) -> list[str]:
    """The names of all points, in the order in which the model comes to them.

    >>> hook_points(1)[:3], hook_points(1)[-2:]
    (['embeddings', 'h.0.ln_1', 'h.0.attn.q'], ['h.0', 'ln_f'])
    """
    layers = [[*(f"h.{layer}.{point}" for point in LAYER_POINTS), f"h.{layer}"] for layer in range(n_layer)]
    return ["embeddings", *(point for layer in layers for point in layer), "ln_f"]


class Hooks:
    """The hooks of a call; called with a point and its array, it gives the array to go on with.

    Raises:
        ValueError: there is no such point.
        TypeError: a hook is not a function.
    """

    def __init__(self, hooks: Mapping[str, Hook] | None, n_layer: int) -> None:
        self._hooks = dict(hooks or {})
        points = hook_points(n_layer) if self._hooks else []
        for point, hook in self._hooks.items():
            if point not in points:
                close = ", ".join(get_close_matches(str(point), points)) or "hook_points(n_layer) lists them"
                raise ValueError(f"the model has no point {point!r} to hook; close to it: {close}")
            if not callable(hook):
                raise TypeError(f"the hook at {point!r} must be a function, not {type(hook).__name__}")

    def __contains__(self, point: str) -> bool:
        return point in self._hooks

    def __call__(self, point: str, array: Float32) -> Float32:
        """The array that the hook at this point returns, or else `array` itself.

        Raises:
            ValueError: it returned an array of another shape.
            TypeError: it returned something other than real numbers.
        """
        if point not in self._hooks or (returned := self._hooks[point](array)) is None:
            return array
        other = np.asarray(returned)
        if other.dtype.kind not in "fiub":
            raise TypeError(f"the hook at {point!r} must return real numbers or None, not {type(returned).__name__}")
        if other.shape != array.shape:
            raise ValueError(f"the hook at {point!r} returned shape {other.shape} in place of {array.shape}")
        return other.astype(np.float32, copy=False)
