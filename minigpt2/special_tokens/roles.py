"""The attributes of a tokenizer that name its special tokens, as people type them, and the methods that add tokens."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from minigpt2.decoder import checked_id
from minigpt2.forking import RenewedLock
from minigpt2.settings import ROLES, Settings
from minigpt2.special_tokens.added import AddedToken
from minigpt2.vocabulary import END_OF_TEXT, Vocabulary

_CHANGING = RenewedLock()  # one for all tokenizers, so that a tokenizer can be pickled


class Role:
    """The token that plays a part, or None: `tokenizer.pad_token`; setting it changes which token that is."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, tokenizer: None, owner: type) -> "Role": ...
    @overload
    def __get__(self, tokenizer: "SpecialTokens", owner: type) -> str | None: ...
    def __get__(self, tokenizer: "SpecialTokens | None", owner: type) -> "Role | str | None":
        return self if tokenizer is None else tokenizer.settings.roles.get(self._name)

    def __set__(self, tokenizer: "SpecialTokens", token: str | None) -> None:
        tokenizer.set_role(self._name, token)


class RoleId:
    """The id of the token that plays a part, or None: `tokenizer.eos_token_id`; it can be set too."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    @overload
    def __get__(self, tokenizer: None, owner: type) -> "RoleId": ...
    @overload
    def __get__(self, tokenizer: "SpecialTokens", owner: type) -> int | None: ...
    def __get__(self, tokenizer: "SpecialTokens | None", owner: type) -> "RoleId | int | None":
        return self if tokenizer is None else tokenizer.id_of_role(self._name)

    def __set__(self, tokenizer: "SpecialTokens", token_id: int | None) -> None:
        if token_id is None:
            tokenizer.set_role(self._name, None)
            return
        token_id, vocabulary = checked_id(token_id), tokenizer.vocabulary
        if token_id not in vocabulary.token_bytes:
            vocabulary.refuse(token_id)
        tokenizer.set_role(self._name, vocabulary.written(token_id))


class SpecialTokens(ABC):
    """A tokenizer's special tokens, under the names that transformers and tiktoken give it.

    Changing them is safe beside other threads: each call works with the tokens that it found at its start.
    """

    __slots__ = ()

    bos_token, eos_token, unk_token = Role(), Role(), Role()
    sep_token, pad_token, cls_token, mask_token = Role(), Role(), Role(), Role()
    bos_token_id, eos_token_id, unk_token_id = RoleId(), RoleId(), RoleId()
    sep_token_id, pad_token_id, cls_token_id, mask_token_id = RoleId(), RoleId(), RoleId(), RoleId()

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The tokenizer's settings besides its merges."""

    @property
    @abstractmethod
    def vocabulary(self) -> Vocabulary:
        """Every token's bytes, and the merges that lead to them."""

    @abstractmethod
    def _change(self, vocabulary: Vocabulary, settings: Settings) -> None:
        """Work with another vocabulary and other settings from now on."""

    def set_role(self, role: str, token: str | None) -> None:
        """Give a role to a token of the vocabulary, or to none."""
        if token is not None and not isinstance(token, str):
            raise TypeError(f"{role} is a str or None, not {type(token).__name__}: {token!r}")
        if token == "":
            raise ValueError(f"{role} cannot be an empty token")
        with _CHANGING.now:
            if token is not None and self.vocabulary.id_of(token) is None:
                way = f"tokenizer.add_special_tokens({{{role!r}: {token!r}}})"
                raise ValueError(f"{role} cannot be {token!r}, which is not in the vocabulary: add it by {way}")
            roles: dict[str, str | None] = {**self.settings.roles, role: token}
            kept = {name: played for name in ROLES if (played := roles.get(name)) is not None}
            self._change(self.vocabulary, replace(self.settings, roles=kept))

    def id_of_role(self, role: str) -> int | None:
        """The id of the token that plays a role; where nothing is set to pad with, that is `<|endoftext|>`."""
        token = self.settings.roles.get(role)
        if token is None and role == "pad_token" and END_OF_TEXT in self.vocabulary.added_tokens:
            token = END_OF_TEXT
        return None if token is None else self.vocabulary.id_of(token)

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens to the end of the vocabulary, to be found in texts before these are split; return how many.

        A token that is in the vocabulary keeps its id and is from now on found as it stands. Special ones are left out
        by `skip_special_tokens`.

        Raises:
            TypeError: a token is neither a string nor an `AddedToken`.

        >>> from minigpt2 import Tokenizer
        >>> tokenizer = Tokenizer()
        >>> tokenizer.add_tokens(["<user>", "<model>"]), tokenizer.encode("<user>Hi<model>")
        (2, [50257, 17250, 50258])
        """
        listed = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else new_tokens
        return self._add([_token(token, special_tokens) for token in listed])

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_extra_special_tokens: bool = True
    ) -> int:
        """Add special tokens and give them their roles; return how many are new.

        The keys are roles, such as `pad_token`, or `extra_special_tokens` (also `additional_special_tokens`), whose
        value is a list.

        Raises:
            TypeError: a token is neither a string nor an `AddedToken`, or the tokens are not in a mapping.
            ValueError: a key is something else, or a token is empty.

        >>> from minigpt2 import Tokenizer
        >>> tokenizer = Tokenizer()
        >>> tokenizer.add_special_tokens({"pad_token": "<pad>"}), tokenizer.pad_token_id
        (1, 50257)
        """
        if not isinstance(special_tokens_dict, Mapping):
            given = type(special_tokens_dict).__name__
            raise TypeError(f"special tokens are given by their roles, {{'pad_token': '<pad>'}}, not as a {given}")
        with _CHANGING.now:
            roles: dict[str, str] = {}
            tokens: list[AddedToken] = []
            extra = list(self.settings.extra_special_tokens)
            for key, value in _in_order(special_tokens_dict):
                if key in ROLES:
                    tokens.append(_token(value, True))
                    roles[key] = tokens[-1].content
                elif key == "extra_special_tokens":
                    new = [_token(token, True) for token in _listed(value, key)]
                    if replace_extra_special_tokens:
                        extra = [] if new else extra
                    else:  # those that are there keep their flags
                        new = [token for token in new if token.content not in extra]
                    extra += [token.content for token in new if token.content not in extra]
                    tokens += new
                else:
                    raise ValueError(f"{key!r} is not a special token's role: these are {', '.join(ROLES)}")
                if "" in (*roles.values(), *extra):
                    raise ValueError(f"{key} cannot be an empty token")
            added = self._add(tokens)
            roles = {**self.settings.roles, **roles}
            ordered = {name: roles[name] for name in ROLES if name in roles}
            changed = replace(self.settings, roles=ordered, extra_special_tokens=tuple(extra))
            self._change(self.vocabulary, changed)
        return added

    def _add(self, tokens: list[AddedToken]) -> int:
        with _CHANGING.now:
            vocabulary, settings = self.vocabulary, self.settings
            size = len(vocabulary.token_bytes) - len(vocabulary.beyond)
            added = settings.added.and_also(tokens, vocabulary.id_of, size)
            count = len(settings.added.not_yet(tokens))
            self._change(vocabulary.and_also(added.ids), replace(settings, added=added))
        return count

    @property
    def all_special_tokens(self) -> list[str]:
        """The tokens that have a role, in the order of the roles, and the special ones that have none.

        >>> from minigpt2 import Tokenizer
        >>> Tokenizer().all_special_tokens
        ['<|endoftext|>']
        """
        settings = self.settings
        return list(dict.fromkeys([*settings.roles.values(), *settings.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        ids = map(self.vocabulary.id_of, self.all_special_tokens)
        return [token_id for token_id in ids if token_id is not None]

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The token of each role that has one."""
        return dict(self.settings.roles)

    @property
    def extra_special_tokens(self) -> list[str]:
        """The special tokens that have no role."""
        return list(self.settings.extra_special_tokens)

    @property
    def special_tokens_set(self) -> set[str]:
        """tiktoken's name for the special tokens: those that `skip_special_tokens` leaves out."""
        return set(self.settings.added.special)

    @property
    def eot_token(self) -> int:
        """tiktoken's name for the id of `<|endoftext|>`, or of the token that ends a text instead.

        Raises:
            ValueError: no token ends a text.
        """
        token_id = self.vocabulary.added_tokens.get(END_OF_TEXT, self.eos_token_id)
        if token_id is None:
            raise ValueError("this tokenizer has no token that ends a text")
        return token_id

    @property
    def model_max_length(self) -> int:
        """How many tokens the model takes: 1024 for GPT-2, and 10 to the power of 30 where nothing is known."""
        return self.settings.model_max_length


def _token(token: Any, special: bool) -> AddedToken:
    if isinstance(token, str):
        return AddedToken(token, special=special)
    if isinstance(token, AddedToken):
        return replace(token, special=True) if special else token
    kind = f"{type(token).__module__}.{type(token).__name__}"
    raise TypeError(f"a token is a str or a minigpt2.AddedToken, not {kind}: {token!r}")


def _in_order(given: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Roles and special tokens in the order in which transformers adds them: those under the older name come last.

    Raises:
        ValueError: special tokens are given by both names.
    """
    items, older, newer = dict(given.items()), "additional_special_tokens", "extra_special_tokens"
    if older in items:
        if items.get(newer):
            raise ValueError(f"{older} is the older name of {newer}: give one of them")
        items[newer] = items.pop(older)
    return items.items()


def _listed(tokens: Any, key: str) -> Iterable[Any]:
    if not isinstance(tokens, (list, tuple)):
        raise TypeError(f"{key} is a list of tokens, not {type(tokens).__name__}: {tokens!r}")
    return tokens
