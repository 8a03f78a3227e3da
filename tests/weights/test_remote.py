"""A checkpoint on the hub, read by the byte range: the right numbers for few bytes, or a HubError, never another."""

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices
from safetensors.numpy import save_file

from minigpt2 import Checkpoint, CheckpointError, Embeddings, HubError
from minigpt2.weights.remote import sparse_file, tensors
from minigpt2.weights.remote.byte_ranges import MOST_REQUESTS, ByteRanges, of_rows, together
from tests.hub_server import BEFORE_1, Fault, Hub
from tests.weights.test_checkpoint import gpt2_tensors, save, save_sharded

pytestmark = pytest.mark.skipif(BEFORE_1, reason="reading by byte ranges needs huggingface_hub 1.0")

MODEL = "owner/tiny"
WEIGHTS = "model.safetensors"
SIZES: Any = {"vocab_size": 400, "n_embd": 64}  # rows of 256 bytes, a wte of 100 KB
Open = Callable[..., Checkpoint]


@pytest.fixture(scope="module")
def wte() -> np.ndarray[Any, Any]:
    return gpt2_tensors(**SIZES)["wte.weight"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model, which huggingface_hub takes for the real one."""
    from huggingface_hub import close_session, constants

    save(tmp_path / "published", gpt2_tensors(**SIZES), config={"model_type": "gpt2", "n_head": 2})
    with Hub() as hub:
        publish(hub, tmp_path / "published")
        point_at(hub.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        yield hub
        close_session()


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub take this for its hub, as if HF_ENDPOINT had said so when it was imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )


@pytest.fixture
def remote(hub: Hub, tmp_path: Path) -> Open:
    def open_remote(model: str = MODEL, **options: Any) -> Checkpoint:
        return Checkpoint.remote(model, **{"cache_dir": tmp_path / "cache", **options})

    return open_remote


def publish(hub: Hub, directory: Path, model: str = MODEL) -> str:
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    return hub.publish(model, files, large=[name for name in files if name.endswith(".safetensors")])


def got(hub: Hub) -> list[str | None]:
    """The ranges that were asked for since the last look."""
    ranges = [request.range for request in hub.requests if request.method == "GET"]
    hub.requests.clear()
    return ranges


# --- the same face as a local checkpoint


def test_names_shapes_dtypes_and_config_are_those_of_the_file(remote: Open, tmp_path: Path) -> None:
    here, there = Checkpoint.open(tmp_path / "published"), remote()
    assert list(there) == list(here) and len(there) == len(here)
    assert there.parameter_names() == here.parameter_names() and there.num_parameters() == here.num_parameters()
    for (name, array), (_, local) in zip(there.named_parameters(), here.named_parameters(), strict=True):
        assert (array.shape, array.dtype, array.ndim, array.size) == (local.shape, local.dtype, local.ndim, local.size)
        assert (array.nbytes, len(array)) == (local.nbytes, len(local)), name
    assert there.config == here.config
    assert "lm_head.weight" in there and "transformer.wte.weight" in there and "nothing" not in there
    with pytest.raises(KeyError, match=r"close to it: wte\.weight"):
        there["wte.wieght"]


def test_every_number_is_that_of_the_file(remote: Open, tmp_path: Path) -> None:
    here, there = Checkpoint.open(tmp_path / "published"), remote()
    for name in here:
        whole = np.asarray(there[name])
        assert whole.dtype == here[name].dtype and whole.tobytes() == here[name].tobytes()


def test_embeddings_and_neighbours_are_those_of_the_file(remote: Open, tmp_path: Path) -> None:
    here, there = Embeddings(Checkpoint.open(tmp_path / "published")), Embeddings(remote())
    for ids in ([3], [[1, 2], [399, 0]], [5, 5, 5]):
        np.testing.assert_array_equal(there.tokens(ids), here.tokens(ids))
        np.testing.assert_array_equal(there(ids), here(ids))
    assert there.nearest(7) == here.nearest(7)
    with pytest.raises(ValueError, match="token id 400 is outside"):
        there.tokens([400])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        basic_indices((400, 64), allow_newaxis=True),
        st.lists(st.integers(-400, 399), max_size=5),
        st.tuples(st.lists(st.integers(-400, 399), min_size=1, max_size=3), st.slices(64)),
    )
)
def test_any_index_reads_what_numpy_reads(remote: Open, wte: np.ndarray[Any, Any], key: Any) -> None:
    np.testing.assert_array_equal(remote()["wte.weight"][key], wte[key])


def test_masks_and_index_arrays_read_what_numpy_reads(remote: Open, wte: np.ndarray[Any, Any]) -> None:
    array = remote()["wte.weight"]
    rows = np.arange(400)
    for key in (
        rows % 7 == 0,
        wte > 1,
        np.array([[1, 2], [3, -4]], np.int8),
        np.uint16(399),
        np.array(5),
        [True] * 400,
    ):
        np.testing.assert_array_equal(array[key], wte[key])


@pytest.mark.parametrize("key", [400, -401, [0, 400], (0, 64), "a", 1.0])
def test_an_index_that_numpy_refuses_is_refused(remote: Open, wte: np.ndarray[Any, Any], key: Any) -> None:
    with pytest.raises(IndexError) as judged:
        wte[key]
    with pytest.raises(IndexError) as refusal:
        remote()["wte.weight"][key]
    assert str(refusal.value) == str(judged.value)


def test_a_remote_array_computes_as_an_array(remote: Open, wte: np.ndarray[Any, Any]) -> None:
    array = remote()["wte.weight"]
    vector = np.ones(64, np.float32)
    pairs: list[tuple[Any, Any]] = [
        (array * 2 - array, wte * 2 - wte),
        (array @ vector, wte @ vector),
        (np.tanh(array), np.tanh(wte)),
        (array.mean(), wte.mean()),
        (array.T, wte.T),
        (np.asarray(array, np.float64), wte.astype(np.float64)),
        (next(iter(array)), wte[0]),
    ]
    for ours, numpys in pairs:
        np.testing.assert_array_equal(ours, numpys)
    assert not array[:2].flags.writeable
    assert "(400, 64)" in repr(array) and not hasattr(array, "no_such_attribute")


def test_a_name_that_arrays_lack_costs_no_reading(hub: Hub, remote: Open) -> None:
    array = remote()["wte.weight"]
    got(hub)
    assert not hasattr(array, "_repr_html_") and not hasattr(array, "to_torch")
    assert got(hub) == []


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_whole_and_sharded_with_and_without_the_prefix(
    hub: Hub, remote: Open, tmp_path: Path, shards: int, prefix: str
) -> None:
    tensors = gpt2_tensors(prefix)
    keep = save if shards == 1 else save_sharded
    keep(tmp_path / "other", tensors)
    publish(hub, tmp_path / "other", "owner/other")
    weights = remote("owner/other")
    np.testing.assert_array_equal(Embeddings(weights).tokens([9, 0]), tensors[prefix + "wte.weight"][[9, 0]])
    assert {name: np.asarray(weights[name]).tobytes() for name in weights} == {
        name: array.tobytes() for name, array in tensors.items()
    }


# --- what it costs


def test_the_header_costs_one_question_and_one_small_read(hub: Hub, remote: Open) -> None:
    weights = remote()
    weights.num_parameters()
    assert (hub.count("HEAD"), got(hub)) == (1, ["bytes=0-16383"])
    assert weights.fetched_bytes == 16384


def test_a_header_larger_than_the_first_read_takes_a_second_one(hub: Hub, remote: Open, tmp_path: Path) -> None:
    save_file({f"layer.{index:05}": np.full(2, index, np.float32) for index in range(700)}, tmp_path / WEIGHTS)
    data = (tmp_path / WEIGHTS).read_bytes()
    hub.publish("owner/many", {WEIGHTS: data})
    weights = remote("owner/many")
    end = 8 + int.from_bytes(data[:8], "little")
    assert got(hub) == ["bytes=0-16383", f"bytes=16384-{end - 1}"]
    np.testing.assert_array_equal(weights["layer.00699"][:], [699, 699])


def test_rows_cost_their_own_bytes_and_neighbours_one_request(hub: Hub, remote: Open) -> None:
    weights = remote()
    begin = weights.info("wte.weight").begin
    got(hub)
    before = weights.fetched_bytes
    weights["wte.weight"][[300, 301, 302]]
    assert got(hub) == [f"bytes={begin + 300 * 256}-{begin + 303 * 256 - 1}"]
    weights["wte.weight"][[100, 200, 100]]
    assert sorted(map(str, got(hub))) == [
        f"bytes={begin + row * 256}-{begin + (row + 1) * 256 - 1}" for row in (100, 200)
    ]
    assert weights.fetched_bytes - before == 5 * 256


def test_rows_a_small_gap_apart_are_fetched_together(hub: Hub, remote: Open) -> None:
    weights = remote()
    begin = weights.info("wte.weight").begin
    got(hub)
    weights["wte.weight"][100:130:3]
    assert got(hub) == [f"bytes={begin + 100 * 256}-{begin + 128 * 256 - 1}"]


def test_a_second_look_costs_nothing(hub: Hub, remote: Open, wte: np.ndarray[Any, Any]) -> None:
    remote()["wte.weight"][[7, 300]]
    hub.requests.clear()
    again = remote()
    np.testing.assert_array_equal(again["wte.weight"][[300, 7]], wte[[300, 7]])
    assert hub.requests == [] and again.fetched_bytes == 0


def test_only_what_is_missing_is_fetched(hub: Hub, remote: Open, wte: np.ndarray[Any, Any]) -> None:
    remote()["wte.weight"][100:110]
    weights = remote()
    begin = weights.info("wte.weight").begin
    got(hub)
    np.testing.assert_array_equal(weights["wte.weight"][105:115], wte[105:115])
    assert got(hub) == [f"bytes={begin + 110 * 256}-{begin + 115 * 256 - 1}"]


def test_a_whole_checkpoint_comes_in_one_stream(hub: Hub, remote: Open) -> None:
    weights = remote()
    got(hub)
    weights.fetch(weights)
    assert got(hub) == [f"bytes=16384-{weights.size - 1}"]
    assert weights.fetched_bytes == weights.size


def test_a_file_that_is_cached_whole_is_read_there(hub: Hub, remote: Open, tmp_path: Path) -> None:
    Checkpoint.from_pretrained(MODEL, cache_dir=tmp_path / "cache")
    hub.requests.clear()
    weights = remote()
    assert isinstance(weights["wte.weight"], np.ndarray) and weights.fetched_bytes == 0
    assert hub.requests == []


def test_all_of_it_is_of_the_commit_that_was_named_first(hub: Hub, remote: Open, tmp_path: Path) -> None:
    wte = np.asarray(remote()["wte.weight"][:3])
    (tmp_path / "published" / "config.json").write_text('{"model_type": "gpt2", "n_head": 99}')
    save(tmp_path / "published", {name: array + 1 for name, array in gpt2_tensors(**SIZES).items()})
    publish(hub, tmp_path / "published")
    weights = remote()
    np.testing.assert_array_equal(weights["wte.weight"][:3], wte)
    np.testing.assert_array_equal(weights["wte.weight"][200], gpt2_tensors(**SIZES)["wte.weight"][200])
    assert weights.config["n_head"] == 2


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, remote: Open, tmp_path: Path) -> None:
    old = hub.branches[MODEL]["main"]
    save(tmp_path / "published", {name: array + 1 for name, array in gpt2_tensors(**SIZES).items()})
    publish(hub, tmp_path / "published")
    row = gpt2_tensors(**SIZES)["wte.weight"][5]
    np.testing.assert_array_equal(remote(revision=old)["wte.weight"][5], row)
    np.testing.assert_array_equal(remote()["wte.weight"][5], row + 1)


@pytest.mark.parametrize("model", ["./here", "/here/there", "here.safetensors"])
def test_a_path_is_refused(remote: Open, model: str) -> None:
    with pytest.raises(ValueError, match=r"is a path .* Checkpoint\.open reads it"):
        remote(model)


@pytest.mark.parametrize(("options", "error"), [({"revision": "../x"}, ValueError), ({"revision": 5}, TypeError)])
def test_a_name_that_leaves_the_cache_is_refused(remote: Open, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        remote(**options)


@pytest.mark.parametrize("version", ["0.34.0", "0.36.2"])
def test_reading_by_ranges_says_which_huggingface_hub_it_needs(
    version: str, remote: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.__version__", version)
    with pytest.raises(HubError, match=rf"needs huggingface_hub 1\.0 or newer, not {version}.*minigpt2 download"):
        remote()


# --- what is not a GPT-2, or not safetensors


def test_another_architecture_opens_and_is_refused_where_a_gpt2_is_needed(hub: Hub, remote: Open) -> None:
    from safetensors.numpy import save as serialize

    hub.publish("owner/bert", {WEIGHTS: serialize({"bert.pooler.bias": np.arange(3.0)})})
    weights = remote("owner/bert")
    np.testing.assert_array_equal(weights["bert.pooler.bias"], [0, 1, 2])
    for need in (weights.parameter_names, lambda: Embeddings(weights), lambda: weights.config):
        with pytest.raises(CheckpointError, match=r"is not a GPT-2: it has no 'wte.weight'; it holds 1 tensors"):
            need()


def test_a_repository_of_pickles_is_refused_with_the_reason(hub: Hub, remote: Open) -> None:
    hub.publish("owner/old", {"pytorch_model.bin": b"PK", "config.json": b"{}"})
    with pytest.raises(CheckpointError, match=r"owner/old has neither .* can run code .* save_pretrained\(\)"):
        remote("owner/old")
    assert not any(request.path.endswith(".bin") for request in hub.requests)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!doctype html><title>hello</title>" * 2000, "is a web page"),
        (b"PK\x03\x04" + bytes(99_999), "is a pickle"),
        (b"\x10\x27\0\0\0\0\0\0[" + bytes(99_999), "invalid JSON"),
        (b'\xf0\x49\x02\0\0\0\0\0{"a":' + b"[" * 149_995, "recursion"),
        (b"\x02\0\0\0\0\0\0\0{}x", "not fully covered"),
    ],
)
def test_what_is_no_safetensors_file_is_refused_and_not_read_on(
    hub: Hub, remote: Open, data: bytes, words: str
) -> None:
    hub.publish("owner/damaged", {WEIGHTS: data})
    with pytest.raises(CheckpointError, match=words):
        remote("owner/damaged")
    assert hub.sent_bytes <= (16384 if data[8:9] != b"{" else 160_000)


def test_a_model_without_config_has_all_but_config(hub: Hub, remote: Open, tmp_path: Path) -> None:
    save(tmp_path / "bare", gpt2_tensors())
    publish(hub, tmp_path / "bare", "owner/bare")
    weights = remote("owner/bare")
    assert Embeddings(weights)([1, 2]).shape == (2, 4)
    with pytest.raises(CheckpointError, match=r"no config\.json beside"):
        _ = weights.config


# --- a server that does not do what it should

LIES: dict[Fault, str] = {
    Fault.WHOLE: "cannot give a part of a file",
    Fault.WHOLE_AS_PART: "announced .* bytes instead of 512",
    Fault.ANOTHER_PART: "sent 'bytes .* instead of 'bytes ",
    Fault.LONGER_PART: "sent more than the 512 bytes",
    Fault.GZIP: r"encoded the bytes \(gzip\)",
    Fault.NO_RANGE: "sent 'no range' instead",
    Fault.ANOTHER_SIZE: "sent 'bytes .* instead of 'bytes ",
    Fault.CHANGED: "has another file there now",
    Fault.RENAMED: "has another file there now",
    Fault.ELSEWHERE: r"redirects to another server, http://127\.0\.0\.2:9",
    Fault.STALL: "timed out",
    Fault.SLOW: "less than 1,000 bytes a second",
    Fault.DROP: "peer closed|ended",
}


@pytest.mark.parametrize("fault", LIES, ids=lambda fault: fault.name)
def test_a_server_that_lies_or_stalls_is_a_hub_error_and_never_a_number(
    hub: Hub, remote: Open, wte: np.ndarray[Any, Any], fault: Fault
) -> None:
    weights = remote()
    hub.requests.clear()
    hub.faults[WEIGHTS] = fault
    for _ in range(2):
        with pytest.raises(HubError, match=LIES[fault]) as refusal:
            weights["wte.weight"][[40, 41]]
        assert MODEL in str(refusal.value) and WEIGHTS in str(refusal.value) and "\n" not in str(refusal.value)
    del hub.faults[WEIGHTS]
    np.testing.assert_array_equal(remote()["wte.weight"][[40, 41]], wte[[40, 41]])


@pytest.mark.parametrize(
    "fault", [*LIES, Fault.HANG, Fault.LOGIN_PAGE, Fault.ESCAPING_HASH, Fault.GATED, 401, 404, 500]
)
def test_a_first_look_that_fails_is_a_hub_error_and_leaves_nothing_that_counts(
    hub: Hub, remote: Open, tmp_path: Path, fault: Fault | int
) -> None:
    if fault is Fault.RENAMED:
        return  # the first answer's tag is the first
    hub.faults[WEIGHTS] = fault
    with pytest.raises(HubError, match=MODEL):
        remote()
    journals = list((tmp_path / "cache").rglob("fetched"))
    assert all(journal.read_bytes().count(b"\n") == 1 for journal in journals), "the line that names the file"
    assert not (tmp_path / "escaped").exists()
    del hub.faults[WEIGHTS]
    assert remote().num_parameters()


@pytest.mark.parametrize("fault", [Fault.NO_LENGTH, Fault.CHUNKED, Fault.DROP_ONCE])
def test_an_answer_that_is_odd_but_right_is_read(
    hub: Hub, remote: Open, wte: np.ndarray[Any, Any], fault: Fault
) -> None:
    weights = remote()
    hub.faults[WEIGHTS] = fault
    np.testing.assert_array_equal(weights["wte.weight"][40:300], wte[40:300])


def test_a_dropped_stream_goes_on_where_it_ended(hub: Hub, remote: Open) -> None:
    weights = remote()
    got(hub)
    hub.faults[WEIGHTS] = Fault.DROP_ONCE
    weights["wte.weight"][:]
    first, second = (str(each).removeprefix("bytes=").split("-") for each in got(hub))
    assert int(first[0]) < int(second[0]) < int(first[1]) and first[1] == second[1]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(
    hub: Hub, remote: Open, wte: np.ndarray[Any, Any], status: int
) -> None:
    weights = remote()
    got(hub)
    hub.statuses[WEIGHTS] = iter([(status, {"Retry-After": "1"})])
    np.testing.assert_array_equal(weights["wte.weight"][3], wte[3])
    assert len(got(hub)) == 2


@pytest.mark.parametrize("retry_after", ["3600", "Wed, 21 Oct 2035 07:28:00 GMT", "-1", "", None])
def test_a_server_that_is_busy_for_long_is_a_hub_error_at_once(hub: Hub, remote: Open, retry_after: str | None) -> None:
    weights = remote()
    got(hub)
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    hub.statuses[WEIGHTS] = repeat((429, headers))
    with pytest.raises(HubError, match="answered 429; too many requests: wait"):
        weights["wte.weight"][3]
    assert len(got(hub)) <= 3


@pytest.mark.parametrize(("status", "words"), [(416, "says that the file has no bytes"), (500, "later"), (404, "404")])
def test_a_status_that_is_no_content_is_a_hub_error(hub: Hub, remote: Open, status: int, words: str) -> None:
    weights = remote()
    hub.statuses[WEIGHTS] = repeat((status, {}))
    with pytest.raises(HubError, match=words):
        weights["wte.weight"][3]


def test_an_address_that_is_no_longer_valid_is_asked_for_anew(
    hub: Hub, remote: Open, wte: np.ndarray[Any, Any]
) -> None:
    weights = remote()
    hub.requests.clear()
    hub.statuses[WEIGHTS] = iter([(403, {})])
    np.testing.assert_array_equal(weights["wte.weight"][3], wte[3])
    assert (hub.count("HEAD"), hub.count("GET")) == (1, 2)


def test_a_storage_that_names_its_content_by_another_hash_is_read(
    hub: Hub, remote: Open, wte: np.ndarray[Any, Any]
) -> None:
    [files] = hub.commits[MODEL].values()
    hub.headers |= {"X-Xet-Hash": "1" * 64, "Link": f'<{hub.url}/token>; rel="xet-auth"'}
    hub.storage_tags[WEIGHTS] = '"md5-33"'
    np.testing.assert_array_equal(remote()["wte.weight"][3], wte[3])
    hub.storage_tags[WEIGHTS] = f'"{"1" * 64}"'
    np.testing.assert_array_equal(remote()["wte.weight"][200], wte[200])
    assert files[WEIGHTS].hash not in hub.storage_tags.values()


def test_a_redirect_within_the_storage_is_followed_and_a_circle_is_not(
    hub: Hub, remote: Open, wte: np.ndarray[Any, Any]
) -> None:
    weights = remote()
    path = next(request.path for request in hub.requests if request.at_storage)
    hub.statuses[WEIGHTS] = iter([(307, {"Location": path})])
    np.testing.assert_array_equal(weights["wte.weight"][3], wte[3])
    hub.statuses[WEIGHTS] = repeat((302, {"Location": path}))
    with pytest.raises(HubError, match="redirects again and again"):
        weights["wte.weight"][200]


def test_another_file_under_the_same_commit_is_refused(hub: Hub, remote: Open) -> None:
    remote()
    [files] = hub.commits[MODEL].values()
    files[WEIGHTS] = type(files[WEIGHTS])(files[WEIGHTS].content[:-1] + b"\0", large=True)
    weights = remote()  # the header is here already
    with pytest.raises(HubError, match="has another file there now"):
        weights["wte.weight"][3]


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    remote()["wte.weight"][[3, 300]]
    tokens = {(request.at_storage, request.token) for request in hub.requests}
    assert tokens == {(False, "Bearer hf_secret"), (True, None)}


def test_the_token_goes_along_where_the_hub_itself_has_the_content(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.publish("owner/small", {WEIGHTS: (tmp_path / "published" / WEIGHTS).read_bytes()}, large=[])
    assert remote("owner/small")["wte.weight"][3].shape == (64,)
    assert {(request.at_storage, request.token) for request in hub.requests} == {(False, "Bearer hf_secret")}


def test_an_address_that_is_not_secure_where_the_hub_is_secure_is_refused(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    weights = remote()
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")  # where it is found stays as it was
    with pytest.raises(HubError, match="redirects to http://localhost"):
        weights["wte.weight"][3]


def test_without_a_network_the_first_look_is_a_hub_error_and_the_second_needs_none(
    hub: Hub, remote: Open, wte: np.ndarray[Any, Any]
) -> None:
    from huggingface_hub import close_session

    remote()["wte.weight"][3]
    hub.stop()
    close_session()  # the connections that are still open
    np.testing.assert_array_equal(remote()["wte.weight"][3], wte[3])
    with pytest.raises(HubError, match=hub.url):
        remote()["wte.weight"][4]
    with pytest.raises(HubError, match=hub.url):
        remote("owner/other")


def test_offline_makes_no_request(hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    remote()
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert remote().num_parameters()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        remote()["wte.weight"][4]
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        remote("owner/other")
    assert hub.requests == []


def test_a_hub_that_accepts_and_never_answers_is_given_up_in_time(
    remote: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        with pytest.raises(HubError, match="check the network"):
            remote("owner/other", timeout=0.2)


# --- the cache


def used(cache: Path) -> int:
    """The bytes that the sparse files and their journals take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in entries(cache) if path.is_file())


