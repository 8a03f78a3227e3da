"""What the tour says of tokens beyond its steps: why bytes, why in the order of ranks, why spaces, what odd ones."""

from typing import TYPE_CHECKING

from minigpt2.cli.columns import print_table, quoted
from minigpt2.cli.prose import WIDTH, aside, say

if TYPE_CHECKING:
    from minigpt2 import Tokenizer

SAMPLES = ("e", "é", "ж", "生", "😀")
COMPOUND = " lifelike"
SPELLINGS = ("life", " life", "Life", " Life", " LIFE", "  life", " life ")


def why_bytes(tokenizer: "Tokenizer") -> None:
    """Show how many bytes and tokens a character is."""
    aside("Why bytes, and not characters or words?", 'minigpt2 tokens "é ж 生 😀"')
    rows = [[each, each.encode().hex(" "), *_tokens(tokenizer, each)] for each in SAMPLES]
    print_table(["text", "bytes", "tokens", "ids"], rows, "  ")
    print()
    say(
        """A vocabulary of words never has them all, and one of characters would have to hold every script's and could
        not read next year's. Bytes are 256, and every text is made of them: nothing is ever unknown. The price is paid
        by what was rare in the text that the merges were counted on: é was frequent enough to become one token of two
        bytes, while many a character stays in pieces, tokens that are no text by themselves."""
    )


def why_ranks(tokenizer: "Tokenizer") -> None:
    """Show the merges of a word that ends as other tokens than one would cut it into."""
    from minigpt2.explain import explain
    from minigpt2.explain.tree import draw

    aside("Why are pairs merged in the order of their ranks?", f'minigpt2 explain "{COMPOUND}" --steps')
    (pretoken,) = explain(tokenizer, COMPOUND, allowed_special=()).pretokens
    for line in draw(pretoken, WIDTH - 2) or ():
        print(f"  {line}")
    print()
    say(
        """The list of merges was made by counting: the commonest pair of neighbours in a great many texts became the
        first merge, then the counts were taken anew, 50,000 times for GPT-2. So a rank, the number on each bracket, is
        a place in the order of that counting, and merging a text from the lowest rank up does to it what was done to
        those texts: it ends in the same tokens."""
    )
    merged, cut = _tokens(tokenizer, COMPOUND)[0], _written(tokenizer, longest_first(tokenizer, COMPOUND))
    if merged != cut:
        print()
        say(
            f"""It is not the same as to cut off the longest token again and again, as BERT's does. That would
            make {cut} of {COMPOUND!r}. Merging by rank makes {merged}: a pair that was counted earlier comes first,
            even where it cuts through a word that is a token."""
        )


def why_spaces(tokenizer: "Tokenizer") -> None:
    """Show what becomes of a word with spaces around it."""
    aside("Why does the space before a word matter?", 'minigpt2 tokens " life"')
    print_table(
        ["text", "tokens", "ids"], [[quoted(each.encode()), *_tokens(tokenizer, each)] for each in SPELLINGS], "  "
    )
    print()
    say(
        """The split gives each word the space before it, so a word in a sentence and the same word at the beginning of
        a text are two tokens with two rows, which nothing but training has brought near each other; capitals make
        others again. And a prompt that ends in a space ends in a token for that space alone. In what the model was
        trained on, a space before a word was part of the word's token: so such a prompt goes on badly. End it without
        the space."""
    )


def odd_tokens(tokenizer: "Tokenizer") -> None:
    """Show a token of each odd kind."""
    from minigpt2.cli.vocab import token_rows
    from minigpt2.explain.oddities import oddities

    aside("What odd tokens are there?", "minigpt2 vocab --odd")
    rows = []
    for kind in oddities(tokenizer):
        if kind.ids:
            example = max(kind.ids, key=lambda token_id: len(tokenizer.decode_bytes([token_id])))
            rows.append([kind.name, str(len(kind.ids)), str(example), token_rows(tokenizer, [example])[0][-1]])
    print_table(["kind", ">tokens", ">longest", "text"], rows, "  ")
    print()
    say(
        """A vocabulary keeps the traces of the text that it was counted on: dividing lines of every length, names that
        someone posted a hundred thousand times, text that was broken before it was collected. The model has a row for
        each; where it hardly met the token in training, that row means little, and the model does odd things when it
        is made to read it."""
    )


def longest_first(tokenizer: "Tokenizer", text: str) -> list[int]:
    """The ids of a text cut from the left into the longest tokens there are: not what GPT-2 does."""
    vocabulary = tokenizer.get_vocab()
    tokens = tokenizer.decode_tokens_bytes(list(vocabulary.values()))
    id_of = dict(zip(tokens, vocabulary.values(), strict=True))
    data, ids = text.encode("utf-8"), []
    while data:
        length = next(length for length in range(len(data), 0, -1) if data[:length] in id_of)
        ids.append(id_of[data[:length]])
        data = data[length:]
    return ids


def _tokens(tokenizer: "Tokenizer", text: str) -> tuple[str, str]:
    ids = tokenizer.encode_ordinary(text)
    return _written(tokenizer, ids), " ".join(map(str, ids))


def _written(tokenizer: "Tokenizer", ids: list[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(ids))
