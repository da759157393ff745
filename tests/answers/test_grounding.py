import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components import Query
from ruie_components.answers import FUZZY_THRESHOLD, Grounder, parse
from ruie_components.answers.normalization import normalize, normalize_with_offsets, strip_marks
from ruie_components.types import Grounding


def place(text: str, span: str, **options) -> tuple[str, str] | None:
    """What of the text a span is, and how it was found."""
    found = Grounder(text, **options).matches(span).get(0)
    return (text[found.start : found.end], found.grounding.value) if found else None


@pytest.mark.parametrize(
    ("text", "span", "found"),
    [
        pytest.param("Ada met Bob.", "Bob", ("Bob", "exact"), id="exact"),
        pytest.param("Ada met BOB.", "Bob", ("BOB", "normalised"), id="case"),
        pytest.param("in New \u00a0 York", "New York", ("New \u00a0 York", "normalised"), id="white space"),
        pytest.param("the NF - kappa B site", "NF-kappa B", ("NF - kappa B", "normalised"), id="space at dashes"),
        pytest.param("the NF-kappaB site", "NF - kappa B", ("NF-kappaB", "normalised"), id="no space at dashes"),
        pytest.param("O\u2019Brien left", "O'Brien", ("O\u2019Brien", "normalised"), id="apostrophe"),
        pytest.param("1990\u20131995", "1990-1995", ("1990\u20131995", "normalised"), id="dash"),
        pytest.param("a `` big '' deal", 'a "big" deal', ("a `` big '' deal", "normalised"), id="treebank quotes"),
        pytest.param(
            "\uff11\uff19\uff19\uff16\u5e74", "1996\u5e74", ("\uff11\uff19\uff19\uff16\u5e74", "normalised"), id="width"
        ),
        pytest.param("the \ufb01rst one", "first", ("\ufb01rst", "normalised"), id="ligature"),
        pytest.param("cafe\u0301 bar", "caf\u00e9", ("cafe\u0301", "normalised"), id="composed"),
        pytest.param("caf\u00e9 bar", "cafe\u0301", ("caf\u00e9", "normalised"), id="decomposed"),
        pytest.param("soft\u00adware", "software", ("soft\u00adware", "normalised"), id="soft hyphen"),
        pytest.param("STRASSE 5", "Stra\u00dfe", ("STRASSE", "normalised"), id="sharp s"),
        pytest.param("\U0001f600 Ada", "ada", ("Ada", "normalised"), id="behind an astral character"),
        pytest.param("He said it...", "said it\u2026", ("said it...", "normalised"), id="ellipsis"),
        pytest.param("Barack Obama spoke", "Barak Obama", ("Barack Obama", "fuzzy"), id="a letter less"),
        pytest.param(
            "in the United States now", "the Unitde States", ("United States", "fuzzy"), id="article, letters"
        ),
        pytest.param("Obama spoke", '"Obama".', ("Obama", "exact"), id="quotes and full stop"),
        pytest.param("Fla. and Ala.", "Fla.", ("Fla.", "exact"), id="a full stop of its own"),
        pytest.param("the start of art", "art", ("art", "exact"), id="whole words first"),
        pytest.param("the start of Art", "art", ("Art", "normalised"), id="whole words first, whatever the case"),
        pytest.param("the start", "art", ("art", "exact"), id="parts of words last"),
        pytest.param("\u6211\u5728\u5317\u4eac\u4f4f", "\u5317\u4eac", ("\u5317\u4eac", "exact"), id="no spaces"),
        pytest.param("Ada met Bob.", "Eve", None, id="absent"),
        pytest.param("Ada met Bob.", "", None, id="empty"),
        pytest.param("Ada met Bob.", "***", None, id="markup only"),
        pytest.param("the 1956 general election", "1952 general election", None, id="another number"),
        pytest.param("He flew to Iran.", "Iraq", None, id="short words are not searched by similarity"),
        pytest.param("Australia won", "Austria", None, id="too unlike"),
        pytest.param("\u00bd cup", "1", None, id="half of a character"),
        pytest.param("Hudson Institute", "Hudson Institute of Nowhere", None, id="more than the text has"),
    ],
)
def test_where_a_span_stands(text, span, found):
    assert place(text, span) == found


def test_the_threshold_is_the_users():
    assert place("Australia won", "Austria", threshold=80) == ("Australia", "fuzzy")
    assert place("Barack Obama spoke", "Barak Obama", threshold=None) is None
    query = Query(task="NER", text="Barack Obama spoke", labels=["person"])
    assert parse("person: Barak Obama", query).entities[0].grounding is Grounding.FUZZY
    assert parse("person: Barak Obama", query, fuzzy_threshold=None).entities == ()
    assert FUZZY_THRESHOLD == 90


def offsets(answer: str, text: str, task: str = "NER") -> list[tuple[str, int]]:
    query = Query(task=task, text=text, labels=["country", "bank"])
    return [(label, span.start) for label, (span,) in parse(answer, query).annotations]