def entries(cache: Path) -> list[Path]:
    return [path for journal in cache.rglob("fetched") for path in journal.parent.iterdir()]


def entry(cache: Path) -> Path:
    [journal] = cache.rglob("fetched")
    return journal.parent


def test_the_cache_is_beside_the_models_own_and_takes_what_was_fetched(remote: Open, tmp_path: Path) -> None:
    weights = remote()
    weights["wte.weight"][3]
    folder = entry(tmp_path / "cache")
    assert (
        folder.relative_to(tmp_path / "cache").parts[0] == "minigpt2-ranges"
        and folder.parts[-3] == "models--owner--tiny"
    )
    assert folder.parent.name == weights.commit
    status = (folder / WEIGHTS).stat()
    assert status.st_size == weights.size and status.st_blocks * 512 < weights.size
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, "fetched"}


def test_huggingface_hub_still_finds_its_way_in_the_cache(remote: Open, tmp_path: Path) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    weights = remote()
    weights["wte.weight"][3]
    assert weights.config
    [repository] = scan_cache_dir(tmp_path / "cache").repos
    assert repository.repo_id == MODEL and {file.file_name for file in next(iter(repository.revisions)).files} == {
        "config.json"
    }
    assert try_to_load_from_cache(MODEL, WEIGHTS, cache_dir=tmp_path / "cache") is None
    assert Checkpoint.from_pretrained(MODEL, cache_dir=tmp_path / "cache").num_parameters()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "fetched").write_bytes(b""),
        lambda folder: (folder / "fetched").write_bytes(b"\0" * 500),
        lambda folder: (folder / "fetched").write_bytes(b"\nsomething else 0 00000000\n0 100000 00000000"),
        lambda folder: (folder / "fetched").unlink(),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: os.truncate(folder / WEIGHTS, 100),
        lambda folder: (folder / WEIGHTS).write_bytes(b""),
    ],
    ids=["emptied", "zeros", "foreign", "no journal", "no data", "cut off", "no bytes"],
)
def test_a_damaged_cache_is_made_anew(
    remote: Open, tmp_path: Path, wte: np.ndarray[Any, Any], damage: Callable[[Path], object]
) -> None:
    remote()["wte.weight"][3]
    damage(entry(tmp_path / "cache"))
    np.testing.assert_array_equal(remote()["wte.weight"][[3, 4]], wte[[3, 4]])


