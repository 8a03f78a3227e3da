"""The steps of the tour: what each of them says, and the commands that show it."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

PROMPT = "The meaning of life is"
TO_LEARN_FROM = "she sells sea shells by the sea shore"


class Step(NamedTuple):
    """A step: its title, a paragraph, commands whose output is shown, a paragraph on what they show, an aside."""

    title: str
    before: str
    commands: tuple[str, ...]
    after: str
    aside: str = ""


class Facts(NamedTuple):
    """The facts that the steps depend on: the sentence, words of it, and the models that they run on.

    `word` is the pretoken with the most merges, `rank` that of the last of them, and `token_id` the id that it makes;
    `neighbour_of` is a whole token. `fault` says why the model's layers cannot be used. The others are options, with a
    space before them: for steps about the vocabulary, about rows, about layers, and about the file of them all.
    """

    text: str
    word: str
    rank: int
    token_id: int
    neighbour_of: str
    vocabulary: str
    model: str
    layers_model: str
    file_model: str
    fault: str
    shape: tuple[int, int]
    n_layer: int
    n_head: int
    new_tokens: int


def line(command: str, text: str, options: str = "") -> str:
    """A line for a shell that gives a command this text, unchanged, and these options, each after a space.

    >>> print(line("tokens", "It costs $5", " --json"))
    minigpt2 tokens 'It costs $5' --json
    """
    quoted = shlex.quote(text) if set('"$`\\!') & set(text) else f'"{text}"'
    return (
        f"minigpt2 {command}{options} -- {quoted}" if text.startswith("-") else f"minigpt2 {command} {quoted}{options}"
    )


def steps(facts: Facts) -> Iterator[Step]:
    """The steps from the sentence to the next word, and to the file that all numbers come from."""
    yield from _to_the_ids(facts)
    yield from _to_the_rows(facts)
    yield from _to_the_next_word(facts)


def _to_the_ids(facts: Facts) -> Iterator[Step]:
    yield Step(
        "Your sentence in tokens",
        """GPT-2 does not read letters or words. It reads tokens: pieces of text from a fixed list, its vocabulary.
        Each token has a number, its id.""",
        (line("tokens", facts.text, facts.vocabulary),),
        """A pattern first splits the text into pretokens: words for the most part, each with the space before it.
        Tokens are made inside a pretoken and never cross a cut. So "life" and " life" are two tokens.""",
        """The column "token" has each token as GPT-2's files write it. There Ġ stands for a space; step 2 says why.""",
    )
    yield Step(
        "Text is bytes",
        """A computer stores text as bytes, numbers from 0 to 255. In UTF-8 an English letter is one byte; other
        characters are two to four. GPT-2 starts from bytes, because there are only 256 and every text is made of
        them. So no text is ever unknown.""",
        (line("tokens", "é 生", facts.vocabulary),),
        """é was frequent enough to become one token of two bytes. 生 was rarer, so it stays in pieces, which are not
        text by themselves.""",
        """Ġ is not a space. The files list tokens as text, where a space would be lost. So the 68 bytes that do not
        print are written as the characters from U+0100 on. The space is number 33 of them, U+0120: Ġ.""",
    )
    yield Step(
        "Bytes are merged into tokens",
        """This is byte pair encoding, BPE. A list of 50,000 merges says which two neighbours may become one token. A
        merge's index in the list is its rank. The pair with the lowest rank is merged first, then the search starts
        over, until no pair is in the list.""",
        (line("explain", facts.word, f" --part merges{facts.vocabulary}"),),
        """Read it from the top: the bytes, then each merge with its rank, and at the bottom the tokens with their
        ids.""",
    )
    yield Step(
        "Where merges come from",
        """By counting. In a large amount of text, the most frequent pair of neighbours became the first merge. The
        text was rewritten with it, and the counting began again, 50,000 times. The same on a text of one line:""",
        (f'echo "{TO_LEARN_FROM}" | minigpt2 train-bpe - --merges 5',),
        """Frequent words end as one token, rare words stay in pieces. Merging your sentence in the order of the ranks
        repeats what was done to that text, so it ends in the same tokens.""",
    )
    yield Step(
        "Why there are 50,257 tokens",
        """256 bytes, 50,000 merges and one special token. Ids 0 to 255 are the bytes. The merge of rank r makes the
        token with the id 256 + r.""",
        (f"minigpt2 vocab{facts.vocabulary}",),
        _id_of_word(facts) + """The last id, 50256, is <|endoftext|>, which stands between documents.""",
        """GPT-2 has no tokens such as [CLS] and [PAD]; those are BERT's. Its id 0 is the exclamation mark.""",
    )


