"""The settings that let huggingface_hub take a server on loopback for the hub, in other processes and in this one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.command import ROOT, environment
from tests.hub_server import BEFORE_1


def online(url: str, home: Path, **changes: str) -> dict[str, str]:
    """An environment in which a server on loopback is the hub, and its cache is in `home`.

    It names a folder without certificates: to read those of the machine takes longer than a request.
    """
    hub = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    return environment(**hub, SSL_CERT_DIR=str(ROOT)) | changes


@contextmanager
def imported_with(variables: Mapping[str, str]) -> Iterator[None]:
    """Let huggingface_hub, in this process, be as if it had been imported in this environment, by this package."""
    variables = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **variables}
    spec = find_spec("huggingface_hub.constants")
    assert spec and spec.loader
    imported = module_from_spec(spec)
    with patch.dict(os.environ, variables, clear=True), pytest.MonkeyPatch.context() as patched:
        spec.loader.exec_module(imported)
        for name, value in vars(imported).items():
            if name.isupper():
                patched.setattr(f"huggingface_hub.constants.{name}", value)
        if BEFORE_1:  # which keeps one of them elsewhere too
            template = imported.HUGGINGFACE_CO_URL_TEMPLATE
            patched.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template)
        close_session()  # it was opened with other settings
        yield
        close_session()


def close_session() -> None:
    """Let huggingface_hub close the connections that it keeps open."""
    from huggingface_hub.utils import _http

    getattr(_http, "reset_sessions" if BEFORE_1 else "close_session")()