def test_no_line_of_the_journal_counts_that_is_not_whole(
    remote: Open, tmp_path: Path, wte: np.ndarray[Any, Any]
) -> None:
    begin = remote().info("wte.weight").begin
    folder = entry(tmp_path / "cache")
    sound = sparse_file._line(f"{begin} {begin + 50 * 256}")
    with (folder / "fetched").open("ab") as journal:
        for torn in range(1, len(sound)):  # as a process that ends in the middle of a write would leave it
            journal.write(sound[:torn])
    weights = remote()
    np.testing.assert_array_equal(weights["wte.weight"][:50], wte[:50])
    assert weights.fetched_bytes == 50 * 256
    assert remote()["wte.weight"][:50].tobytes() == wte[:50].tobytes()


def test_a_file_cut_off_while_it_is_open_is_an_error_and_not_the_end_of_the_process(
    remote: Open, tmp_path: Path
) -> None:
    weights = remote()
    weights["wte.weight"][:]
    os.truncate(entry(tmp_path / "cache") / WEIGHTS, 1000)
    for read in (lambda: weights["wte.weight"][3], lambda: Embeddings(weights).tokens([3])):
        with pytest.raises(CheckpointError, match="has been cut off"):
            read()


def test_a_cache_that_takes_no_files_costs_only_the_second_look(
    hub: Hub, remote: Open, tmp_path: Path, wte: np.ndarray[Any, Any]
) -> None:
    (tmp_path / "a file").write_text("where the cache's folder should be")
    for _ in range(2):
        weights = remote(cache_dir=tmp_path / "a file")
        np.testing.assert_array_equal(weights["wte.weight"][[3, 4]], wte[[3, 4]])
        assert weights.fetched_bytes == 16384 + 512
        path = weights.path
        assert path.exists()
        del weights
        assert not path.exists(), "what cannot be kept goes with the checkpoint"


