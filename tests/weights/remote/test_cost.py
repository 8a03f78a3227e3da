"""The cost of reading by byte ranges: few requests, few bytes, and no request for bytes read before."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from minigpt2 import Checkpoint, Embeddings
from tests.hub_server import Hub
from tests.weights.remote.published import MODEL, WEIGHTS, Array, Open, assert_same, range_of_rows, ranges_asked_for


def test_the_header_costs_one_question_and_one_small_read(hub: Hub, remote: Open) -> None:
    weights = remote()
    weights.num_parameters()
    assert (hub.count("HEAD"), ranges_asked_for(hub)) == (1, ["bytes=0-16383"])
    assert weights.fetched_bytes == 16384


def test_a_header_larger_than_the_first_read_takes_a_second_one(hub: Hub, remote: Open, tmp_path: Path) -> None:
    save_file({f"layer.{index:05}": np.full(2, index, np.float32) for index in range(700)}, tmp_path / WEIGHTS)
    data = (tmp_path / WEIGHTS).read_bytes()
    hub.publish("owner/many", {WEIGHTS: data})
    weights = remote("owner/many")
    end = 8 + int.from_bytes(data[:8], "little")
    assert ranges_asked_for(hub) == ["bytes=0-16383", f"bytes=16384-{end - 1}"]
    assert_same(weights["layer.00699"][:], [699, 699])


def test_rows_cost_their_own_bytes_and_neighbours_one_request(hub: Hub, remote: Open) -> None:
    weights = remote()
    ranges_asked_for(hub)
    before = weights.fetched_bytes
    weights["wte.weight"][[300, 301, 302]]
    assert ranges_asked_for(hub) == [range_of_rows(weights, 300, 303)]
    weights["wte.weight"][[100, 200, 100]]
    assert sorted(map(str, ranges_asked_for(hub))) == [range_of_rows(weights, row, row + 1) for row in (100, 200)]
    assert weights.fetched_bytes - before == 5 * 256


def test_rows_a_small_gap_apart_are_fetched_together(hub: Hub, remote: Open) -> None:
    weights = remote()
    ranges_asked_for(hub)
    weights["wte.weight"][100:130:3]
    assert ranges_asked_for(hub) == [range_of_rows(weights, 100, 128)]


def test_a_second_look_costs_nothing(hub: Hub, remote: Open, wte: Array) -> None:
    remote()["wte.weight"][[7, 300]]
    hub.requests.clear()
    again = remote()
    assert_same(again["wte.weight"][[300, 7]], wte[[300, 7]])
    assert hub.requests == [] and again.fetched_bytes == 0


def test_only_what_is_missing_is_fetched(hub: Hub, remote: Open, wte: Array) -> None:
    remote()["wte.weight"][100:110]
    weights = remote()
    ranges_asked_for(hub)
    assert_same(weights["wte.weight"][105:115], wte[105:115])
    assert ranges_asked_for(hub) == [range_of_rows(weights, 110, 115)]


def test_a_whole_checkpoint_comes_in_one_stream(hub: Hub, remote: Open) -> None:
    weights = remote()
    ranges_asked_for(hub)
    weights.fetch(weights)
    assert ranges_asked_for(hub) == [f"bytes=16384-{weights.size - 1}"]
    assert weights.fetched_bytes == weights.size


def test_a_file_that_is_cached_whole_is_read_there(hub: Hub, remote: Open, cache: Path) -> None:
    Checkpoint.from_pretrained(MODEL, cache_dir=cache)
    hub.requests.clear()
    weights = remote()
    assert isinstance(weights["wte.weight"], np.ndarray) and weights.fetched_bytes == 0
    assert hub.requests == []


def test_rows_need_no_config(hub: Hub, remote: Open) -> None:
    Embeddings(remote()).tokens([1])
    assert not [request.path for request in hub.requests if request.path.endswith(".json")]
