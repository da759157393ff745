"""Labels above lists of spans, types below their spans, and reasoning under a heading."""

import pytest

from ruie_components import AnswerError, Query
from ruie_components.answers import parse

NER = Query(task="NER", text="Ada met Grace in Graz. Bob saw them.", labels=["person", "city"])
RE = Query(task="RE", text="Ada works for Corvex. Bob works for Lindal.", labels=["works for"])
BOTH = [("person", "Ada"), ("person", "Grace")]
ALL = [*BOTH, ("city", "Graz")]


def found(answer, query=NER, **options):
    return [(label, *(span.text for span in spans)) for label, spans in parse(answer, query, **options).annotations]


def rejected(answer, query=NER):
    return [(part.reason.value, part.label, part.spans) for part in parse(answer, query).rejected]


@pytest.mark.parametrize(
    "answer",
    [
        "Type: person\n- Ada\n- Grace",
        "Type: person\nAda, Grace",
        "**Type: person**\n- Ada\n- Grace",
        "**Type:** person\n* Ada\n* Grace",
        "### Entity type: Persons\n1. Ada\n2. Grace\n",
        "Category: person\n  - Ada\n  - Grace",
        "Label: person\nSpans:\n- Ada\n- Grace",
        "type: person\nspans: [Ada, Grace]",
        "Type: person\n- Text: Ada\n- Text: Grace",
        "Type: person\n* **Text:** Ada\n* **Text:** Grace",
        "I found these.\n\nType: person\n- Ada\n- Grace",
        "**person**\n- Ada\n- Grace",
        "**person:**\n- Ada\n- Grace",
        "### person\n- Ada\n- Grace",
        "## Persons:\n\n1. **Ada**\n2. **Grace**",
        "person:\n- Ada\n- Grace",
        "person:\n- Text: Ada\n- Text: Grace",
    ],
)
def test_a_label_above_a_list(answer):
    assert found(f"{answer}\n") == BOTH
    for end in range(len(answer)):
        assert found(answer[:end], partial=True) in ([], BOTH[:1], BOTH)


@pytest.mark.parametrize("heading", ["Type: {}", "- Type: {}", "**Type:** {}", "### {}", "**{}**", "**{}:**", "{}:"])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_spans_below_another_label_are_not_those_of_the_label_before(heading, between):
    parts = [("person", "- Ada\n- Grace"), ("planet", "- Bob\n- Mars"), ("city", "- Graz")]
    answer = between.join(f"{heading.format(label)}\n{spans}" for label, spans in parts)
    assert found(answer) == ALL
    assert [part[1:] for part in rejected(answer) if part[0] == "unknown label" and part[1] == "planet"] == [
        ("planet", ("Bob",)), ("planet", ("Mars",)),
    ]  # fmt: skip


def test_pairs_below_their_label():
    assert found("Relation: works for\n- Ada, Corvex\n- Bob, Lindal", RE) == [
        ("works for", "Ada", "Corvex"), ("works for", "Bob", "Lindal"),
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["1. {}\n   - Type: {}", "- {}\n  Type: {}", "**{}**\n- Type: {}", "## {}\nType: {}"])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_a_type_below_its_span(form, between):
    spans = [("Ada", "person"), ("Zoe", "person"), ("Bob", "planet"), ("Graz", "city")]
    answer = between.join(form.format(*each) for each in spans)
    assert found(answer) == [("person", "Ada"), ("city", "Graz")]
    assert rejected(answer) == [("ungrounded", "person", ("Zoe",)), ("unknown label", "planet", ("Bob",))]


@pytest.mark.parametrize(
    "answer",
    [
        "Ada\nType: person\nGraz\nType: city",
        "Zoe\n\nType: person\n\nGraz\n\nType: city",
        "- Ada\n- Type: person\n- Graz\n- Type: city",
        "Name: Ada\n\nType: person\n\nName: Graz\n\nType: city",
        "- Ada\n- Grace\nType: city\n- Bob",
    ],
)
def test_a_type_below_a_span_that_may_not_be_its_own_is_no_heading(answer):
    assert found(answer) == []
    kept = " ".join(part.answer for part in parse(answer, NER).rejected)
    assert all(word in kept for word in answer.replace("-", " ").split())


def test_a_key_that_the_text_has_may_be_a_span():
    query = Query(task="NER", text="The Class of 92 won.", labels=["team"])
    assert found("Class: team\nThe Class of 92: team", query) == [("team", "Class"), ("team", "The Class of 92")]


DRAFT = "person: Bob"


@pytest.mark.parametrize(
    "heading", ["**Thinking:**", "## Reasoning", "Thought process:", "**My thoughts**", "### Thinking:"]
)
@pytest.mark.parametrize(
    "thought", [f"{DRAFT}\n", f"\n{DRAFT}", f"The names are these.\n{DRAFT}\n", f"{DRAFT}\n\nBut that is wrong.\n"]
)
def test_reasoning_without_an_end_holds_no_result(heading, thought):
    answers = [f"{heading}\n{thought}", f"<think>\n{thought}", f"Sure!\n\n{heading}\n{thought}"]
    for answer in answers:
        assert found(answer) == []
        assert rejected(answer) == [("unreadable", "", ())]
        with pytest.raises(AnswerError, match="holds no item"):
            parse(answer, NER, strict=True)
        for end in range(len(answer)):
            assert found(answer[:end], partial=True) == []


@pytest.mark.parametrize(
    "end",
    [
        "\n**Answer:** ",
        "\nAnswer:\n",
        "\n## Answer\n",
        "\n\n**Final answer**\n",
        "\n\n",
        "\n\n---\n",
        "\n```\n",
        "\n\nItems:\n\n",
    ],
)
def test_an_answer_after_reasoning(end):
    answer = f"**Thinking:**\nOnly Bob, I guess:\n{DRAFT}{end}person: Ada; person: Grace\n\ncity: Graz"
    assert found(answer) == ALL
    assert rejected(answer) == [("superseded", "person", ("Bob",))]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("## Reasoning\nNames.\n\n**person**\n\n- Ada\n- Grace\n\n**city**\n\n- Graz", ALL),
        ("**Thinking:**\nNames.\n\nText: Ada\nType: person\n\nText: Graz\nType: city", [ALL[0], ALL[2]]),
        ('**Thinking:**\nNames.\n[{"type": "person", "text": "Ada"}]', ALL[:1]),
        ("Reasoning: the text has a name.\nperson: Ada", ALL[:1]),
        (f"Thinking: {DRAFT}\nperson: Ada", ALL[:1]),
        (f"Thinking: {DRAFT}", []),
        ("person: Ada\n\n**Thinking:**\nperson: Grace", BOTH),
    ],
    ids=["headings", "records", "JSON", "a line", "a line with a draft", "only a line", "behind the answer"],
)
def test_other_answers_with_reasoning(answer, expected):
    assert found(answer) == expected


def test_nothing_after_reasoning_is_an_answer():
    assert parse("**Thinking:**\nThere is no name.\n\nNone", NER, strict=True).entities == ()


def test_a_label_of_the_schema_is_no_heading_of_reasoning():
    query = Query(task="NER", text="Ada met Bob.", labels=["reasoning"])
    assert found("Reasoning:\n- Ada\n- Bob", query) == [("reasoning", "Ada"), ("reasoning", "Bob")]
