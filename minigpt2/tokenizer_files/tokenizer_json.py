"""`tokenizer.json`, as the `tokenizers` library writes it: the model, added tokens, and the steps around them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from minigpt2.batches import PostProcessing, Side, Template, TrimOffsets
from minigpt2.pretokenize import SPLIT_PATTERN
from minigpt2.settings import ModelClass
from minigpt2.special_tokens import AddedToken
from minigpt2.tokenizer_files.bpe_model import BpeModel, from_tokenizer_json
from minigpt2.tokenizer_files.declared_tokens import added_token
from minigpt2.tokenizer_files.files import excerpt, expect, refuse_other_keys

_KEYS: tuple[str, ...] = (
    "version",
    "truncation",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
)
_KEYS += ("decoder", "model")
_BYTE_LEVEL: tuple[str, ...] = ("type", "add_prefix_space", "trim_offsets", "use_regex")


class TokenizerJson(NamedTuple):
    """The content of a `tokenizer.json`.

    `added` has the added tokens with the ids that the file gives them, which decide only their order.
    """

    model: BpeModel
    added: list[tuple[int, AddedToken]]
    add_prefix_space: bool
    post_processing: PostProcessing
    pad_token: str | None
    padding_side: Side
    truncation_side: Side


def parse(content: Mapping[str, Any], model_class: ModelClass) -> TokenizerJson:
    """Read the content of a `tokenizer.json`; `GPT2Tokenizer` has its own pre-tokenizer, normalizer and decoder.

    Raises:
        ValueError: it is malformed, or describes a tokenizer that does not work as GPT-2's.
    """
    refuse_other_keys(content, _KEYS)
    expect(content, {"version": (None, "1.0")})
    add_prefix_space = False
    if model_class == "TokenizersBackend":
        _check_normalizer(content.get("normalizer"))
        add_prefix_space = _adds_prefix_space(content.get("pre_tokenizer"))
        _check_decoder(content.get("decoder"))
    padding = _options(content, "padding", ("strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id"))
    truncation = _options(content, "truncation", ("direction", "max_length", "strategy", "stride"))
    return TokenizerJson(
        from_tokenizer_json(content.get("model"), model_class),
        _added_tokens(content.get("added_tokens")),
        add_prefix_space,
        tuple(_post_processing(content.get("post_processor"))),
        _pad_token(padding),
        _direction(padding),
        _direction(truncation),
    )


def _added_tokens(entries: Any) -> list[tuple[int, AddedToken]]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"added_tokens is {excerpt(entries)}, expected a list of objects")
    added = [(entry.get("id"), added_token(entry, "added_tokens", "id")) for entry in entries]
    contents = set()
    for token_id, token in added:
        if type(token_id) is not int:
            raise ValueError(f"added_tokens: {token.content!r} has the id {token_id!r}, expected a number")
        if token.content in contents:
            raise ValueError(f"added_tokens: {token.content!r} is there twice")
        contents.add(token.content)
    return added


def _check_normalizer(normalizer: Any) -> None:
    """Refuse any normalizer but one that does nothing."""
    if normalizer is None or normalizer == {"type": "Sequence", "normalizers": []}:
        return
    raise ValueError(f"normalizer is {excerpt(normalizer)}, and GPT-2's tokenizer has none")


def _check_decoder(decoder: Any) -> None:
    if not isinstance(decoder, dict) or decoder.get("type") != "ByteLevel":
        raise ValueError(f"decoder is {excerpt(decoder)}, and GPT-2's is ByteLevel")
    refuse_other_keys(decoder, _BYTE_LEVEL, "decoder.")


def _adds_prefix_space(pre_tokenizer: Any) -> bool:
    """Whether a pre-tokenizer that splits as GPT-2's puts a space before a text."""
    steps = [pre_tokenizer]
    if isinstance(pre_tokenizer, dict) and pre_tokenizer.get("type") == "Sequence":
        refuse_other_keys(pre_tokenizer, ("type", "pretokenizers"), "pre_tokenizer.")
        inner = pre_tokenizer.get("pretokenizers")
        steps = inner if isinstance(inner, list) and inner else [None]
    is_spelled_out = len(steps) == 2 and _is_gpt2s_split(steps[0])
    byte_level = steps[-1]
    is_byte_level = isinstance(byte_level, dict) and byte_level.get("type") == "ByteLevel"
    if (len(steps) > 1 and not is_spelled_out) or not is_byte_level:
        raise ValueError(f"pre_tokenizer is {excerpt(pre_tokenizer)}, which does not split as GPT-2's")
    refuse_other_keys(byte_level, _BYTE_LEVEL, "pre_tokenizer.")
    uses_regex = {"use_regex": True} | byte_level
    expect(uses_regex, {"use_regex": (not is_spelled_out,)}, "pre_tokenizer.")
    # Behind a split of its own, ByteLevel would put a space before each pretoken.
    allowed = (False,) if is_spelled_out else (True, False)
    expect(byte_level, {"add_prefix_space": allowed}, "pre_tokenizer.")
    return bool(byte_level["add_prefix_space"])


