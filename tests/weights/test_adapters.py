"""An adapter that is not merged into its GPT-2 is refused: its base model alone would answer something else."""

import re
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import hf_hub_download

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings, HubError
from minigpt2.cli import main
from minigpt2.hub import answers
from tests.command import Capture, complaint, files_in
from tests.hub_server import BEFORE_1, Fault, Hub
from tests.weights.samples import Tensors, gpt2_tensors, save
from tests.weights.test_gpt2_layout import TIED, needs_of_a_gpt2

LORA = {"base_model.model.transformer.h.0.attn.c_attn.lora_A.weight": np.zeros((2, 4))}
ADAPTERS: dict[str, tuple[str, Tensors]] = {
    "LoRA": ("adapter_model.safetensors", LORA),
    "LoRA under another name": ("model.safetensors", LORA),
    "IA3": ("adapter_model.safetensors", {"base_model.model.transformer.h.0.attn.c_attn.ia3_l": np.zeros(12)}),
    "LoRA with a long name": ("model.safetensors", {"lora_" * 20_000 + "-": np.zeros(1)}),
    "VeRA under another name": (
        "model.safetensors",
        {
            "base_model.model.transformer.h.0.attn.c_attn.vera_lambda_b": np.zeros(3),
            "base_model.vera_A": np.zeros((2, 4)),
        },
    ),
    "LN tuning under another name": (
        "model.safetensors",
        {"base_model.model.transformer.h.0.ln_1.weight": np.zeros(4)},
    ),
    "prompt tuning": ("adapter_model.safetensors", {"prompt_embeddings": np.zeros((8, 4))}),
    "a model with LoRA unmerged": (
        "model.safetensors",
        {
            f"base_model.model.transformer.{name}": array
            for name, array in gpt2_tensors().items()
            if "c_attn" not in name
        }
        | {"base_model.model.transformer.h.0.attn.c_attn.base_layer.weight": np.zeros((4, 12))}
        | LORA,
    ),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_refused_as_one_with_the_way_out(tmp_path: Path, name: str) -> None:
    filename, tensors = ADAPTERS[name]
    save(tmp_path, tensors, filename, config={"model_type": "gpt2"})
    weights = Checkpoint.open(tmp_path)
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError, match=r"adapter.*merge_and_unload\(\)"):
            need()


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_tensor_of_gpt2_that_an_adapter_lacks_is_refused_with_the_way_out(
    tmp_path: Path, name: str, capsys: Capture
) -> None:
    filename, tensors = ADAPTERS[name]
    save(tmp_path, tensors, filename, config={"model_type": "gpt2"})
    said = r"no tensor .*adapter.*merge_and_unload\(\)"
    with pytest.raises(KeyError, match=said):
        Checkpoint.open(tmp_path)["h.0.attn.c_attn.weight"]
    for command in (["show"], ["stats"], ["extract", str(tmp_path / "new.safetensors")]):
        assert re.search(said, complaint(capsys, *command, "h.0.attn.c_attn.weight", "--model", str(tmp_path)))
    assert not (tmp_path / "new.safetensors").exists()


def test_a_whole_model_with_an_adapter_in_its_directory_is_refused(tmp_path: Path) -> None:
    save(tmp_path, gpt2_tensors(), config=TIED)
    (tmp_path / "adapter_config.json").write_text("{}")
    weights = Checkpoint.open(tmp_path)
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError, match=r"adapter_config\.json is beside it.*merge_and_unload\(\)"):
            need()


@pytest.mark.parametrize("is_downloaded", [False, True])
def test_one_on_the_hub_is_refused_too(hub: Hub, tmp_path: Path, is_downloaded: bool) -> None:
    save(tmp_path, gpt2_tensors(), config=TIED)
    (tmp_path / "adapter_config.json").write_text("{}")
    hub.publish("owner/name", files_in(tmp_path))
    if is_downloaded:
        assert main(["download", "owner/name"]) == 0
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is beside it"):
        GPT2.from_pretrained("owner/name")


@pytest.mark.skipif(BEFORE_1, reason="which cannot be read by ranges")
def test_one_that_is_read_on_the_hub_is_refused_too(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path, gpt2_tensors(), config=TIED)
    (tmp_path / "adapter_config.json").write_text("{}")
    hub.publish("owner/name", files_in(tmp_path))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is beside it"):
        GPT2(Checkpoint.remote("owner/name"))