def test_a_file_removed_while_it_is_open_is_read_on(remote: Open, tmp_path: Path, wte: np.ndarray[Any, Any]) -> None:
    weights = remote()
    sparse_file.remove(entry(tmp_path / "cache"))
    np.testing.assert_array_equal(weights["wte.weight"][[3, 4]], wte[[3, 4]])
    np.testing.assert_array_equal(remote()["wte.weight"][[4, 300]], wte[[4, 300]])
    np.testing.assert_array_equal(weights["wte.weight"][[4, 300]], wte[[4, 300]])


def test_the_cache_is_bounded_and_what_was_used_last_stays(
    hub: Hub, remote: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        publish(hub, tmp_path / "published", f"owner/model{number}")
        remote(f"owner/model{number}")["wte.weight"][:]
    for order, journal in enumerate(sorted((tmp_path / "cache").rglob("fetched"))):
        os.utime(journal, (order, order))
    bound = used(tmp_path / "cache")
    monkeypatch.setattr(tensors, "BOUND", bound)
    remote("owner/model0").fetch(["h.0.mlp.c_fc.weight"])
    kept = sorted(journal.parents[2].name for journal in (tmp_path / "cache").rglob("fetched"))
    assert kept == ["models--owner--model0", "models--owner--model2", "models--owner--model3"]
    assert used(tmp_path / "cache") <= bound


def test_a_file_that_alone_is_more_than_the_bound_is_read_and_not_kept(
    hub: Hub, remote: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wte: np.ndarray[Any, Any]
) -> None:
    monkeypatch.setattr(tensors, "BOUND", 50_000)
    weights = remote()
    np.testing.assert_array_equal(weights["wte.weight"], wte)
    np.testing.assert_array_equal(weights["wte.weight"][3], wte[3])
    assert not list((tmp_path / "cache").rglob("fetched"))


def test_one_name_on_two_hubs_is_two_models(
    hub: Hub, remote: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wte: np.ndarray[Any, Any]
) -> None:
    np.testing.assert_array_equal(remote()["wte.weight"][3], wte[3])
    save(tmp_path / "published", {name: array + 1 for name, array in gpt2_tensors(**SIZES).items()})
    with Hub() as other:
        publish(other, tmp_path / "published")
        point_at(other.url, monkeypatch)
        np.testing.assert_array_equal(remote()["wte.weight"][3], wte[3] + 1)
    point_at(hub.url, monkeypatch)
    np.testing.assert_array_equal(remote()["wte.weight"][3], wte[3])


def test_many_threads_read_the_same_numbers_and_fetch_each_once(remote: Open, wte: np.ndarray[Any, Any]) -> None:
    weights = remote()
    before = weights.fetched_bytes
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: np.array(weights["wte.weight"][[i * 37 % 400, 399]]), range(100)))
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(row, wte[[i * 37 % 400, 399]])
    assert weights.fetched_bytes - before <= wte.nbytes


