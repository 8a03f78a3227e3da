"""The numpy engine gives the ids that the readable one gives, on any text, cut anywhere, with any vocabulary."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.vectorized.engine import Engine
from minigpt2.vocabulary import Vocabulary, gpt2
from tests.conftest import hurtful_texts
from tests.readable import readable_ids, small_vocabulary
from tests.vectorized.inputs import SMALL, WORDS, words


@settings(max_examples=300)
@given(hurtful_texts(), st.integers(1, 80))
def test_windows_of_any_size_change_nothing(text: str, window: int) -> None:
    assert Engine(gpt2(), window).encode(text).tolist() == readable_ids(gpt2(), text)


@pytest.mark.parametrize("window", [1, 17, 100, 1000])
@pytest.mark.parametrize("run", ["a", " ", "\n", "-", "'", "'s", "ha", "😀", "ÃÂ", "通", "\u3000", "0", "x'"])
def test_a_run_larger_than_a_window_is_one_pretoken(run: str, window: int) -> None:
    text = f"start {run * 700}end"
    assert Engine(gpt2(), window).encode(text).tolist() == readable_ids(gpt2(), text)


@pytest.mark.parametrize("window", range(17, 60))
def test_no_window_starts_with_what_looks_like_a_contraction(window: int) -> None:
    text = f"{'🛛' * 8}'ve" * 30
    assert Engine(gpt2(), window).encode(text).tolist() == readable_ids(gpt2(), text)


@settings(max_examples=200)
@given(st.lists(hurtful_texts(), max_size=6), st.integers(1, 200))
def test_a_batch_is_its_texts_one_by_one(texts: list[str], window: int) -> None:
    ids, offsets = Engine(gpt2(), window).encode_batch(texts)
    rows = [ids[start:end].tolist() for start, end in pairwise(offsets.tolist())]
    assert rows == [readable_ids(gpt2(), text) for text in texts]


@given(hurtful_texts(), st.integers(1, 40))
def test_other_vocabularies_are_encoded_as_well(text: str, window: int) -> None:
    assert Engine(SMALL, window).encode(text).tolist() == readable_ids(SMALL, text)


@pytest.mark.parametrize(
    "vocabulary",
    [
        small_vocabulary(WORDS, step=3, first=5),
        small_vocabulary(WORDS, first=70_000),
        small_vocabulary(WORDS, out_of_order=True),
    ],
    ids=["ids with gaps", "ids beyond 16 bits", "merges before their parts"],
)
def test_odd_vocabularies_are_encoded_as_well(vocabulary: Vocabulary) -> None:
    for text in ("the then hahahahaha", "-" * 500, "ha" * 300, "aabaab" * 100, words(300), "international\n" * 50):
        assert Engine(vocabulary, 64).encode(text).tolist() == readable_ids(vocabulary, text)


def test_a_vocabulary_of_more_tokens_than_16_bits_is_encoded_as_well() -> None:
    source = random.Random(1)
    many = "|".join({"".join(source.choices("abcdefgh", k=12)) for _ in range(8000)})
    vocabulary = small_vocabulary(many)
    assert len(vocabulary.token_bytes) > 1 << 16
    text = many.replace("|", " ")[:20_000]
    assert Engine(vocabulary).encode(text).tolist() == readable_ids(vocabulary, text)
<<<<<<< HEAD
=======


def small_vocabulary_of_many(words: str) -> Vocabulary:
    """As `small_vocabulary`, but quick for many words."""
    tokens = [bytes([byte]) for byte in ALPHABET_ORDER]
    place = {data: i for i, data in enumerate(tokens)}
    pairs = []
    for word in words.encode().split(b"|"):
        for end in range(2, len(word) + 1):
            if word[:end] not in place:
                pairs.append((place[word[: end - 1]], place[word[end - 1 : end]]))
                place[word[:end]] = len(tokens)
                tokens.append(word[:end])
    return vocabulary_of(tokens, pairs, list(range(256, len(tokens))))


def vocabulary_of(tokens: list[bytes], pairs: list[tuple[int, int]], products: list[int]) -> Vocabulary:
    """A vocabulary without special tokens, its first 256 tokens being the bytes."""
    return Vocabulary(
        token_bytes=dict(enumerate(tokens)),
        byte_ids=[ALPHABET_ORDER.index(byte) for byte in range(256)],
        pairs=np.array(pairs, np.int64).reshape(-1, 2),
        products=np.array(products, np.int64),
        added_tokens={},
        beyond=(),
        verbatim={},
    )


@st.composite
def vocabularies_of_three_letters(draw: st.DrawFn) -> Vocabulary:
    """Merges of a, b and c and of what they make, some tokens made in more than one way, before or after their use."""
    tokens = [bytes([byte]) for byte in ALPHABET_ORDER]
    parts = [tokens.index(letter) for letter in (b"a", b"b", b"c")]
    products: dict[tuple[int, int], int] = {}
    for left, right in draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=40)):
        pair = parts[left % len(parts)], parts[right % len(parts)]
        data = tokens[pair[0]] + tokens[pair[1]]
        if pair in products or len(data) > 12:
            continue
        if data not in tokens:
            parts.append(len(tokens))
            tokens.append(data)
        products[pair] = tokens.index(data)
    return vocabulary_of(tokens, list(products), list(products.values()))


# ---- whatever is remembered


def test_every_token_of_gpt2_merges_to_itself() -> None:
    vocabulary = gpt2()
    for token_id, data in vocabulary.token_bytes.items():
        symbols = [vocabulary.byte_ids[byte] for byte in data]
        assert bpe.merge(symbols, vocabulary.merges) == [token_id] or token_id in vocabulary.added_tokens.values()


def test_the_second_time_is_as_the_first() -> None:
    engine, text = Engine(gpt2()), words(2000)
    first = engine.encode(text)
    assert np.array_equal(engine.encode(text), first)
    assert first.tolist() == readable_ids(gpt2(), text)


def test_a_full_memory_is_emptied_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_PIECES", 600)
    monkeypatch.setattr(store, "MOST_TAILS", 600)
    monkeypatch.setattr(memory, "MOST_LONG", 5)
    engine = Engine(gpt2(), window=300)
    text = words(1500) + "-" * 90 + "=" * 70 + words(500, seed=1)
    expected = readable_ids(gpt2(), text)
    for _ in range(3):
        before = engine._memory
        assert engine.encode(text).tolist() == expected
        assert engine._memory is not before
    assert engine._memory._store.pieces <= 600


def test_a_growing_table_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FIRST_BITS", 8)
    engine = Engine(SMALL)
    for seed in range(3):
        text = words(3000, seed)
        assert engine.encode(text).tolist() == readable_ids(SMALL, text)
    assert engine._memory._table.bits > 8
    assert engine.encode(words(3000, 0)).tolist() == readable_ids(SMALL, words(3000, 0))


def test_learning_a_few_pieces_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "AT_ONCE", 7)
    monkeypatch.setattr(memory, "BYTES_AT_ONCE", 20)
    text = words(500) + "-" * 90 + "=" * 300 + "-" * 400
    assert Engine(gpt2()).encode(text).tolist() == readable_ids(gpt2(), text)


def test_keys_that_all_collide_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_SALT", np.zeros(3, np.uint64))
    engine = Engine(small_vocabulary(WORDS))
    for _ in range(2):
        assert engine.encode(words(500)).tolist() == readable_ids(SMALL, words(500))


def test_what_was_looked_up_while_a_thread_learned_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, text, look_up, calls = Engine(gpt2()), words(300), table.Table.find, []
    engine.encode(text)
    engine._memory._is_learning = True

    def half_written_at_first(self: table.Table, keys: keys.Keys) -> table.Values:
        calls.append(keys)
        return look_up(self, keys)[:: -1 if len(calls) == 1 else 1].copy()

    monkeypatch.setattr(table.Table, "find", half_written_at_first)
    assert engine.encode(text).tolist() == readable_ids(gpt2(), text)
    assert len(calls) == 2


def test_threads_that_share_an_engine_agree_with_one() -> None:
    engine = Engine(gpt2(), window=2000)
    texts = [words(400, seed) + "-" * seed + "a" * (40 * seed) for seed in range(24)]
    expected = [readable_ids(gpt2(), text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(engine.encode, texts * 3))
    assert [ids.tolist() for ids in results] == expected * 3


def test_threads_that_empty_the_memory_agree_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_PIECES", 300)
    test_threads_that_share_an_engine_agree_with_one()


# ---- the steps


def check_starts(text: str) -> None:
    starts, lengths = boundaries.pieces(text, text.encode(), np.ones(65536, np.bool_))
    assert lengths.tolist() == [len(pretoken.encode()) for pretoken in pretokenize(text)]
    assert starts.tolist() == np.cumsum([0, *lengths])[:-1].tolist()


@given(hurtful_texts().filter(bool))
def test_pieces_start_where_pretokens_do(text: str) -> None:
    check_starts(text)


@settings(max_examples=300)
@given(hurtful_texts(), hurtful_texts())
def test_pieces_start_where_pretokens_do_in_text_that_is_mostly_ascii(first: str, second: str) -> None:
    check_starts(f"{'word ' * 99}{first}'{'s  ' * 99}{second}")


@given(st.lists(st.text(st.sampled_from("ab-é日 "), min_size=1, max_size=30), min_size=1, max_size=30))
def test_pieces_merged_side_by_side_are_pieces_merged_alone(pieces: list[str]) -> None:
    for vocabulary in (gpt2(), SMALL):
        assert merged_together(vocabulary, pieces * 12) == merged_alone(vocabulary, pieces * 12)


@settings(max_examples=60)
@given(st.lists(st.text(st.sampled_from("ah-é"), min_size=1, max_size=12), min_size=1, max_size=8), st.integers(1, 40))
def test_long_pieces_sewn_together_are_pieces_merged_alone(parts: list[str], times: int) -> None:
    pieces = [part * times for part in parts] + ["".join(parts) * times, "x"]
    for vocabulary in (gpt2(), SMALL):
        assert merged_together(vocabulary, pieces) == merged_alone(vocabulary, pieces)


@settings(max_examples=300)
@given(vocabularies_of_three_letters(), st.lists(st.text("abc", min_size=1, max_size=40), min_size=1), st.booleans())
def test_any_vocabulary_merges_side_by_side(vocabulary: Vocabulary, pieces: list[str], to_the_end: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "FEW", 0 if to_the_end else merging.FEW)
        assert merged_together(vocabulary, pieces) == merged_alone(vocabulary, pieces)


def test_rows_that_agree_nowhere_are_joined() -> None:
    source = random.Random(0)
    runs = "".join(source.choice("-=*_") * source.randrange(1, 150) for _ in range(60))
    tokens = [data.decode() for data in gpt2().token_bytes.values() if len(data) > 14 and data.isalpha()]
    pieces = [runs, "".join(source.choices(tokens, k=60)), "-" * 3000, "".join(source.choices("abcdefgh", k=900))]
    assert merged_together(gpt2(), pieces) == merged_alone(gpt2(), pieces)


def test_more_rounds_than_most_are_finished_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_ROUNDS", 3)
    pieces = words(300).split(" ")
    assert merged_together(gpt2(), pieces) == merged_alone(gpt2(), pieces)


def merged_together(vocabulary: Vocabulary, pieces: list[str]) -> list[int]:
    data = "".join(pieces).encode()
    lengths = np.array([len(piece.encode()) for piece in pieces])
    merged = long_pieces.merge(Merges(vocabulary), np.frombuffer(data, np.uint8), lengths)
    assert len(merged.lengths) == len(pieces)
    ids: list[int] = vocabulary.ids.take(merged.symbols).tolist()
    return ids


def merged_alone(vocabulary: Vocabulary, pieces: list[str]) -> list[int]:
    symbols = ([vocabulary.byte_ids[byte] for byte in piece.encode()] for piece in pieces)
    return [token_id for piece in symbols for token_id in bpe.merge_long(piece, vocabulary.merges)]


# ---- through the tokenizer


def test_long_texts_take_the_engine_and_agree_with_short_ones() -> None:
    tokenizer = Tokenizer()
    lines = [words(20, seed) + "\n" for seed in range(400)]
    text = "<|endoftext|>".join(lines)
    expected = [token_id for line in lines for token_id in [*readable_ids(gpt2(), line), 50256]][:-1]
    assert tokenizer.encode(text) == tokenizer.encode_to_numpy(text).tolist() == expected
    assert tokenizer.encode_to_numpy(text, dtype=np.uint16).dtype == np.uint16
    assert tokenizer.tokenize(text) == tokenizer.convert_ids_to_tokens(expected)
    assert tokenizer.decode(expected) == tokenizer.decode(np.array(expected, np.uint16)) == text
    assert tokenizer.decode(expected, skip_special_tokens=True) == "".join(lines)


def test_long_texts_between_special_tokens_are_encoded_each_by_itself() -> None:
    parts = [words(9000, seed) + " " * seed for seed in range(3)]
    expected = [token_id for part in parts for token_id in [*readable_ids(gpt2(), part), 50256]]
    assert Tokenizer().encode_to_numpy("<|endoftext|>".join([*parts, ""])).tolist() == expected


def unlike(letters: str, length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


CHINESE = [chr(code_point) for code_point in range(0x4E00, 0x9FFF)]
HEAVY_TEXTS = {
    "Chinese of distinct words": lambda: "".join(random.Random(0).choices(CHINESE, k=3_000_000)),
    "words of random letters": lambda: "".join(random.Random(0).choices(ascii_lowercase + " ", k=3_000_000)),
    "words of a thousand letters": lambda: " ".join(unlike("ÃÂ", 999, seed) for seed in range(2000)),
    "tokens that all start within a character": lambda: "通" * 1_000_000,
    "one pretoken": lambda: "".join(random.Random(0).choices("abcdefghij", k=3_000_000)),
    "special tokens": lambda: "<|endoftext|>" * 400_000,
    "texts between special tokens": lambda: ("a few words of many " * 3_500_000 + "<|endoftext|>") * 2,
}


@pytest.mark.parametrize("name", HEAVY_TEXTS)
def test_memory_is_the_output_and_a_bounded_amount(name: str) -> None:
    tokenizer, text = Tokenizer(), HEAVY_TEXTS[name]()
    tracemalloc.start()
    try:
        ids = tokenizer.encode_to_numpy(text, dtype=np.uint16)
        assert tracemalloc.get_traced_memory()[1] - ids.nbytes < 64_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other ways")
def test_memory_of_freed_arrays_serves_the_next_ones() -> None:
    code = """if True:
        import resource
        import numpy as np
        from minigpt2.vectorized import freed_memory

        def pages():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                [np.ones(1 << 17) for _ in range(10)]  # ten at a time, of a megabyte each
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        without = pages()
        freed_memory.keep()
        print(without, pages())
    """
    without, kept = map(int, subprocess.check_output([sys.executable, "-c", code]).split())
    assert kept < without / 4


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_batches_with_special_tokens_come_back_in_order(threads: int | None) -> None:
    tokenizer = Tokenizer()
    texts = [words(seed % 50, seed) + "<|endoftext|>" * (seed % 3) + "x" * (seed % 7) for seed in range(300)]
    expected = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts, threads) == expected
    ids, offsets = tokenizer.encode_batch_to_numpy(texts, threads, dtype=np.uint16)
    assert [ids[start:end].tolist() for start, end in pairwise(offsets.tolist())] == expected


def test_large_batches_are_shared_among_threads() -> None:
    tokenizer = Tokenizer()
    texts = [words(30_000, seed) for seed in range(8)] + ["", "short"]
    assert tokenizer.encode_batch(texts, 4) == [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError)])
def test_a_number_of_threads_that_is_none_is_refused(bad: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="num_threads"):
        Tokenizer().encode_batch(["x"], bad)  # type: ignore[arg-type]


def test_a_lone_surrogate_in_a_batch_is_refused_at_its_index() -> None:
    with pytest.raises(UnicodeEncodeError, match="position 3"):
        Tokenizer().encode_batch(["fine", "abc\ud800"])


@pytest.mark.parametrize("bad", [50257, -1])
def test_an_id_outside_the_vocabulary_is_named_in_arrays_too(bad: int) -> None:
    with pytest.raises(ValueError, match=rf"{bad} .*0 to 50256"):
        Tokenizer().decode(np.array([0] * 5000 + [bad]))


@pytest.mark.parametrize("dtype", ["int32", "uint16", "uint64"])
def test_long_arrays_of_every_integer_type_decode(dtype: str) -> None:
    assert Tokenizer().decode(np.array([39, 72] * 3000, dtype)) == "Hi" * 3000


@pytest.mark.parametrize(("bad", "error"), [(True, TypeError), (1.0, TypeError), ("1", TypeError), (2**70, ValueError)])
def test_what_is_no_id_is_refused_in_long_lists_too(bad: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=str(bad) if error is ValueError else "integer"):
        Tokenizer().decode([0] * 5000 + [bad])  # type: ignore[list-item]
>>>>>>> 3401e47 (Tokenizer files open as in transformers 5.23 or are refused by key; added tokens, roles, post-processing, decoding as ids come)
