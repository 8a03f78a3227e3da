"""The model, number by number that of transformers: as near to float64 as transformers is itself."""

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint
from scripts.standin import standin
from tests.random_gpt2 import random_config, random_model, saved_model

SEEDS = range(24)
Array = NDArray[Any]


def answers(model: GPT2LMHeadModel, ids: Array, **options: Any) -> Any:
    with torch.no_grad():
        return model(torch.as_tensor(ids), **options)


def assert_as_near(ours: Array, theirs: torch.Tensor, exact: torch.Tensor) -> None:
    """Whether our numbers are at most twice as far from float64's as those of transformers."""
    assert ours.dtype == np.float32 and ours.shape == tuple(theirs.shape)
    own_error = (theirs.double() - exact).abs().max().item()
    error = np.abs(ours - exact.numpy()).max()
    least = 16 * np.finfo(np.float32).eps * exact.abs().max().item()  # transformers may be near by luck
    assert error <= max(2 * own_error, least)


class Trio:
    """One model three times: ours, that of transformers, and that of transformers in float64."""

    def __init__(self, directory: Path, seed: int, **changes: Any) -> None:
        self.theirs = saved_model(directory, seed, **changes)
        self.exact = copy.deepcopy(self.theirs).double()
        layers: Any = self.exact.transformer.h
        for block in layers:
            block.attn.reorder_and_upcast_attn = False  # which would compute in float32
        self.ours = GPT2(Checkpoint.open(directory))
        self.config = self.theirs.config
        self.random = np.random.default_rng(seed)

    def ids(self, texts: int, tokens: int) -> Array:
        return self.random.integers(0, self.config.vocab_size, (texts, tokens))

    def compare(self, ids: Array) -> None:
        """Compare everything that a call gives."""
        wanted: dict[str, Any] = {"output_hidden_states": True, "output_attentions": True}
        ours: Any = self.ours(ids, **wanted)
        theirs, exact = answers(self.theirs, ids, **wanted), answers(self.exact, ids, **wanted)
        assert_as_near(ours.logits, theirs.logits, exact.logits)
        assert len(ours.hidden_states) == len(theirs.hidden_states) == self.config.n_layer + 1
        for states in zip(ours.hidden_states, theirs.hidden_states, exact.hidden_states, strict=True):
            assert_as_near(*states)
        assert len(ours.attentions) == len(theirs.attentions) == self.config.n_layer
        for patterns in zip(ours.attentions, theirs.attentions, exact.attentions, strict=True):
            assert_as_near(*patterns)


@pytest.mark.parametrize("seed", SEEDS)
def test_logits_hidden_states_and_attentions_are_those_of_transformers(tmp_path: Path, seed: int) -> None:
    trio = Trio(tmp_path, seed)
    for texts, tokens in ((1, 1), (1, 5), (2, 7), (1, trio.config.n_positions)):
        trio.compare(trio.ids(texts, tokens))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("max_shard_size", ["1GB", "20KB"])
def test_weights_of_every_precision_and_in_shards_become_float32(
    tmp_path: Path, dtype: str, max_shard_size: str
) -> None:
    model: Any = random_model(random_config(3, n_embd=24, n_head=3))
    model.to(getattr(torch, dtype)).save_pretrained(tmp_path, max_shard_size=max_shard_size)
    ids = np.arange(7)[None]
    expected = answers(model.float(), ids).logits
    assert_as_near(GPT2(Checkpoint.open(tmp_path))(ids).logits, expected, answers(model.double(), ids).logits)


def padded(texts: list[Array], side: str) -> tuple[Array, Array]:
    """Ids and mask of texts of several lengths, padded on one side with token 5."""
    length = max(map(len, texts))
    gaps = [((length - len(text), 0), (0, length - len(text)))[side == "right"] for text in texts]
    ids = [np.pad(text, gap, constant_values=5) for text, gap in zip(texts, gaps, strict=True)]
    mask = [np.pad(np.ones(len(text), int), gap) for text, gap in zip(texts, gaps, strict=True)]
    return np.array(ids), np.array(mask)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("seed", SEEDS[:12])
