import pytest

from ruie_components.tokenization import cuts_word, text_hash, tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Ada's 2nd letter", ["ada", "s", "2nd", "letter"]),
        ("東京 Tower", ["東", "京", "tower"]),
        ("서울에서 왔다", ["서울에서", "왔다"]),
        ("under_score-dash", ["under_score", "dash"]),
    ],
)
def test_tokens_are_words_or_single_characters_by_script(text, tokens):
    assert tokenize(text) == tokens


def test_a_text_in_ascii_has_the_same_tokens_beside_another_script():
    every = "".join(map(chr, range(128)))
    assert [*tokenize(every), "北"] == tokenize(f"{every} 北")


@pytest.mark.parametrize(
    ("text", "start", "end", "cuts"),
    [
        ("Adam slept.", 0, 3, True),
        ("Adam slept.", 0, 4, False),
        ("Adam slept.", 1, 4, True),
        ("東京都", 0, 2, False),
        ("서울에서", 0, 2, False),
        ("Ada", 0, 3, False),
        ("3km", 0, 1, True),
    ],
)
def test_a_span_cuts_a_word_only_where_words_have_visible_ends(text, start, end, cuts):
    assert cuts_word(text, start, end) is cuts


def test_texts_that_differ_in_white_space_alone_are_the_same():
    assert text_hash("Ada\n slept.") == text_hash("Ada slept. ")
    assert text_hash("Ada slept.") != text_hash("ada slept.")
    assert text_hash("half \ud800") == text_hash("half  \ud800")