def _id_of_word(facts: Facts) -> str:
    if facts.token_id != 256 + facts.rank:
        return ""
    return f"""The last merge of step 3 has the rank {facts.rank}, so its token is {facts.token_id}: 256 + {facts.rank}.
        A low id means that the token was frequent. """


def _to_the_rows(facts: Facts) -> Iterator[Step]:
    rows, width = facts.shape
    choice = "768 in GPT-2, 64 for each of its 12 attention heads" if width == 768 else f"{width} here, 768 in GPT-2"
    yield Step(
        "Each id is a row of numbers",
        f"""A list of numbers that stands for something is called a vector, or an embedding. The matrix wte, word token
        embeddings, has {rows:,} rows, one for each token. The id is the index of the row.""",
        (line("embed", facts.text, facts.model),),
        f"""Training set these numbers. How many a row has is a choice of the designers: {choice}. More numbers hold
        more, and cost more.""",
    )
    yield Step(
        "Tokens that are used alike have rows that are alike",
        """The cosine of two rows says how nearly they point the same way: 1 is the same direction, 0 means that they
        have nothing in common.""",
        (line("nearest", facts.neighbour_of, f" -k 5{facts.model}"),),
        """The model was never told what a word means. It learned to predict the next token, and tokens that are
        followed by the same words ended up near each other.""",
    )
    yield Step(
        "The position is added",
        """A row of wte is the same wherever the token stands, and the layers do not see the order of their input. So
        the row of the position is added, from a second matrix: wpe, word position embeddings.""",
        (line("embed", facts.text, f" --positions{facts.model}"),),
        """Compare with step 6: the first row has the row of position 0 added, the second that of position 1, and so
        on. These sums enter the first layer.""",
    )


def _to_the_next_word(facts: Facts) -> Iterator[Step]:
    model, head = facts.layers_model, f"{facts.n_layer // 2}.{min(1, facts.n_head - 1)}"
    yield Step(
        "Layers mix the rows: attention",
        f"""A layer changes each row in two steps, and each step adds to it. In attention a token takes in something
        from the tokens before it. Then the MLP, a small network, works on each row alone. This model has
        {facts.n_layer} layers of {facts.n_head} heads; each head looks for something different.""",
        (line("explain", facts.text, f" --part attention --head {head}{model}"),),
        """Each line is a token: how much it takes from itself and from each token before it, about 100 in all. No token
        sees later ones, because it must predict them.""",
    )
    yield Step(
        "What each layer would say next",
        """The last token's row could give a next token after any layer. Looking at that is called the logit lens.""",
        (line("next", facts.text, f" --lens -k 3{model}"),),
        """The first line is before any layer: the row still stands for its own token. From layer to layer it turns
        into a guess at the next one. The last line is the model's answer.""",
    )
    yield Step(
        "The next word",
        """After all layers, the last row is multiplied by every row of wte, the matrix of step 6.
        Each product is a logit, the score of a token. exp(logit), divided by the sum over all tokens, is its
        probability.""",
        (line("next", facts.text, f" -k 6{model}"),),
        """A token scores high where its row points the same way as the row that the layers have made.""",
    )
    yield Step(
        "And the word after that",
        """One token is chosen, added to the text, and everything starts again. The logits can be divided by a
        temperature first: below 1 makes likely tokens likelier, above 1 gives the others a chance.""",
        tuple(
            line(
                "generate",
                facts.text,
                f" --max-new-tokens {facts.new_tokens} --seed 1 --temperature {temperature}{model}",
            )
            for temperature in (0.5, 1.2)
        ),
        """That is all that happens: text, tokens, rows, layers, the next token, again.""",
    )
    yield Step(
        "The file that all numbers come from",
        """The numbers are in one file, model.safetensors: a header that names the matrices, and the numbers one after
        the other. A row is read by seeking to its first byte.""",
        (f'minigpt2 params "w*"{facts.file_model}',),
        """Without the star, minigpt2 params lists every matrix of every layer.""",
    )
