"""The published files themselves. Run with `pytest -m hub`: 548 MB are downloaded unless they are cached."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from minigpt2 import Checkpoint, Embeddings, Tokenizer
from minigpt2.hub import fetch
from minigpt2.inference.generation_config import read_generation_config
from minigpt2.inference.options import Config
from minigpt2.published_models import GPT2_MODELS
from minigpt2.tokenizer_files.opening import open_from_hub
from minigpt2.weights.files import read_json_object
from tests.command import run

pytestmark = pytest.mark.hub

REVISION = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
PUBLISHED_SHA256 = {
    "model.safetensors": "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    "config.json": "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4",
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
# The first and the last three of the 768 numbers of some rows of `wte`, as notebooks all over the web print them.
PUBLISHED_ROWS = {
    0: [-0.11010301, -0.03926672, 0.03310751, -0.1363697, 0.01506208, 0.04531523],
    1: [0.04034033, -0.04861503, 0.04624869, 0.08605453, 0.00253983, 0.04318958],
    2: [-0.12746179, 0.04793796, 0.18410145, 0.08991534, -0.12972379, -0.08785918],
    50254: [-0.04453601, -0.05483596, 0.01225674, 0.10435229, 0.09783269, -0.06952604],
    50255: [0.1860082, 0.01665728, 0.04611587, -0.09625227, 0.07847701, -0.02245961],
    50256: [0.05135201, -0.02768905, 0.0499369, 0.00704835, 0.15519823, 0.12067825],
}


@pytest.mark.parametrize("filename", PUBLISHED_SHA256)
def test_the_files_are_the_published_ones(filename: str) -> None:
    with fetch("gpt2", filename, revision=REVISION).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == PUBLISHED_SHA256[filename]


@pytest.mark.parametrize("model", sorted(GPT2_MODELS))
def test_the_generation_config_says_what_the_config_says(model: str) -> None:
    path = fetch(model, "config.json")
    config = Config(read_json_object(path), path)
    theirs = read_generation_config(lambda: fetch(model, "generation_config.json"), config)
    assert replace(theirs, file=config) == read_generation_config(lambda: None, config)
    theirs.refuse_unsupported(do_sample=True)


def test_the_tokenizer_of_the_published_files_is_the_packages() -> None:
    vocabulary, settings = open_from_hub("gpt2", REVISION, None, False)
    ours = Tokenizer()
    assert vocabulary.token_ids() == ours.vocabulary.token_ids()
    assert vocabulary.merges == ours.vocabulary.merges
    assert settings == replace(ours.settings, added=settings.added)
    assert settings.added.tokens == ours.settings.added.tokens


def test_download_leaves_a_cache_from_which_transformers_works_offline() -> None:
    assert (
        run("download", env=os.environ).stdout.splitlines()[1].startswith(b"tokenizer: vocab.json and merges.txt agree")
    )
    code = "from transformers import AutoTokenizer; print(AutoTokenizer.from_pretrained('gpt2')('life').input_ids)"
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, check=True).stdout == b"[6042]\n"
    )


@pytest.mark.parametrize("token_id", PUBLISHED_ROWS)
def test_rows_of_wte_are_the_published_ones(token_id: int) -> None:
    row = Embeddings(Checkpoint.from_pretrained("gpt2")).tokens([token_id])[0]
    printed = np.concatenate([row[:3], row[-3:]])
    np.testing.assert_allclose(printed, PUBLISHED_ROWS[token_id], rtol=0, atol=1e-8)


def test_gpt2_has_148_parameters_of_124439808_numbers() -> None:
    weights = Checkpoint.from_pretrained("gpt2")
    assert len(list(weights.named_parameters())) == 148
    assert weights.num_parameters() == 124_439_808
