"""The layers' part of a trace: attention, logit lens and next tokens are the model's, in data, JSON and terminal."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.explain import explain
from minigpt2.explain.layers import GUESSES, MOST_TOKENS, NEXT_TOKENS, TEMPERATURES, Layers
from minigpt2.explain.terminal import NO_LAYERS, render
from minigpt2.explain.writing import shown_token
from minigpt2.generation import probabilities
from tests.command import Capture, answer, complaint
from tests.small_gpt2 import write_gpt2

TEXT = "The meaning of life is"


def layers_of(text: str, weights: Checkpoint) -> Layers:
    layers = explain(Tokenizer(), text, weights).layers
    assert layers is not None
    return layers


def test_attention_is_the_models(weights: Checkpoint, tokenizer: Tokenizer) -> None:
    expected = GPT2(weights)(tokenizer.encode(TEXT), output_attentions=True).attentions
    assert expected is not None
    np.testing.assert_array_equal(layers_of(TEXT, weights).attentions, np.concatenate(expected))


def test_the_lens_after_each_token_is_the_models_on_the_text_up_to_there(
    weights: Checkpoint, tokenizer: Tokenizer
) -> None:
    model, ids = GPT2(weights), tokenizer.encode(TEXT)
    for position in range(len(ids)):
        expected = model.logit_lens(ids[: position + 1], GUESSES)
        for row, guesses in zip(layers_of(TEXT, weights).lens, expected, strict=True):
            assert [(guess.id, guess.token) for guess in row[position]] == [(i, token) for i, token, _ in guesses]
            shown = [guess.probability for guess in row[position]]
            np.testing.assert_allclose(shown, [chance for *_, chance in guesses], rtol=1e-4)


def test_the_next_tokens_are_the_models(weights: Checkpoint, tokenizer: Tokenizer) -> None:
    model, ids = GPT2(weights), tokenizer.encode(TEXT)
    found = layers_of(TEXT, weights).next_tokens
    expected = model.next_tokens(ids, NEXT_TOKENS)
    assert [(each.id, each.token) for each in found] == [(token_id, token) for token_id, token, _ in expected]
    # With the whole patterns shown, attention divides before it adds the values: other last bits.
    probabilities = [probability for *_, probability in expected]
    np.testing.assert_allclose([each.probability for each in found], probabilities, rtol=1e-5)
    logits = model(ids).logits[0, -1, [each.id for each in found]]
    np.testing.assert_allclose([each.logit for each in found], logits, rtol=1e-5)


def test_the_probability_at_a_temperature_follows_from_the_logit(weights: Checkpoint, tokenizer: Tokenizer) -> None:
    logits = GPT2(weights)(tokenizer.encode(TEXT)).logits[0, -1].astype(np.float64)
    layers = layers_of(TEXT, weights)
    assert tuple(layers.log_sums) == TEMPERATURES
    for temperature, log_sum in layers.log_sums.items():
        chances = probabilities(logits / temperature)
        for guess in layers.next_tokens:
            assert np.exp(guess.logit / temperature - log_sum) == pytest.approx(chances[guess.id], rel=1e-5)


def test_a_long_text_has_the_attention_of_its_beginning_and_its_own_next_tokens(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sizes = {"n_layer": 1, "n_embd": 4, "n_positions": 2 * MOST_TOKENS, "vocab_size": 50257}
    write_gpt2(tmp_path, sizes, n_head=2)
    weights = Checkpoint.open(tmp_path)
    text = " life is" * (MOST_TOKENS + 5)
    layers = layers_of(text, weights)
    assert layers.attentions.shape == (1, 2, MOST_TOKENS, MOST_TOKENS)
    assert layers.tokens_read == 2 * MOST_TOKENS
    ids = tokenizer.encode(text)[: 2 * MOST_TOKENS]
    assert [guess.id for guess in layers.next_tokens] == [i for i, *_ in GPT2(weights).next_tokens(ids, NEXT_TOKENS)]


def test_without_layers_there_are_rows_alone(weights: Checkpoint, tokenizer: Tokenizer, tmp_path: Path) -> None:
    weights.save(tmp_path / "embeddings.safetensors", names=["wte.weight", "wpe.weight"])
    trace = explain(tokenizer, TEXT, Checkpoint.open(tmp_path / "embeddings.safetensors"))
    assert trace.rows is not None
    assert trace.layers is None
    assert trace.to_json()["layers"] is None
    assert " ".join(render(trace, width=80)).endswith(NO_LAYERS)


def test_weights_whose_config_the_hub_does_not_give_show_their_rows(
    weights: Checkpoint, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    weights.save(snapshot / "model.safetensors")
    cached = Checkpoint.from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)
    trace = explain(tokenizer, TEXT, cached)
    assert trace.rows is not None and trace.layers is None
    assert "config.json" in trace.fault


def test_layers_that_cannot_be_used_say_why(weights: Checkpoint, tokenizer: Tokenizer, tmp_path: Path) -> None:
    weights.save(tmp_path / "model.safetensors")
    trace = explain(tokenizer, TEXT, Checkpoint.open(tmp_path))
    assert trace.rows is not None and trace.layers is None
    assert "there is no config.json beside" in trace.fault
    assert "there is no config.json beside" in " ".join(render(trace, width=80))
    with pytest.raises(ValueError, match=r"next needs the model's layers, and .*there is no config\.json beside"):
        list(render(trace, part="next"))


def test_json_has_attention_exactly(weights: Checkpoint, tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, TEXT, weights)
    read = json.loads(json.dumps(trace.to_json(), allow_nan=False))["layers"]
    np.testing.assert_array_equal(np.array(read["attentions"], np.float32), layers_of(TEXT, weights).attentions)
    assert read["next_tokens"][0]["id"] == layers_of(TEXT, weights).next_tokens[0].id
    assert [len(row) for row in read["lens"]] == [5, 5, 5]


# ---- the terminal


def test_the_attention_of_a_head_is_a_line_a_token(weights: Checkpoint, capsys: Capture) -> None:
    shown = answer(capsys, "explain", TEXT, "--model", weights.path.parent, "--part", "attention", "--head", "1.0")
    title, heading, *lines = shown.splitlines()
    assert title == "attention of head 0 in layer h.1, in percent"
    assert heading.split() == ["The", "·meaning", "·of", "·life", "·is"]
    expected = np.rint(100 * layers_of(TEXT, weights).attentions[1, 0]).astype(int)
    for query, line in enumerate(lines):
        assert [int(cell) for cell in line.split()[1:]] == expected[query, : query + 1].tolist()


def test_what_is_too_wide_for_the_terminal_is_left_out_from_the_beginning(
    weights: Checkpoint, tokenizer: Tokenizer
) -> None:
    lines = list(render(explain(tokenizer, "a b c d e f g h i j k l", weights), width=60, part="attention"))
    assert max(map(len, lines)) <= 60
    assert lines[1].split()[-1] == "·l"
    assert re.fullmatch(r"The first \d+ tokens do not fit in this width.", lines[-1])


def test_the_lens_and_the_next_tokens_in_the_terminal(weights: Checkpoint, tokenizer: Tokenizer) -> None:
    trace, layers = explain(tokenizer, TEXT, weights), layers_of(TEXT, weights)
    _, *lens = render(trace, width=200, part="lens")
    assert [line.split()[0] for line in lens] == ["wte", "h.0", "h.1"]
    assert all(shown_token(row[-1][0].token) in line for row, line in zip(layers.lens, lens, strict=True))
    _, *following = render(trace, width=200, part="next")
    assert following[0] == (
        f"{layers.next_tokens[0].probability:>6.1%}  {layers.next_tokens[0].logit:>7.2f}  "
        f"{shown_token(layers.next_tokens[0].token)}"
    )


def test_a_head_that_is_not_there_is_one_line(weights: Checkpoint, capsys: Capture) -> None:
    model = ["--model", weights.path.parent]
    assert "they are 0.0 to 1.1, LAYER.HEAD" in complaint(capsys, "explain", TEXT, *model, "--head", "2.0")
    assert "--part is for the terminal" in complaint(capsys, "explain", TEXT, "--part", "lens", "--json")
    assert "expected LAYER.HEAD" in complaint(capsys, "explain", TEXT, "--head", "x", status=2)
    assert "expected LAYER.HEAD" in complaint(capsys, "explain", TEXT, "--head=-1.0", status=2)
