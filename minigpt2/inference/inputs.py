"""The model's inputs, checked: every wrong shape or value is a `ValueError` that says what was expected."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigpt2.decoder import refuse_masked
from minigpt2.embeddings import token_ids
from minigpt2.inference.cache import Cache

Float32 = NDArray[np.float32]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]

HIDDEN = np.float32(np.finfo(np.float32).min / 4)  # exp(HIDDEN - x) is 0, and HIDDEN + HIDDEN + x stays finite
IGNORED_LABEL = -100  # as in torch


def batch_of_ids(ids: ArrayLike, vocab_size: int) -> Ids:
    """Ids of shape (texts, tokens); ids of shape (tokens,) are a batch of one text.

    Raises:
        TypeError: an id is not an integer.
        ValueError: an id is out of range, or the shape is another.
    """
    array = np.atleast_1d(token_ids(ids, vocab_size))
    if array.ndim > 2:
        raise ValueError(f"ids must have the shape (texts, tokens) or (tokens,), not {array.shape}")
    if not array.size:
        raise ValueError("there is no token: give at least one, for example <|endoftext|>")
    return array.reshape(-1, array.shape[-1])


def attention_mask_of(mask: ArrayLike | None, cache: Cache | None, shape: tuple[int, ...]) -> Mask:
    """Which tokens of each text count, shape (texts, tokens): those of the cache, and then new ones of this shape.

    Without a mask, the cache's own is continued: every new token counts.

    Raises:
        ValueError: the mask has another shape, holds other values than 0 and 1, or hides a whole text.
    """
    continued = np.ones(shape, bool)
    if cache is not None:
        continued = np.concatenate([cache.mask, continued], axis=1)
    if mask is None:
        return continued
    array = _rows("attention_mask", mask)
    if array.shape != continued.shape:
        raise ValueError(f"attention_mask must have the shape {continued.shape}, cached tokens too, not {array.shape}")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise ValueError("attention_mask must hold 1 for a token that counts and 0 for one that is padding")
    array = array.astype(bool)
    if not (whole := array.any(axis=1)).all():
        raise ValueError(f"text {int(np.argmin(whole))} of the batch is masked whole: leave it out")
    return array


def positions_of(mask: Mask, new: int, n_positions: int) -> Ids:
    """The position of each of the last `new` tokens of each text, shape (texts, new): padding has none, so it takes 0.

    transformers' `generate` computes them so from the mask; its plain call counts padding too.

    Raises:
        ValueError: a text has more tokens than the model has positions.
    """
    counted: Ids = np.cumsum(mask, axis=1)  # (texts, tokens)
    if (most := int(counted[:, -1].max())) > n_positions:
        raise ValueError(f"{most} tokens are more than the model's {n_positions} positions: cut the text")
    return np.asarray(np.maximum(counted[:, -new:] - 1, 0))


def padding_mask(mask: Mask) -> Float32 | None:
    """The number to add to every score of a key, shape (texts, 1, 1, tokens): `HIDDEN` if it is padding, else 0.

    None where nothing is padding. A padded token that may see nothing but padding looks at all of it equally: that is
    finite, and no other token sees it.
    """
    return None if mask.all() else np.where(mask, np.float32(0), HIDDEN)[:, None, None]


def _rows(name: str, values: ArrayLike) -> NDArray[Any]:
    """Values for each token of each text, or of one text, as an array."""
    refuse_masked(values)
    try:
        return np.atleast_2d(np.asarray(values))
    except ValueError:  # from numpy, whose message names nothing that the caller knows
        raise ValueError(f"{name} must have rows of the same length") from None


def labels_of(labels: ArrayLike, shape: tuple[int, ...], vocab_size: int, kept: slice | Ids) -> Ids:
    """The labels of a batch, of the ids' own shape; -100 stands where there is none.

    Raises:
        TypeError: a label is not an integer.
        ValueError: a label is neither -100 nor a token id, the shape is another, or not all logits are `kept`.
    """
    if not isinstance(kept, slice) or kept.start is not None:
        raise ValueError("labels need the logits of all positions: leave logits_to_keep at 0")
    array = _rows("labels", labels)
    if array.shape != shape:
        raise ValueError(f"labels must have the shape of the ids, {shape}, not {array.shape}")
    ignored = array == IGNORED_LABEL
    return np.where(ignored, IGNORED_LABEL, token_ids(np.where(ignored, 0, array), vocab_size))


def kept_positions(logits_to_keep: int | ArrayLike, new: int) -> slice | Ids:
    """Which of the `new` positions get logits: the last ones, all for 0, or those in an array of indices.

    Raises:
        TypeError: neither an integer nor integers.
        ValueError: below zero, or an index outside.
    """
    array = np.asarray(logits_to_keep)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError("logits_to_keep must be an integer, or a 1-D array of positions")
    if array.ndim == 1:
        if ((array < -new) | (array >= new)).any():
            raise ValueError(f"logits_to_keep has a position outside the {new} that were given")
        return array.astype(np.int64)
    if array < 0:
        raise ValueError(f"logits_to_keep must be at least 0, not {array}")
    return slice(-int(array), None) if array else slice(None)
