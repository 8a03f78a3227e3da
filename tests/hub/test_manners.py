"""The hub gets the user's token, the terminal shows the progress, and neither gets anything else."""

import subprocess
import sys

import pytest

from tests.command import errors_on_a_terminal
from tests.hub.client import Client
from tests.hub_server import Hub


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, client: Client) -> None:
    client.environment["HF_TOKEN"] = "hf_secret"
    client.fetch("owner/tiny", "model.safetensors")
    tokens = {(request.at_storage, request.token) for request in hub.requests}
    assert tokens == {(False, "Bearer hf_secret"), (True, None)}


def test_remarks_of_the_hub_are_not_printed(hub: Hub, client: Client) -> None:
    hub.headers["X-HF-Warning"] = "unauthenticated; You are sending unauthenticated requests."
    client.run("fetch", "owner/tiny", "config.json")  # which has seen that nothing was printed
    assert hub.requests


def test_progress_is_shown_on_a_terminal(client: Client) -> None:
    shown = errors_on_a_terminal(client.command("fetch", "owner/tiny", "model.safetensors"), client.environment)
    assert "100%" in shown and "76.8k" in shown


@pytest.mark.parametrize(
    ("environment", "first_import", "disabled"),
    [({}, "minigpt2.hub", True), ({"HF_HUB_DISABLE_XET": "0"}, "minigpt2.hub", False), ({}, "huggingface_hub", False)],
)
def test_xet_is_switched_off_where_the_user_has_not_decided(
    client: Client, environment: dict[str, str], first_import: str, disabled: bool
) -> None:
    script = (
        f"import {first_import}, minigpt2.hub; minigpt2.hub.cached('gpt2', 'config.json')\n"
        "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_XET)"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.check_output(command, env=client.environment | environment) == b"%r\n" % disabled
