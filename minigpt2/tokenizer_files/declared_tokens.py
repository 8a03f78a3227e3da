"""Added tokens and roles, from all the files that name some.

`added_tokens_decoder` in `tokenizer_config.json` names all added tokens. Where it is missing, three older files count:
`special_tokens_map.json`, whose roles win over the config's, `added_tokens.json`, and `tokenizer.json`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from minigpt2.settings import ROLES, ModelClass
from minigpt2.special_tokens import AddedToken
from minigpt2.tokenizer_files.files import Find, excerpt, named, read_object, refuse_other_keys
from minigpt2.vocabulary import END_OF_TEXT

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_EXTRA = ("extra_special_tokens", "additional_special_tokens")


class Declared(NamedTuple):
    """Added tokens in the order in which they are added, the token of each role, and special tokens without a role."""

    added: list[AddedToken]
    roles: dict[str, str]
    extra: list[str]


_Value = str | AddedToken | None


def added_token(content: Mapping[str, Any], where: str, *other_keys: str) -> AddedToken:
    """An added token as JSON has it.

    Raises:
        ValueError: it is malformed, or has a flag that is not understood.
    """
    refuse_other_keys(content, ("content", *_FLAGS, *other_keys), f"{where}: ")
    text = content.get("content")
    if not isinstance(text, str) or not text:
        raise ValueError(f"{where}: {excerpt(content)} has no content")
    flags = {flag: content[flag] for flag in _FLAGS if flag in content}
    for flag, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{where}: {flag} of {text!r} is {excerpt(value)}, expected true or false")
    return AddedToken(text, **flags)


def read(
    config: Mapping[str, Any],
    find: Find,
    model_class: ModelClass,
    in_tokenizer_json: Sequence[tuple[int, AddedToken]],
    pad_token: str | None,
) -> Declared:
    """Gather what the files say, in the order in which transformers does.

    `in_tokenizer_json` are the added tokens of `tokenizer.json`, `pad_token` the one that its padding names.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is malformed, or has a key that is not understood.
    """
    config_path = find("tokenizer_config.json")
    with named(config_path or "tokenizer_config.json"):
        roles: dict[str, _Value] = {role: _value(config[role], role) for role in ROLES if role in config}
        extra = _extra(config)
        decoder = _decoder(config.get("added_tokens_decoder", {}))
    declared = [*decoder.items()]
    if "added_tokens_decoder" not in config:
        in_map, map_extra = _special_tokens_map(find, extra is not None)
        roles |= in_map
        # added_tokens.json has no flags: a token is special if its text has a role or is listed as special. What the
        # config gives as an object has no text for transformers at this point.
        in_config = [value for value in (*roles.values(), *(extra or [])) if isinstance(value, str)]
        listed = map_extra.get("extra_special_tokens", [])
        special = {_content(value) for value in (*in_config, *in_map.values(), *listed)}
        declared = [*_added_tokens_json(find, special), *in_tokenizer_json]
        decoder = dict(declared)
        if "extra_special_tokens" in map_extra:
            extra = [*dict.fromkeys([*(extra or []), *map_extra["extra_special_tokens"]])]
        elif extra is None:
            extra = map_extra.get("additional_special_tokens")
    by_content = {token.content: token for _, token in declared}
    roles = {role: by_content.get(_content(value) or "", value) for role, value in roles.items()}
    if model_class == "GPT2Tokenizer":
        roles = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": END_OF_TEXT, **roles}
    elif pad_token is not None:
        roles.setdefault("pad_token", pad_token)
    known = [token.content for _, token in in_tokenizer_json] if model_class == "TokenizersBackend" else []
    return _ordered([decoder[token_id] for token_id in sorted(decoder)], roles, extra or [], known)


def _ordered(
    declared: list[AddedToken], roles: Mapping[str, _Value], extra: Sequence[str | AddedToken], known: list[str]
) -> Declared:
    """The declared tokens, then those of roles, then the special ones without a role, each if it is not there yet."""
    in_order = {role: content for role in ROLES if (content := _content(roles.get(role)))}
    there = {*known, *(token.content for token in declared)}
    more = [value for value in (*(roles.get(role) for role in ROLES), *extra) if value is not None]
    new = dict.fromkeys(value for value in more if _content(value) not in there)
    added = [*declared, *(AddedToken(value, special=True) if isinstance(value, str) else value for value in new)]
    have_roles = set(in_order.values())
    added = [_special(token) if token.content in have_roles else token for token in added]
    return Declared(added, in_order, [_content(token) or "" for token in extra])


def _special(token: AddedToken) -> AddedToken:
    return AddedToken(token.content, token.single_word, token.lstrip, token.rstrip, token.normalized, special=True)


def _content(value: _Value) -> str | None:
    return value.content if isinstance(value, AddedToken) else value


def _value(value: Any, where: str) -> _Value:
    """A token as tokenizer_config.json has it: its text, or an object that says it is an AddedToken."""
    if value is None or (isinstance(value, str) and value):
        return value
    if isinstance(value, dict) and value.get("__type") == "AddedToken":
        return added_token(value, where, "__type")
    raise ValueError(f"{where} is {excerpt(value)}, expected a token")


def _extra(config: Mapping[str, Any]) -> list[str | AddedToken] | None:
    """Special tokens without a role; None where the config has no key for them, or an object that is empty."""
    given = [key for key in _EXTRA if config.get(key, {}) != {}]
    if not given:
        return None
    key = next((key for key in given if config[key]), given[0])
    return _listed(config[key] or [], key, _value)


def _listed(tokens: Any, key: str, read: Callable[[Any, str], _Value]) -> list[str | AddedToken]:
    values = [read(token, key) for token in tokens] if isinstance(tokens, list) else [None]
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        raise ValueError(f"{key} is {excerpt(tokens)}, expected a list of tokens")
    return found


def _decoder(content: Any) -> dict[int, AddedToken]:
    if not isinstance(content, dict):
        raise ValueError(f"added_tokens_decoder is {excerpt(content)}, expected an object")
    decoder = {}
    for token_id, token in content.items():
        if not token_id.isdecimal() or not isinstance(token, dict):
            raise ValueError(f"added_tokens_decoder: {token_id!r} is {excerpt(token)}, expected a token by its id")
        decoder[int(token_id)] = added_token(token, "added_tokens_decoder")
    return decoder


def _special_tokens_map(
    find: Find, config_has_extra: bool
) -> tuple[dict[str, _Value], dict[str, list[str | AddedToken]]]:
    """The roles of `special_tokens_map.json`, and its special tokens without one, by the key that counts."""
    path = find("special_tokens_map.json")
    if path is None:
        return {}, {}
    content = read_object(path)
    with named(path):
        refuse_other_keys(content, (*ROLES, *_EXTRA))
        newer, older = _EXTRA
        extra = {newer: _listed(content[newer], newer, _in_list_of_map)} if newer in content else {}
        # A tokenizer that was saved again in place has the older key still, and objects there that nothing can read.
        if not (extra or config_has_extra) and older in content:
            extra = {older: _listed(content[older], older, _value)}
        roles = {role: _in_map(content[role], role) for role in ROLES if role in content}
    return roles, extra


def _in_map(value: Any, key: str) -> _Value:
    return _special(added_token(value, key, "__type")) if isinstance(value, dict) else _value(value, key)


def _in_list_of_map(value: Any, key: str) -> _Value:
    if isinstance(value, dict) and "special" in value:
        raise ValueError(f"{key}: {excerpt(value)} has a flag 'special', and transformers opens no such token here")
    return _in_map(value, key)


def _added_tokens_json(find: Find, special: set[str | None]) -> list[tuple[int, AddedToken]]:
    path = find("added_tokens.json")
    if path is None:
        return []
    content, added = read_object(path), []
    with named(path):
        for token, token_id in content.items():
            if not token or type(token_id) is not int:
                raise ValueError(f"token {token!r} has the id {token_id!r}, expected a number")
            # What `normalized` is here stays so, even if the token turns out to be special by its role.
            added.append((token_id, AddedToken(token, normalized=token not in special, special=token in special)))
    return added
