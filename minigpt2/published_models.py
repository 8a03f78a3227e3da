"""GPT-2's published models: their short names, and their names on the hub today."""

from typing import Final

# The hub moved its oldest models into organizations and redirects their short names: one model, two cache folders.
LONG_NAME: Final = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}
# Every name of a published GPT-2. All of them have the vocabulary that this package carries.
GPT2_MODELS: Final = frozenset(LONG_NAME) | frozenset(LONG_NAME.values())