@pytest.mark.parametrize("fault", [429, 500])
@pytest.mark.parametrize("is_cached", [True] if BEFORE_1 else [False, True])  # which cannot read by ranges
def test_a_hub_that_fails_to_say_whether_there_is_one_is_an_error(
    is_cached: bool, fault: int, hub: Hub, tmp_path: Path
) -> None:
    save(tmp_path, gpt2_tensors(), config=TIED)
    hub.publish("owner/name", files_in(tmp_path))
    hub.faults["adapter_config.json"] = fault
    for _ in range(2):
        with pytest.raises(HubError, match=rf"adapter_config\.json .* answered {fault}"):
            GPT2((Checkpoint.from_pretrained if is_cached else Checkpoint.remote)("owner/name"))


@pytest.mark.parametrize("has_adapter", [False, True])
def test_a_hub_is_asked_for_one_where_others_brought_the_weights(has_adapter: bool, hub: Hub, tmp_path: Path) -> None:
    save(tmp_path, gpt2_tensors(), config=TIED)
    if has_adapter:
        (tmp_path / "adapter_config.json").write_text("{}")
    hub.publish("owner/name", files_in(tmp_path))
    for name in ("model.safetensors", "config.json"):
        hf_hub_download("owner/name", name)
    if has_adapter:
        with pytest.raises(CheckpointError, match=r"adapter_config\.json is beside it"):
            GPT2.from_pretrained("owner/name")
    else:
        GPT2.from_pretrained("owner/name")
        hub.requests.clear()
        GPT2.from_pretrained("owner/name")
        assert hub.requests == []


@pytest.mark.parametrize("fault", [401, 403, 404, Fault.GATED, Fault.LOGIN_PAGE, Fault.HANG])
def test_weights_that_others_brought_open_where_the_hub_does_not_say(
    fault: Fault | int, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, gpt2_tensors(), config=TIED)
    hub.publish("owner/name", files_in(tmp_path))
    for name in ("model.safetensors", "config.json"):
        hf_hub_download("owner/name", name)
    GPT2.from_pretrained("owner/name", local_files_only=True)
    monkeypatch.setattr(answers, "_CONNECTION_SECONDS", 0.3)
    hub.faults["adapter_config.json"] = fault
    with pytest.warns(UserWarning, match=r"the model may have an adapter, which is not used: .*adapter_config\.json"):
        GPT2.from_pretrained("owner/name")


