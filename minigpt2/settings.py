"""A tokenizer's settings besides its merges: added tokens and their roles, what goes around a text, limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from minigpt2.batches import PostProcessing, Side
from minigpt2.special_tokens import AddedToken, AddedTokens
from minigpt2.vocabulary import END_OF_TEXT, Vocabulary, gpt2

#: The parts that tokens play, in the order that transformers lists them.
ROLES: Final[tuple[str, ...]] = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)

#: What transformers gives for `model_max_length` where nothing is said.
NO_LIMIT: Final = int(1e30)

#: The classes of transformers that open a tokenizer as this package does.
ModelClass = Literal["GPT2Tokenizer", "TokenizersBackend"]


@dataclass(frozen=True)
class Settings:
    """Everything about a tokenizer but its vocabulary; immutable.

    Attributes:
        added: the added tokens, with their flags.
        roles: the token of each role that has one.
        extra_special_tokens: tokens that are special without a role.
        model_class: the class of transformers that the tokenizer is saved for.
        add_prefix_space: whether text that does not begin with a space gets one.
        post_processing: what happens to a text's ids and offsets at the end.
        model_max_length: how many tokens the model takes, or `NO_LIMIT`.
        padding_side: where padding goes.
        truncation_side: where tokens are cut off.
        chat_template: what `chat_template.jinja` has, or `tokenizer_config.json` under this name, to be saved again.
    """

    added: AddedTokens
    roles: Mapping[str, str] = field(default_factory=dict)
    extra_special_tokens: tuple[str, ...] = ()
    model_class: ModelClass = "GPT2Tokenizer"
    add_prefix_space: bool = False
    post_processing: PostProcessing = ()
    model_max_length: int = NO_LIMIT
    padding_side: Side = "right"
    truncation_side: Side = "right"
    chat_template: Any = None


# One object for each vocabulary that is in use, so that a tokenizer can tell whether it has these settings.
_OF: WeakKeyDictionary[Vocabulary, Settings] = WeakKeyDictionary()


def of(vocabulary: Vocabulary) -> Settings:
    """The settings of a vocabulary of which no file says more: added tokens are special, `<|endoftext|>` has its roles.

    GPT-2's are those of the published model.

    >>> of(gpt2()).model_max_length
    1024
    """
    if (known := _OF.get(vocabulary)) is not None:
        return known
    tokens = [AddedToken(token, normalized=True, special=True) for token in vocabulary.added_tokens]
    added = AddedTokens().and_also(tokens, vocabulary.added_tokens.get, len(vocabulary.token_bytes))
    has_end = END_OF_TEXT in vocabulary.added_tokens
    roles = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT) if has_end else {}
    settings = Settings(added, roles)
    return _OF.setdefault(vocabulary, replace(settings, model_max_length=1024) if vocabulary is gpt2() else settings)