def test_repeated_mentions_in_order():
    text = "China met China, and China left."
    assert offsets("country: China; country: China", text) == [("country", 0), ("country", 10)]
    assert offsets("; ".join(["country: China"] * 5), text) == [("country", 0), ("country", 10), ("country", 21)]
    assert offsets("country: China; bank: China", text) == [("country", 0), ("bank", 10)]
    assert offsets("country: China; bank: China", "China") == [("country", 0), ("bank", 0)]
    assert offsets("country: China; country: China; country: China", "China, CHINA.") == [
        ("country", 0),
        ("country", 7),
    ]


def test_a_mention_within_another_answered_span_comes_last():
    text = "The Bank of China left China."
    assert offsets("bank: Bank of China; country: China", text) == [("bank", 4), ("country", 23)]
    assert offsets("country: China; bank: Bank of China", text) == [("country", 23), ("bank", 4)]
    assert offsets("bank: Bank of China; country: China", "The Bank of China left.") == [("bank", 4), ("country", 12)]


def test_one_trigger_of_two_events():
    assert offsets("country: sold; bank: sold; bank: sold", "He sold and sold.", "ED") == [
        ("country", 3),
        ("bank", 3),
        ("bank", 12),
    ]


def test_arguments_stand_near_their_trigger():
    text = "Bob slept. Later, Ada sold Bob a car. Bob paid."
    query = Query(task="EAE", text=text, labels=["buyer", "payer"], event={"type": "sale", "trigger": "sold"})
    (event,) = parse("buyer: Bob; payer: Bob; buyer: Bob", query).events
    assert [(a.role, a.start) for a in event.arguments] == [("buyer", 27), ("payer", 27), ("buyer", 38)]
    far = query.model_copy(update={"event": query.event.model_copy(update={"trigger": "paid", "start": 42})})
    assert parse("payer: Bob", far).events[0].arguments[0].start == 38


def test_the_sides_of_a_relation_stand_near_each_other():
    text = "Ada slept. Bob met Ada. Eve met Bob."
    query = Query(task="RE", text=text, labels=["met"])
    relations = parse("met: Bob, Ada; met: Eve, Bob; met: Bob, Ada", query).relations
    places = [(pair.head.start, pair.tail.start) for pair in relations]
    assert places[:2] == [(11, 19), (24, 32)]
    assert len(set(places)) == 3


@given(st.text(), st.data())
def test_any_part_of_a_text_is_found(text, data):
    start = data.draw(st.integers(0, len(text)))
    span = text[start : data.draw(st.integers(start, len(text)))]
    if span == span.strip() and span:
        found = Grounder(text).matches(span).get(0)
        assert found is not None
        assert found.grounding is Grounding.EXACT or text[found.start : found.end] != span


VARIANTS = [
    str.upper,
    str.lower,
    str.swapcase,
    lambda s: unicodedata.normalize("NFD", s),
    lambda s: s.replace(" ", "\u00a0 "),
]


@given(st.text("abC \u00e9\u0301\u2019\u00df\uff11\ufb01\U0001f600'\u4eba-", min_size=1), st.sampled_from(VARIANTS))
def test_a_variant_of_the_text_folds_to_the_same(text, vary):
    assert normalize(vary(text)).replace(" ", "") == normalize(text).replace(" ", "")


@given(st.text(), st.integers(0, 50), st.integers(1, 50))
def test_folded_ranges_lead_back_to_their_characters(text, start, length):
    folded = normalize_with_offsets(text)
    assert len(folded.text) == len(folded.offsets)
    assert folded.text.rstrip(" ") == normalize(text)
    end = min(start + length, len(folded.text))
    if start < end and (found := folded.original(start, end)):
        part = folded.text[start:end]
        assert normalize(text[slice(*found)]) == " ".join(part.split(" ")).strip(" ")


def plain(text: str) -> str:
    return strip_marks(normalize(text)).replace(" ", "")


@given(st.text("ab \u00e9\u0301.", max_size=30), st.lists(st.text("ab \u00e9\u0301.", max_size=6), max_size=5))
def test_what_is_found_stands_in_the_text(text, spans):
    grounder = Grounder(text, threshold=50)
    for span in spans:
        for found in grounder.matches(span).first(5):
            assert 0 <= found.start < found.end <= len(text)
            if found.grounding is not Grounding.FUZZY:
                assert plain(text[found.start : found.end]) in plain(span)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param("word " * 400_000 + "Ada", "person: Ada; person: Adda Lovelace; person: word", id="few spans"),
        pytest.param("a" * 1_000_000, "; ".join(f"person: {'a' * n}b" for n in range(1, 300)), id="nearly everywhere"),
        pytest.param("Ada. " * 200_000, "person: ada; " * 5_000, id="many mentions"),
        pytest.param("a b: c; " * 120_000, "person: " + "a b: c; " * 2_000, id="semicolons of the text"),
        pytest.param("x" * 1_000_000, "; ".join(f"person: Name {n}" for n in range(5_000)), id="many absent spans"),
        pytest.param("\u0130\u00df\ufb01" * 150_000, "person: ss; person: nothing like it", id="folding"),
    ],
)
def test_a_text_of_megabytes(text, answer):
    query = Query(task="NER", text=text, labels=["person"])
    result = parse(answer, query)
    assert all(text[entity.start : entity.end] == entity.text for entity in result.entities)
    assert result.entities or result.rejected