@pytest.mark.parametrize("fault", [401, 404, 429, 500, Fault.LOGIN_PAGE, Fault.DROP, Fault.TRUNCATE, Fault.CORRUPT])
def test_where_the_hub_fails_to_say_whether_the_model_is_an_adapter_the_error_says_that_it_may_be(
    fault: Fault | int, hub: Hub, tmp_path: Path
) -> None:
    save(tmp_path, LORA, "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text("{}")
    hub.publish("owner/name", files_in(tmp_path))
    hub.faults["adapter_config.json"] = fault
    with pytest.raises(HubError, match=r"it may be an adapter \(owner/name: adapter_config\.json "):
        Checkpoint.from_pretrained("owner/name")


@pytest.mark.parametrize("others", [["value_head"], ["model_head", "optimizer"]])
@pytest.mark.parametrize("adapter", ["adapter", "adapter_model"])
def test_an_adapter_beside_other_safetensors_files_is_refused_as_an_adapter(
    adapter: str, others: list[str], tmp_path: Path
) -> None:
    for name in [adapter, *others]:
        save(tmp_path, {"v_head.summary.weight": np.ones((1, 4), np.float32)}, f"{name}.safetensors")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=rf"open one of {adapter}\.safetensors, .*it is an adapter"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    ("beside", "reason"),
    [([], "it is an adapter"), (["optimizer.pt"], "it is an adapter"), (["pytorch_model.bin"], "a pickle such as")],
)
@pytest.mark.parametrize("name", ["style", "optimizer"])
def test_a_directory_of_named_adapters_is_one_where_no_pickle_of_a_model_is_beside_them(
    name: str, beside: list[str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "adapter_config.json").write_text("{}")
    save(tmp_path / name, LORA, "adapter_model.safetensors")
    for pickle in beside:
        (tmp_path / pickle).touch()
    with pytest.raises(CheckpointError, match=reason):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("beside", [[], ["adapter_model.bin"], ["adapter_model.bin", "pytorch_model.bin"]])
def test_an_adapter_that_is_a_pickle_is_refused_as_an_adapter(beside: list[str], tmp_path: Path) -> None:
    for name in ("adapter_config.json", *beside):
        (tmp_path / name).write_text("{}")
    for path in (tmp_path, tmp_path / "adapter_config.json", *map(tmp_path.joinpath, beside)):
        with pytest.raises(CheckpointError, match=r"adapter.*merge_and_unload\(\)"):
            Checkpoint.open(path)


@pytest.mark.parametrize("is_remote", [False] if BEFORE_1 else [False, True])  # which cannot read by ranges
def test_an_adapter_in_the_cache_is_named_where_the_hub_cannot_be_asked(
    is_remote: bool, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, LORA, "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text("{}")
    hub.publish("owner/name", files_in(tmp_path))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        hf_hub_download("owner/name", name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"owner/name: it is an adapter.*merge_and_unload\(\).*HF_HUB_OFFLINE"):
        (Checkpoint.remote if is_remote else Checkpoint.from_pretrained)("owner/name")


# What PEFT and `adapters` put beside the output matrix, another part, or the model, in names of the whole model.
ON_A_MATRIX = ["lora_A.default.weight", "lora_E.default", "lora_magnitude_vector.default", "ia3_l.default"]
ON_A_MATRIX += ["hada_w1_a.default", "lokr_w1.default", "boft_R.default", "vera_A.default", "vblora_logits_A.default"]
ON_A_MATRIX += ["trainable_tokens_delta.default", "modules_to_save.default.weight", "original_module.weight"]
BESIDE = [f"lm_head.{name}" for name in [*ON_A_MATRIX, "qweight", "bias"]]
BESIDE += ["transformer.ln_f.lora_A.default.weight", "transformer.ln_f.ln_tuning_layers.default.weight"]
BESIDE += ["transformer.prefix_tuning.prefix.weight", "transformer.invertible_adapters.a.F.0.weight"]
ON_EMBEDDINGS = ["transformer.wte.lora_embedding_A.default", "transformer.wte.modules_to_save.default.weight"]
ON_EMBEDDINGS += ["transformer.wpe.lora_embedding_B.default", "transformer.wte.weight_scale"]
BESIDE_THE_MODEL = ["prompt_encoder.default.embedding.weight", "base_model.model.score.modules_to_save.default.weight"]


def beside_a_whole_model(tmp_path: Path, *names: str) -> Checkpoint:
    tensors = gpt2_tensors("base_model.model.transformer.") | dict.fromkeys(names, np.ones((10, 4), np.float32))
    return Checkpoint.open(save(tmp_path, tensors, config=TIED))


@pytest.mark.parametrize("name", BESIDE + ON_EMBEDDINGS)
def test_a_tensor_of_an_adapter_is_refused_beside_a_whole_model(tmp_path: Path, name: str) -> None:
    own = f"base_model.model.{name}"
    weights = beside_a_whole_model(tmp_path / "before PEFT 0.6", own)
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError, match=rf"adapter.*merge_and_unload\(\)|it has '{own}', which GPT-2 lacks"):
            need()
    weights = beside_a_whole_model(tmp_path, own, f"{own.rpartition('.')[0]}.base_layer.weight")
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError, match=r"adapter.*merge_and_unload\(\)"):
            need()


@pytest.mark.parametrize("name", BESIDE_THE_MODEL)
def test_an_adapter_beside_the_model_is_refused_as_one(tmp_path: Path, name: str) -> None:
    weights = beside_a_whole_model(tmp_path, name)
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError, match=r"adapter.*merge_and_unload\(\)"):
            need()


@pytest.mark.parametrize("name", BESIDE + ON_EMBEDDINGS + BESIDE_THE_MODEL)
def test_embeddings_are_refused_where_an_adapter_changes_them(tmp_path: Path, name: str) -> None:
    weights = beside_a_whole_model(tmp_path, f"base_model.model.{name}")
    if name in ON_EMBEDDINGS:
        with pytest.raises(CheckpointError, match=r"adapter|which GPT-2 lacks"):
            Embeddings(weights)
    else:
        assert Embeddings(weights)([1, 2]).shape == (2, 4)


def test_an_adapters_file_is_one_whatever_it_holds(tmp_path: Path) -> None:
    embeddings = {name: array for name, array in gpt2_tensors().items() if name.startswith("w")}
    save(tmp_path, embeddings, "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"adapter.*merge_and_unload\(\)"):
        Checkpoint.open(tmp_path).parameter_names()