def test_padding_changes_nothing(tmp_path: Path, seed: int, side: str) -> None:
    trio = Trio(tmp_path, seed)
    texts = [trio.ids(1, tokens)[0] for tokens in (1, 9, 4)]
    ids, mask = padded(texts, side)
    output: Any = trio.ours(ids, mask, output_hidden_states=True, output_attentions=True)
    position_ids = torch.tensor(np.maximum(mask.cumsum(1) - 1, 0))
    theirs, exact = (
        answers(model, ids, attention_mask=torch.tensor(mask), position_ids=position_ids)
        for model in (trio.theirs, trio.exact)
    )
    counts = torch.tensor(mask, dtype=torch.bool)
    assert_as_near(output.logits[mask == 1], theirs.logits[counts], exact.logits[counts])
    for array in (output.logits, *output.hidden_states, *output.attentions):
        assert np.isfinite(array).all()
    for text, counted, logits in zip(texts, mask == 1, output.logits, strict=True):
        alone, exactly = answers(trio.theirs, text[None]).logits[0], answers(trio.exact, text[None]).logits[0]
        assert_as_near(logits[counted], alone, exactly)


@pytest.mark.parametrize("seed", SEEDS[:12])
def test_a_cache_may_be_cut_at_any_place(tmp_path: Path, seed: int) -> None:
    trio = Trio(tmp_path, seed)
    ids = trio.ids(2, 9)
    theirs, exact = answers(trio.theirs, ids).logits, answers(trio.exact, ids).logits
    cache = trio.ours(ids, use_cache=True).past_key_values
    assert cache is not None
    for cut in (8, 7, 3, 1):
        cache.crop(cut)
        output = trio.ours(ids[:, cut:], past_key_values=cache)
        assert_as_near(output.logits, theirs[:, cut:], exact[:, cut:])
        assert len(cache) == 9


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_the_loss_is_that_of_transformers(tmp_path: Path, seed: int) -> None:
    trio = Trio(tmp_path, seed)
    ids = trio.ids(3, 9)
    labels = np.where(trio.random.random(ids.shape) < 0.3, -100, ids)
    for targets in (ids, labels):
        theirs, exact = (answers(model, ids, labels=torch.tensor(targets)).loss for model in (trio.theirs, trio.exact))
        loss = trio.ours(ids, labels=targets).loss
        assert loss == pytest.approx(exact.item(), abs=max(2 * abs(theirs.item() - exact.item()), 1e-6 * exact.item()))
    assert str(trio.ours([[1]], labels=[[1]]).loss) == "nan"
    assert trio.ours.token_losses(ids).mean() == pytest.approx(trio.ours(ids, labels=ids).loss, rel=1e-6)


@pytest.mark.parametrize("logits_to_keep", [0, 1, 3, 9, 20])
def test_logits_to_keep_means_the_same(tmp_path: Path, logits_to_keep: int) -> None:
    trio = Trio(tmp_path, 0)
    ids = trio.ids(2, 9)
    expected = answers(trio.theirs, ids, logits_to_keep=logits_to_keep).logits
    np.testing.assert_allclose(trio.ours(ids, logits_to_keep=logits_to_keep).logits, expected, rtol=0, atol=1e-4)
    some = np.array([0, 4, -1])
    expected = answers(trio.theirs, ids, logits_to_keep=torch.tensor(some)).logits
    np.testing.assert_allclose(trio.ours(ids, logits_to_keep=some).logits, expected, rtol=0, atol=1e-4)


def test_the_published_layout_at_its_full_size_gives_transformers_logits(tmp_path: Path) -> None:
    standin(tmp_path)
    ids = np.random.default_rng(0).integers(0, 50257, (2, 9))
    ours = GPT2(Checkpoint.open(tmp_path))
    model: Any = GPT2LMHeadModel.from_pretrained(tmp_path, attn_implementation="eager")
    theirs = answers(model, ids).logits
    greedy = model.generate(torch.tensor(ids), max_new_tokens=4, do_sample=False, pad_token_id=50256).tolist()
    exact = answers(model.double(), ids).logits
    shutil.rmtree(tmp_path)  # half a gigabyte, which pytest would keep for three runs
    logits = ours(ids).logits
    assert_as_near(logits, theirs, exact)
    best, second = exact.topk(2).values.unbind(-1)
    clear = (best - second).numpy() > 1e-5
    assert (logits.argmax(-1) == exact.argmax(-1).numpy())[clear].all() and clear.mean() > 0.9
    assert ours.generate(ids, 4).tolist() == greedy
