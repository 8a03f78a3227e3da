"""GPT-2's way from a prompt to vectors, with numpy and no framework.

>>> from minigpt2 import Tokenizer
>>> Tokenizer().encode("The meaning of life is")
[464, 3616, 286, 1204, 318]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minigpt2.forking import FORK_WAITS, ordered_hooks

if TYPE_CHECKING:
    from minigpt2.embeddings import Embeddings as Embeddings
    from minigpt2.hub import HubError as HubError
    from minigpt2.model import GPT2 as GPT2
    from minigpt2.special_tokens import AddedToken as AddedToken
    from minigpt2.tokenizer import Tokenizer as Tokenizer
    from minigpt2.weights.checkpoint import Checkpoint as Checkpoint
    from minigpt2.weights.checkpoint import CheckpointError as CheckpointError

__version__ = "0.1.0"

# Each public name is imported when it is first asked for: `minigpt2 --help` needs no numpy,
# and a tokenizer needs neither safetensors nor huggingface_hub. A fork waits meanwhile.
_ROOM_OF = {
    "AddedToken": "special_tokens",
    "Checkpoint": "weights.checkpoint",
    "CheckpointError": "weights.checkpoint",
    "Embeddings": "embeddings",
    "GPT2": "model",
    "HubError": "hub",
    "Tokenizer": "tokenizer",
    "corpus": "corpus",
    "hub": "hub",
}
__all__ = ["GPT2", "AddedToken", "Checkpoint", "CheckpointError", "Embeddings", "HubError", "Tokenizer", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'minigpt2' has no attribute {name!r}")
    with FORK_WAITS, ordered_hooks():
        module = import_module(f"minigpt2.{_ROOM_OF[name]}")
        value = module if name == _ROOM_OF[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
