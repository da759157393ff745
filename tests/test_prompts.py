import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components import Demonstration, Example, PromptTooLongError, Query, keywords, prompts
from ruie_components.tokenization import cuts_word


def ner(text: str, *spans: tuple[int, int]) -> Example:
    entities = [{"text": text[a:b], "type": "person", "start": a, "end": b} for a, b in spans]
    return Example(task="NER", text=text, labels=["person"], entities=entities)


def test_blocks_equal_the_golden_strings(golden):
    rows = golden("rendering.json")
    assert len(rows) == 108
    for row in rows:
        example = Example.model_validate(row["row"])
        assert prompts.render_query(example.query) == row["query"]
        assert prompts.render_demonstration(example) == row["demonstration"]
        assert prompts.render_answer(example) == row["answer"]
        assert keywords.mark(example) == row["keyword_text"]


@given(st.text(min_size=1).filter(str.strip))
def test_no_input_leaves_its_block(text):
    block = prompts.render_query(Query(task="NER", text=text, labels=["person"]))
    lines = block.splitlines()
    assert len(lines) == 4
    assert lines[2] == f'Input: "{prompts.one_line(text)}"'
    assert [line for line in lines if line.startswith("Output:")] == ["Output:"]


@given(st.text())
def test_one_line_keeps_offsets(text):
    line = prompts.one_line(text)
    assert len(line) == len(text)
    assert len(line.splitlines()) <= 1


def demonstrations(count: int) -> list[Demonstration]:
    return [Demonstration(example=ner(f"Ada{i} slept.", (0, 3)), score=1 - i / 10) for i in range(count)]


def test_the_most_similar_demonstration_stands_last():
    prompt = prompts.build_prompt(Query(task="NER", text="Bob ran.", labels=["person"]), demonstrations(3))
    places = [prompt.text.index(f"Ada{i}") for i in range(3)]
    assert places == sorted(places, reverse=True)
    assert [role for role, _ in prompt.messages] == ["system", *["human", "ai"] * 3, "human"]
    assert prompt.text.endswith('Input: "Bob ran."\nOutput:')


def test_the_least_similar_are_dropped_first_and_counted():
    query = Query(task="NER", text="Bob ran.", labels=["person"])
    full = prompts.build_prompt(query, demonstrations(4))
    fitted = prompts.build_prompt(query, demonstrations(4), max_tokens=full.tokens - 1)
    assert (len(full.demonstrations), full.dropped) == (4, 0)
    assert (len(fitted.demonstrations), fitted.dropped) == (3, 1)
    assert fitted.demonstrations[-1].score == 1
    assert fitted.tokens < full.tokens


def test_the_users_counter_counts():
    query = Query(task="NER", text="Bob ran.", labels=["person"])
    prompt = prompts.build_prompt(query, demonstrations(2), count_tokens=lambda text: 100, max_tokens=330)
    assert prompt.dropped == 1


def test_every_message_counts_with_what_a_chat_template_adds():
    def words(text: str) -> int:
        return len(text.split())

    prompt = prompts.build_prompt(
        Query(task="NER", text="Bob.", labels=["person"]), demonstrations(3), count_tokens=words
    )
    assert len(prompt.messages) == 8
    assert prompt.tokens == sum(words(content) + prompts.MESSAGE_OVERHEAD for _, content in prompt.messages)


def test_an_input_over_the_budget_is_an_error_that_says_so():
    with pytest.raises(PromptTooLongError, match=r"2,000,000 characters.*split it"):
        prompts.build_prompt(Query(task="NER", text="a" * 2_000_000, labels=["person"]), max_tokens=4096)


def test_a_budget_below_the_instruction_does_not_ask_for_a_smaller_text():
    with pytest.raises(PromptTooLongError, match=r"the labels alone.* the budget is 10: raise") as over:
        prompts.build_prompt(Query(task="NER", text="Bob ran.", labels=["person"]), max_tokens=10)
    assert "split it" not in str(over.value)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("none", "Ada met Bob."),
        ("plain", "<Keyword> Ada </Keyword> met <Keyword> Bob </Keyword>."),
        ("typed", "<Keyword> Ada | knows </Keyword> met <Keyword> Bob | knows </Keyword>."),
        ("heads", "<Keyword> Ada </Keyword> met Bob."),
    ],
)
def test_keyword_strategies(strategy, expected):
    head, tail = {"text": "Ada", "start": 0, "end": 3}, {"text": "Bob", "start": 8, "end": 11}
    relation = {"type": "knows", "head": head, "tail": tail}
    example = Example(task="RE", text="Ada met Bob.", labels=["knows"], relations=[relation])
    assert keywords.mark(example, strategy) == expected


def test_overlapping_spans_share_their_tags():
    assert keywords.mark(ner("Ada Lovelace slept.", (0, 12), (4, 12))) == "<Keyword> Ada Lovelace </Keyword> slept."


TAGGED_TEXT = st.text(st.sampled_from("ab1 -.é北ไ서\u0301\U0001f600"), min_size=1, max_size=30).filter(str.strip)


@given(TAGGED_TEXT, st.data())
def test_tags_stand_around_the_spans_and_change_nothing_else(text, data):
    place = st.integers(0, len(text) - 1).flatmap(lambda a: st.tuples(st.just(a), st.integers(a + 1, len(text))))
    spans = data.draw(st.lists(place, max_size=6))
    tagged = keywords.mark(ner(text, *spans))
    parts = tagged.split("<Keyword> ")
    kept, inside = parts[0], set()
    for part in parts[1:]:
        keyword, _, rest = part.partition(" </Keyword>")
        inside.update(range(len(kept), len(kept) + len(keyword)))
        kept += keyword + rest
    assert kept == text
    whole = [span for span in spans if not cuts_word(text, *span)]
    assert inside == {offset for span in whole for offset in range(*span)}


def test_a_span_that_ends_within_a_word_stays_untagged():
    assert keywords.mark(ner("Adam slept.", (0, 3))) == "Adam slept."


@pytest.mark.parametrize(
    ("text", "end"),
    [
        pytest.param("\u10d7\u10d1\u10d8\u10da\u10d8\u10e1\u10d8 \u10d3\u10d8\u10d3\u10d8\u10d0", 4, id="Georgian"),
        pytest.param("\u12a0\u12f2\u1235 \u12a0\u1260\u1263", 2, id="Ethiopic"),
        pytest.param("\uff21\uff24\uff21\uff2d slept", 3, id="full-width Latin"),
    ],
)
def test_every_script_with_spaces_has_words_that_a_tag_could_cut(text, end):
    assert keywords.mark(ner(text, (0, end))) == text


def test_a_korean_name_is_tagged_without_its_ending():
    assert keywords.mark(ner("\uc11c\uc6b8\uc5d0\uc11c \uc0b0\ub2e4", (0, 2))).startswith(
        "<Keyword> \uc11c\uc6b8 </Keyword>"
    )


def test_a_script_without_spaces_is_tagged():
    assert keywords.mark(ner("我在北京住", (2, 4))) == "我在<Keyword> 北京 </Keyword>住"
