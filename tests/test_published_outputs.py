"""The answers of OpenAI's GPT-2 (124M), as others have published it. Run with `pytest -m hub`: 548 MB, unless cached.

`published_outputs.json` holds the facts, each with its source and tolerance.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigpt2 import GPT2, Tokenizer
from minigpt2.model import token_losses

pytestmark = pytest.mark.hub

PUBLISHED: Any = json.loads(Path(__file__).with_name("published_outputs.json").read_text())
EXPLAINER: Any = PUBLISHED["transformer_explainer"]


@pytest.fixture(scope="module")
def model() -> GPT2:
    return GPT2.from_pretrained("gpt2")


@pytest.mark.parametrize("example", EXPLAINER["examples"], ids=lambda example: example["prompt"])
def test_the_last_logits_are_the_published_ones(model: GPT2, example: Any) -> None:
    ids = Tokenizer().encode(example["prompt"])
    assert ids == example["ids"]
    logits = model(ids, logits_to_keep=1).logits[0, 0]
    best, values = map(list, zip(*example["last_logits_top10"], strict=True))
    assert np.argsort(-logits, kind="stable")[:10].tolist() == best
    for found, published in (
        (logits[best], values),
        (logits[:8], example["last_logits_of_ids_0_to_7"]),
        (logits[50249:], example["last_logits_of_ids_50249_to_50256"]),
        (np.logaddexp.reduce(logits.astype(float)), example["last_logits_logsumexp"]),
    ):
        np.testing.assert_allclose(found, published, rtol=0, atol=EXPLAINER["tolerance"])


@pytest.mark.parametrize("example", EXPLAINER["examples"], ids=lambda example: example["prompt"])
def test_attention_is_the_published_one(model: GPT2, example: Any) -> None:
    attentions = model(example["ids"], output_attentions=True).attentions
    assert attentions is not None
    for name, published in example["attention_probabilities"].items():
        _, layer, _, head = name.split()
        np.testing.assert_allclose(attentions[int(layer)][0, int(head)], published, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", PUBLISHED["greedy"], ids=lambda case: case["source"])
def test_greedy_continuations_are_the_published_ones(model: GPT2, case: Any) -> None:
    prompt = case.get("ids") or Tokenizer().encode(case["prompt"])
    new = case.get("new_ids") or Tokenizer().encode(case["text"])
    assert model.generate(prompt, len(new))[0, len(prompt) :].tolist() == new


def test_a_batch_padded_on_the_left_goes_on_as_published(model: GPT2) -> None:
    texts = PUBLISHED["greedy_batch"]["texts"]
    batch = Tokenizer()([case["prompt"] for case in texts], padding=True, padding_side="left", return_tensors="np")
    ids = model.generate(batch.input_ids, 20, attention_mask=batch.attention_mask)[:, batch.input_ids.shape[1] :]
    for new, case in zip(ids, texts, strict=True):
        assert Tokenizer().decode(new).startswith(case["continuation"])


def test_the_loss_of_hello_world_is_the_published_one(model: GPT2) -> None:
    fact = PUBLISHED["mean_loss"]
    ids = [[50256, *Tokenizer().encode(fact["text"])]]
    assert model(ids, labels=ids).loss == pytest.approx(fact["loss"], abs=fact["tolerance"])


def test_the_loss_of_shakespeare_is_the_published_one(model: GPT2) -> None:
    fact = PUBLISHED["llm_c"]
    ids = np.array(fact["ids"])
    logits = model(ids[:-1].reshape(fact["batch"])).logits
    losses = token_losses(logits.reshape(len(ids) - 1, -1), ids[1:])
    assert losses.mean() == pytest.approx(fact["loss"], abs=fact["tolerance"])


def test_the_meaning_of_life_is_not(model: GPT2) -> None:
    assert model.next_tokens("The meaning of life is")[0][:2] == (407, "Ġnot")
