"""Where the bytes come from: revisions and hubs, redirects, addresses that expire, and who is told the token."""

from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from minigpt2 import HubError
from tests.hub_server import File, Hub
from tests.hub_settings import imported_with, online
from tests.weights.remote.published import (
    MODEL,
    SIZES,
    WEIGHTS,
    Array,
    Open,
    assert_same,
    publish_other_weights,
)
from tests.weights.samples import gpt2_tensors


def test_all_of_it_is_of_the_commit_that_was_named_first(hub: Hub, remote: Open, published: Path) -> None:
    wte = np.asarray(remote()["wte.weight"][:3])
    (published / "config.json").write_text('{"model_type": "gpt2", "n_head": 99}')
    publish_other_weights(hub, published)
    weights = remote()
    assert_same(weights["wte.weight"][:3], wte)
    assert_same(weights["wte.weight"][200], gpt2_tensors(**SIZES)["wte.weight"][200])
    assert weights.config["n_head"] == 2


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, remote: Open, published: Path) -> None:
    old = hub.branches[MODEL]["main"]
    publish_other_weights(hub, published)
    row = gpt2_tensors(**SIZES)["wte.weight"][5]
    assert_same(remote(revision=old)["wte.weight"][5], row)
    assert_same(remote()["wte.weight"][5], row + 1)


def test_an_address_that_is_no_longer_valid_is_asked_for_anew(hub: Hub, remote: Open, wte: Array) -> None:
    weights = remote()
    hub.requests.clear()
    hub.statuses[WEIGHTS] = iter([(403, {})])
    assert_same(weights["wte.weight"][3], wte[3])
    assert (hub.count("HEAD"), hub.count("GET")) == (1, 2)


def test_a_storage_that_names_its_content_by_another_hash_is_read(hub: Hub, remote: Open, wte: Array) -> None:
    [files] = hub.commits[MODEL].values()
    hub.headers |= {"X-Xet-Hash": "1" * 64, "Link": f'<{hub.url}/token>; rel="xet-auth"'}
    hub.storage_tags[WEIGHTS] = '"md5-33"'
    assert_same(remote()["wte.weight"][3], wte[3])
    hub.storage_tags[WEIGHTS] = f'"{"1" * 64}"'
    assert_same(remote()["wte.weight"][200], wte[200])
    assert files[WEIGHTS].hash not in hub.storage_tags.values()


def test_a_redirect_within_the_storage_is_followed_and_a_circle_is_not(hub: Hub, remote: Open, wte: Array) -> None:
    weights = remote()
    path = next(request.path for request in hub.requests if request.at_storage)
    hub.statuses[WEIGHTS] = iter([(307, {"Location": path})])
    assert_same(weights["wte.weight"][3], wte[3])
    hub.statuses[WEIGHTS] = repeat((302, {"Location": path}))
    with pytest.raises(HubError, match="redirects again and again"):
        weights["wte.weight"][200]


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    remote()["wte.weight"][[3, 300]]
    tokens = {(request.at_storage, request.token) for request in hub.requests}
    assert tokens == {(False, "Bearer hf_secret"), (True, None)}


def test_the_token_goes_along_where_the_hub_itself_has_the_content(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    commit = hub.publish("owner/small", {})
    hub.commits["owner/small"][commit][WEIGHTS] = File((published / WEIGHTS).read_bytes(), large=False)
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


def test_one_name_on_two_hubs_is_two_models(remote: Open, wte: Array, published: Path, tmp_path: Path) -> None:
    assert_same(remote()["wte.weight"][3], wte[3])
    with Hub() as other, imported_with(online(other.url, tmp_path)):
        publish_other_weights(other, published)
        assert_same(remote()["wte.weight"][3], wte[3] + 1)
    assert_same(remote()["wte.weight"][3], wte[3])
