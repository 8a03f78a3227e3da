"""The page as a file: self-contained, small, safe with any text; how the command writes it; and notebooks."""

import json
import re
import stat
from base64 import b64decode, b64encode
from hashlib import sha256
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from safetensors.numpy import save_file

from minigpt2 import Checkpoint, Embeddings, Tokenizer
from minigpt2.cli import main
from minigpt2.explain import explain
from minigpt2.explain.page import page
from minigpt2.explain.writing import shown_token
from minigpt2.weights.bundled import LABEL
from tests.command import Capture, answer, complaint, disk_is_full, run, write_small_gpt2
from tests.conftest import hurtful_texts
from tests.small_gpt2 import random_tensors, write_gpt2

PARAGRAPH = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a"
    " wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood,"
    " this truth is so well fixed in the minds of the surrounding families, that he is considered as the rightful"
    " property of some one or other of their daughters. “My dear Mr. Bennet,” said his lady to him one day, “have you"
    " heard that Netherfield Park is let at last?” Mr. Bennet replied that he had not. “But it is,” returned she;"
    " “for Mrs. Long has just been here, and she told me all about it.” Mr. Bennet made no answer."
)


pytestmark = pytest.mark.usefixtures("offline")


def data_of(html: str) -> dict[str, Any]:
    (data,) = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', html, re.S)
    read: dict[str, Any] = json.loads(data)
    return read


# ---- one file, safe with any text


@given(text=hurtful_texts())
def test_whatever_the_text_the_page_around_its_data_is_the_same(text: str, tokenizer: Tokenizer) -> None:
    html, plain = page(explain(tokenizer, text)), page(explain(tokenizer, ""))
    data = re.compile(r'(?<=id="trace">)[^<]*(?=</script>)')
    assert data.sub("", html, count=1) == data.sub("", plain, count=1)
    (own,) = data.findall(html)
    assert not set("<>&\u2028\u2029\x00\r\n") & set(own)


@given(text=hurtful_texts())
def test_the_data_has_the_librarys_ids_offsets_and_bytes(text: str, tokenizer: Tokenizer) -> None:
    trace = explain(tokenizer, text)
    data = data_of(page(trace))
    encoding = tokenizer(text, return_offsets_mapping=True)
    assert data["ids"] == encoding.input_ids
    assert data["offsets"] == [offset for pair in encoding.offset_mapping for offset in pair]
    assert "".join(data["tokens"][str(i)]["bytes"].replace(" ", "") for i in data["ids"]) == text.encode().hex()
    assert sum(data["byteCounts"]) == len(text.encode())
    recorded = [[] if pretoken.merges is None else list(pretoken.ids) for pretoken in trace.pretokens]
    assert [data["pretokens"][place]["ids"] for place in data["sequence"]] == recorded


