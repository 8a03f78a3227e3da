"""A model's name → its files on the Hugging Face hub: those of its weights and those of its tokenizer.

- `cache`: the folder that huggingface_hub and transformers share, and what is downloaded into it;
- `answers`: the session that asks the hub, and the first question to it;
- `errors`: its failures in plain words.
"""

from minigpt2.hub.answers import Published
from minigpt2.hub.cache import (
    cached,
    download,
    fetch,
    file_names,
    known_commit,
    published,
    pull_request_with,
    refuse_broken_link,
)
from minigpt2.hub.errors import HubError, MissingFileError, UnreachableError

__all__ = ["HubError", "MissingFileError", "Published", "cached", "download", "fetch", "known_commit", "published"]
__all__ += ["UnreachableError", "file_names", "pull_request_with", "refuse_broken_link"]