def test_two_checkpoints_of_one_file_share_what_either_fetches(remote: Open, wte: np.ndarray[Any, Any]) -> None:
    one, other = remote(), remote()
    one["wte.weight"][50:60]
    before = other.fetched_bytes
    np.testing.assert_array_equal(other["wte.weight"][50:60], wte[50:60])
    assert other.fetched_bytes == before


def test_a_failing_disk_is_a_hub_error_and_nothing_counts(
    remote: Open, monkeypatch: pytest.MonkeyPatch, wte: np.ndarray[Any, Any]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    weights = remote()
    with monkeypatch.context() as patched:
        patched.setattr(sparse_file, "write_at", full)
        with pytest.raises(HubError, match="HF_HOME or cache_dir"):
            weights["wte.weight"][3]
    np.testing.assert_array_equal(weights["wte.weight"][3], wte[3])


def test_an_interrupt_leaves_nothing_that_counts(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch, wte: np.ndarray[Any, Any]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    weights = remote()
    with monkeypatch.context() as patched:
        patched.setattr(sparse_file, "write_at", interrupted)
        with pytest.raises(KeyboardInterrupt):
            weights["wte.weight"][3:200:90]
    np.testing.assert_array_equal(remote()["wte.weight"][:], wte)


def test_what_has_come_of_a_long_stream_counts_though_the_rest_does_not_come(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "NOTE_EVERY", 10_000)
    weights = remote()
    hub.faults[WEIGHTS] = Fault.DROP_ONCE
    hub.statuses[WEIGHTS] = iter([None, *repeat((500, {}), 5)])  # type: ignore[list-item]  # one answer, then none
    with pytest.raises(HubError):
        weights["wte.weight"][:]
    hub.statuses.clear()
    hub.faults.clear()
    again = remote()
    again["wte.weight"][:]
    assert 0 < again.fetched_bytes < weights.info("wte.weight").nbytes


# --- byte ranges


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))), st.integers(0, 60), st.integers(0, 60))
def test_a_set_of_byte_ranges_is_a_set_of_bytes(ranges: list[tuple[int, int]], begin: int, end: int) -> None:
    known = ByteRanges(ranges)
    bytes_of = {offset for first, last in ranges for offset in range(first, last)}
    assert {offset for first, last in known for offset in range(first, last)} == bytes_of
    assert all(before[1] < after[0] for before, after in zip(list(known), list(known)[1:], strict=False))
    missing = [offset for first, last in known.missing(begin, end) for offset in range(first, last)]
    assert missing == sorted(set(range(begin, end)) - bytes_of)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 5000))))
