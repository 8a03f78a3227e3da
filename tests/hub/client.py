"""Calls of minigpt2.hub and huggingface_hub with one cache, in this process or in fresh ones."""

import importlib
import json
import logging
import subprocess
import sys
import threading
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import BEFORE_2, Hub
from tests.hub_settings import imported_with, online

CONFIG = b'{"model_type": "gpt2", "n_embd": 8}\n'
WEIGHTS = bytes(range(256)) * 300

# In a process of its own huggingface_hub reads its environment itself, when it is imported.
CLIENT = """
import importlib, json, sys
module, function, arguments, options = json.loads(sys.argv[1])
try:
    answer = {"path": str(getattr(importlib.import_module(module), function)(*arguments, **options))}
except Exception as error:
    answer = {"error": type(error).__name__, "message": str(error)}
print(json.dumps(answer | {"imported": "huggingface_hub.file_download" in sys.modules}))
"""


class Client:
    """Calls functions of minigpt2.hub and huggingface_hub in an environment that a test may change.

    `patience` is HF_HUB_DOWNLOAD_TIMEOUT in this process, where it may be less than a second.
    """

    def __init__(self, hub: Hub, home: Path) -> None:
        self.environment = online(hub.url, home)
        self.cache = home / "hub"
        self.patience: float = 1

    def command(self, function: str, *arguments: str, before: str = "") -> list[str]:
        """The command that calls a function of minigpt2.hub in a fresh process and prints the answer."""
        call = json.dumps(["minigpt2.hub", function, arguments, {}])
        return [sys.executable, "-W", "error", "-c", before + CLIENT, call]

    def start(self, function: str, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(function, *arguments), env=self.environment, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, function: str, *arguments: str) -> dict[str, Any]:
        """The answer of a fresh process that prints nothing else."""
        with self.start(function, *arguments) as process:
            answer, complaints = process.communicate(timeout=60)
        assert complaints == ""
        return dict(json.loads(answer))

    def call(self, module: str, function: str, *arguments: str, **options: Any) -> dict[str, Any]:
        """The answer of a function that prints nothing, in this process."""
        complaints = StringIO()
        others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

        def is_of_this_call(record: logging.LogRecord) -> bool:
            return record.thread not in others  # a question of an earlier call may still be repeated, before 1.0

        with imported_with(self.environment), redirect_stderr(complaints), pytest.MonkeyPatch.context() as patched:
            patched.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", self.patience)
            for handler in logging.getLogger("huggingface_hub").handlers:
                patched.setattr(handler, "stream", complaints)
                patched.setattr(handler, "filters", [*handler.filters, is_of_this_call])
            try:
                answer = {"path": str(getattr(importlib.import_module(module), function)(*arguments, **options))}
            except Exception as error:
                answer = {"error": type(error).__name__, "message": str(error)}
        assert complaints.getvalue() == ""
        return answer

    def fetch(self, model: str, filename: str, **options: Any) -> dict[str, Any]:
        return self.call("minigpt2.hub", "fetch", model, filename, **options)

    def download(self, model: str, filename: str, **options: Any) -> dict[str, Any]:
        return self.call("minigpt2.hub", "download", model, filename, **options)

    def judge(self, model: str, filename: str, **options: Any) -> dict[str, Any]:
        return self.call("huggingface_hub", "hf_hub_download", model, filename, **options)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; a link as the file it leads to."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finished(folder: Path) -> list[str]:
    """Every file below a folder, without the unfinished ones that huggingface_hub kept before 2.0, to resume later."""
    return [name for name in files(folder) if not (BEFORE_2 and name.endswith(".incomplete"))]


def refusal(answer: dict[str, Any], error: str = "HubError") -> str:
    """The message, having checked what every failure owes: one line that names the model, its file and the way out."""
    assert answer.get("error") == error, answer
    message = str(answer["message"])
    assert "owner/tiny" in message and ("config.json" in message or "model.safetensors" in message)
    assert "\n" not in message and (";" in message or "`minigpt2 download" in message)
    return message