def test_the_page_makes_no_request(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    html = page(explain(tokenizer, PARAGRAPH, weights))
    addresses = re.findall(r"""(?:src|href|action|url\(|import|@import)\s*[=(]?\s*["']?([^"'\s>)]+)""", html)
    outside = [address for address in addresses if re.match(r"(https?:)?//", address)]
    assert outside == []


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(tokenizer: Tokenizer) -> None:
    html = page(explain(tokenizer, "life"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    directives = dict(each.split(" ", 1) for each in policy.split("; "))
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = b64encode(sha256(source.encode()).digest()).decode()
        assert directives[name] == f"'sha256-{digest}'"
    assert directives["default-src"] == directives["connect-src"] == "'none'"


def test_a_paragraph_with_rows_of_768_is_under_400_kb(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tensors = random_tensors({"n_layer": 0, "n_embd": 768, "n_positions": 1024, "vocab_size": 5000})
    wte = np.resize(tensors["wte.weight"].astype(np.float16), (50257, 768))  # no two tokens of the text share a row
    save_file(
        {"wte.weight": wte, "wpe.weight": tensors["wpe.weight"].astype(np.float16)}, tmp_path / "model.safetensors"
    )
    trace = explain(tokenizer, PARAGRAPH, Checkpoint.open(tmp_path))
    assert len(trace.tokens) > 128
    assert len(page(trace).encode()) < 400_000


@pytest.mark.parametrize(("tokens", "n_layer", "n_head"), [(20, 6, 8), (10, 12, 12)], ids=["bundled", "gpt2"])
def test_a_page_with_layers_is_under_600_kb(
    tokens: int, n_layer: int, n_head: int, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sizes = {"n_layer": n_layer, "n_embd": 96, "n_positions": 64, "vocab_size": 50257}
    write_gpt2(tmp_path, sizes, n_head=n_head)
    text = tokenizer.decode(tokenizer.encode(PARAGRAPH)[:tokens])
    trace = explain(tokenizer, text, Checkpoint.open(tmp_path))
    assert len(trace.tokens) == tokens
    assert trace.layers is not None
    assert len(page(trace).encode()) < 600_000


def test_attention_travels_to_a_255th(tokenizer: Tokenizer, weights: Checkpoint) -> None:
    trace = explain(tokenizer, "The meaning of life is", weights)
    assert trace.layers is not None
    sent = np.frombuffer(b64decode(data_of(page(trace))["layers"]["attentions"]), np.uint8) / 255
    rows, columns = np.tril_indices(5)
    np.testing.assert_allclose(sent, trace.layers.attentions[:, :, rows, columns].ravel(), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_travel_whole_in_every_dtype(dtype: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
    tensors = {name: tensor.astype(dtype) for name, tensor in write_small_gpt2(tmp_path).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    weights = Checkpoint.open(tmp_path)
    rows = data_of(page(explain(tokenizer, " life", weights)))["rows"]
    values = np.frombuffer(b64decode(rows["sums"]), "<f8" if dtype == np.float64 else "<f4")
    np.testing.assert_array_equal(values, Embeddings(weights)([1204])[0])
    assert rows["type"] == np.dtype(dtype).name


def test_a_page_holds_so_much_of_a_long_text_and_says_what_it_leaves_out(tokenizer: Tokenizer) -> None:
    text = "".join(f"{number} " for number in range(15_000))
    html = page(explain(tokenizer, text))
    data = data_of(html)
    assert data["counts"]["tokens"] == len(tokenizer.encode(text)) > len(data["ids"]) == 20_000
    assert len(html) < 6_000_000


# ---- the command


def test_the_command_writes_the_page(
    tokenizer: Tokenizer, tmp_path: Path, small_bundled_model: Path, capsys: Capture
) -> None:
    path = tmp_path / "page.html"
    assert answer(capsys, "explain", "The meaning of life is", "-o", path) == f"{path}\n"
    assert path.read_text("utf-8") == page(
        explain(tokenizer, "The meaning of life is", Checkpoint.open(small_bundled_model))
    )
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_writes_the_page_of_standard_input_and_of_ordinary_text(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert run("explain", "--ordinary", "-o", str(path), stdin=b"<|endoftext|>\n").returncode == 0
    assert data_of(path.read_text("utf-8"))["ids"] == [27, 91, 437, 1659, 5239, 91, 29, 198]


def test_the_command_opens_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    opened: list[str] = []

    def open_page(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", open_page)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = Path(answer(capsys, "explain", "life", "--open").strip())
    assert opened == [path.as_uri()]
    assert path.parents[1] == tmp_path
    assert data_of(path.read_text("utf-8"))["ids"] == [6042]
    assert answer(capsys, "explain", "life", "-o", tmp_path / "own.html", "--open") == f"{tmp_path / 'own.html'}\n"
    assert opened[1:] == [(tmp_path / "own.html").as_uri()]


def test_where_there_is_no_browser_the_page_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert main(["explain", "life", "--open", "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().err == (
        f"minigpt2: there is no browser to open it with; the page is {tmp_path / 'page.html'}\n"
    )


def test_a_page_that_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert "Is a directory" in complaint(capsys, "explain", "life", "-o", tmp_path)
    assert "No such file" in complaint(capsys, "explain", "life", "-o", tmp_path / "no" / "page.html")
    path = tmp_path / "page.html"
    path.write_text("old")

    monkeypatch.setattr(Path, "replace", disk_is_full)
    assert complaint(capsys, "explain", "life", "-o", path) == f"minigpt2: {path}: No space left on device\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_in_a_temporary_file_is_its_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = Path(answer(capsys, "explain", "secret", "--open").strip())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_command_prints_the_trace_as_json(tokenizer: Tokenizer, weights: Checkpoint, capsys: Capture) -> None:
    printed = json.loads(answer(capsys, "explain", "--json", "--model", weights.path.parent, "naïve <|endoftext|>"))
    expected = explain(tokenizer, "naïve <|endoftext|>", weights).to_json()
    assert printed == json.loads(json.dumps(expected))


# ---- notebooks


def test_a_trace_shows_itself_in_a_notebook_as_text(tokenizer: Tokenizer) -> None:
    html = explain(tokenizer, "<b>It's</b> 生命\n")._repr_html_()
    assert "<b>" not in html
    shown = [unescape(text) for text in re.findall(r"<bdi>(.*?)</bdi>", html)]
    assert shown == ["<", "b", ">", "It", "'s", "</", "b", ">", "·⟨e7⟩", "⟨94⟩", "⟨9f⟩", "⟨e5 91⟩", "⟨bd⟩", "↵"]
    ids = [int(number) for number in re.findall(r"75%\">(\d+)<", html)]
    assert ids == tokenizer.encode("<b>It's</b> 生命\n")


def test_a_trace_in_a_notebook_ends_with_the_next_tokens(
    tokenizer: Tokenizer, weights: Checkpoint, small_bundled_model: Path
) -> None:
    trace = explain(tokenizer, "life", weights)
    assert trace.layers is not None
    shown = re.findall(r"<code>(.*?)</code>", trace._repr_html_())
    assert shown == [escape(shown_token(guess.token)) for guess in trace.layers.next_tokens[:8]]
    assert LABEL not in unescape(trace._repr_html_())
    assert LABEL in unescape(explain(tokenizer, "life", Checkpoint.open(small_bundled_model))._repr_html_())


def test_a_long_trace_shows_its_beginning_and_says_so(tokenizer: Tokenizer) -> None:
    html = explain(tokenizer, " life" * 1000)._repr_html_()
    assert html.count("<bdi>") == 500
    assert "1,000 tokens, the first 500 shown" in html


def test_a_checkpoint_and_embeddings_show_themselves_in_a_notebook(weights: Checkpoint) -> None:
    html = weights._repr_html_()
    assert all(name in html for name in weights)
    assert "402,056" in html
    shown = Embeddings(weights)._repr_html_()
    assert str(weights["wte.weight"][0, 0]) in shown
    assert "50257 tokens" in shown


def test_the_bundled_model_says_so_in_a_notebook(small_bundled_model: Path) -> None:
    weights = Checkpoint.open(small_bundled_model)
    assert LABEL in unescape(weights._repr_html_())
    assert LABEL in unescape(Embeddings(weights)._repr_html_())


def test_names_in_a_checkpoint_are_shown_as_text(tmp_path: Path) -> None:
    save_file({"<script>": np.zeros(2, np.float32)}, tmp_path / "x.safetensors", metadata={"<i>": "<u>"})
    html = Checkpoint.open(tmp_path / "x.safetensors")._repr_html_()
    assert not {"<script>", "<i>", "<u>"} & set(re.findall("<[^>]*>", html))