def _is_gpt2s_split(step: Any) -> bool:
    return step in [
        {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": behavior, "invert": invert}
        for behavior, invert in (("Isolated", False), ("Isolated", True), ("Removed", True))
    ]


def _post_processing(processor: Any) -> PostProcessing:
    """The steps of a post-processor, for single texts."""
    if processor is None:
        return []
    kind = processor.get("type") if isinstance(processor, dict) else None
    if kind == "ByteLevel":
        refuse_other_keys(processor, _BYTE_LEVEL, "post_processor.")
        return _trims(processor)
    if kind == "TemplateProcessing":
        return [_template(processor)]
    if kind == "BertProcessing":
        refuse_other_keys(processor, ("type", "sep", "cls"), "post_processor.")
        return [Template((_id_in(processor, "cls"),), (_id_in(processor, "sep"),))]
    if kind == "RobertaProcessing":
        refuse_other_keys(processor, ("type", "sep", "cls", "trim_offsets", "add_prefix_space"), "post_processor.")
        return [*_trims(processor), Template((_id_in(processor, "cls"),), (_id_in(processor, "sep"),))]
    if kind == "Sequence":
        refuse_other_keys(processor, ("type", "processors"), "post_processor.")
        inner = processor.get("processors")
        steps = [step for each in inner for step in _post_processing(each)] if isinstance(inner, list) else []
        if (
            isinstance(inner, list) and sum(isinstance(step, Template) for step in steps) <= 1
        ):  # with two, tokenizers breaks off
            return steps
    raise ValueError(f"post_processor is {excerpt(processor)}, which this package does not understand")


def _trims(processor: Mapping[str, Any]) -> list[TrimOffsets]:
    expect(processor, {"trim_offsets": (True, False), "add_prefix_space": (True, False)}, "post_processor.")
    return [TrimOffsets(processor["add_prefix_space"])] if processor["trim_offsets"] else []


def _template(processor: Mapping[str, Any]) -> Template:
    """The ids before and after the one text of a template."""
    refuse_other_keys(processor, ("type", "single", "pair", "special_tokens"), "post_processor.")
    pieces, special = processor.get("single"), processor.get("special_tokens")
    ids: list[int | None] = []
    try:
        for piece in pieces:  # type: ignore[union-attr]
            ((kind, what),) = piece.items()
            if kind == "SpecialToken":
                ids += special[what["id"]]["ids"]  # type: ignore[index]
            elif kind == "Sequence" and what["id"] == "A":
                ids.append(None)
            else:
                raise ValueError
        if ids.count(None) != 1 or not all(type(each) is int for each in ids if each is not None):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f"post_processor.single is {excerpt(pieces)}, expected one text between tokens") from None
    text = ids.index(None)
    known = [token_id for token_id in ids if token_id is not None]
    return Template(tuple(known[:text]), tuple(known[text:]))


def _id_in(processor: Mapping[str, Any], key: str) -> int:
    pair = processor.get(key)
    if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) is not int:
        raise ValueError(f"post_processor.{key} is {excerpt(pair)}, expected a token and its id")
    return pair[1]


def _options(content: Mapping[str, Any], key: str, understood: tuple[str, ...]) -> Mapping[str, Any]:
    options = content.get(key)
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ValueError(f"{key} is {excerpt(options)}, expected an object or null")
    refuse_other_keys(options, (*understood, "pad_token"), f"{key}.")
    return options


def _pad_token(padding: Mapping[str, Any]) -> str | None:
    token = padding.get("pad_token")
    if padding and (not isinstance(token, str) or not token):
        raise ValueError(f"padding.pad_token is {excerpt(token)}, expected a token")
    return token


def _direction(options: Mapping[str, Any]) -> Side:
    expect({"direction": "Right"} | dict(options), {"direction": ("Left", "Right")})
    return "left" if options.get("direction") == "Left" else "right"