def test_ranges_together_hold_every_byte_in_no_more_requests(ranges: list[tuple[int, int]]) -> None:
    wanted = ByteRanges((begin, begin + length) for begin, length in ranges)
    joined = ByteRanges(together(wanted))
    assert not [gap for begin, end in wanted for gap in joined.missing(begin, end)]
    assert len(list(joined)) <= len(list(wanted))


@pytest.mark.parametrize("step", [10_000, 100_000])
def test_however_many_rows_are_asked_for_the_requests_are_bounded(step: int) -> None:
    assert len(together((offset * step, offset * step + 100) for offset in range(5000))) <= MOST_REQUESTS


def test_the_rows_of_an_index_are_where_they_are() -> None:
    assert of_rows((10, 4), 160, slice(2, 4)) == [(32, 64)]
    assert of_rows((10, 4), 160, [1, 9, 1]) == [(16, 32), (144, 160)]
    assert of_rows((10, 4), 160, []) == [] and of_rows((0, 4), 0, ...) == []
    assert of_rows((), 4, ...) == [(0, 4)]
    assert of_rows((10, 4), 160, (slice(None), 3)) == [(0, 160)]


def test_rows_need_no_config(hub: Hub, remote: Open) -> None:
    Embeddings(remote()).tokens([1])
    assert not [request.path for request in hub.requests if request.path.endswith(".json")]
