import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components import AnswerError, Demonstration, Example, Extraction, Query, Rejection, prompts
from ruie_components.answers import as_linear, json_schema, parse, parse_items

TEXT = "Ada Lovelace met Bob in New York, and Bob wrote to Ada Lovelace."
NER = Query(task="NER", text=TEXT, labels=["person", "place", "date"])
RE = Query(task="RE", text="Rex Ltd., of Ocala, Fla., hired Ada.", labels=["based in", "work for"])
ED = Query(task="ED", text="He sold and bought; he sold.", labels=["sale", "purchase"])
EAE = Query(
    task="EAE",
    text="Bob slept. Ada sold Bob a car; Bob paid.",
    labels=["seller", "buyer", "goods"],
    event={"type": "sale", "trigger": "sold"},
)


def found(result: Extraction) -> list[tuple[str, ...]]:
    return [(label, *(span.text for span in spans)) for label, spans in result.annotations]


def rejected(result: Extraction) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(part.reason.value, part.label, part.spans) for part in result.rejected]


ADA_BOB_YORK = [("person", "Ada Lovelace"), ("person", "Bob"), ("place", "New York")]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("person: Ada Lovelace; person: Bob; place: New York", id="plain"),
        pytest.param("person:Ada Lovelace;person:Bob;place:New York", id="no spaces"),
        pytest.param(" Person: Ada Lovelace; PERSON: Bob; Place: New York;", id="case"),
        pytest.param("Sure! Here is the result:\n\nperson: Ada Lovelace; person: Bob; place: New York", id="chatter"),
        pytest.param("Here you go: person: Ada Lovelace; person: Bob; place: New York", id="chatter on the line"),
        pytest.param("Output: person: Ada Lovelace; person: Bob; place: New York", id="output"),
        pytest.param("```\nperson: Ada Lovelace; person: Bob; place: New York\n```", id="fence"),
        pytest.param("```text\nperson: Ada Lovelace\nperson: Bob\nplace: New York\n```", id="named fence"),
        pytest.param("1. person: Ada Lovelace\n2. person: Bob\n3. place: New York", id="numbers"),
        pytest.param("1) person: Ada Lovelace\n2) person: Bob\n3) place: New York", id="numbers with brackets"),
        pytest.param("- person: Ada Lovelace\n- person: Bob\n- place: New York", id="bullets"),
        pytest.param("\u2022 **person**: Ada Lovelace\n\u2022 **person:** Bob\n\u2022 `place`: New York", id="bold"),
        pytest.param("person: **Ada Lovelace**; person: *Bob*; place: `New York`", id="bold spans"),
        pytest.param('person: "Ada Lovelace"; person: \u201cBob\u201d; place: New York.', id="quotes, full stop"),
        pytest.param("person: Ada Lovelace, person: Bob, place: New York", id="commas"),
        pytest.param("person: Ada Lovelace, Bob; place: New York", id="lists"),
        pytest.param("person: Ada Lovelace; Bob\nplace: New York", id="lists with semicolons"),
        pytest.param("**person:**\n- Ada Lovelace\n- Bob\n**place:**\n- New York\n**date:**\n- None", id="headings"),
        pytest.param("person\uff1aAda Lovelace\uff1bperson\uff1aBob\uff1bplace\uff1aNew York", id="full width"),
        pytest.param("person: Ada Lovelace (a writer); person: Bob; place: New York; date: None", id="comments, None"),
        pytest.param("<think>person: Eve?</think>\nperson: Ada Lovelace; person: Bob; place: New York", id="thoughts"),
        pytest.param("person: Ada Lovelace; person: Bob; place: New York<|eot_id|>person: Eve", id="end marker"),
        pytest.param(
            "person: Ada Lovelace; person: Bob; place: New York\n\nTask: Named entity recognition\nSchema: [person]\n"
            'Input: "Eve ran."\nOutput: person: Eve',
            id="another block",
        ),
        pytest.param(f"{prompts.render_query(NER)} person: Ada Lovelace; person: Bob; place: New York", id="echo"),
        pytest.param('person: Ada Lovelace; person: Bob; place: New York\nInput: "Eve', id="half another block"),
        pytest.param("person: ada  lovelace; person: BOB; place: new york", id="case of spans"),
    ],
)
def test_linear_answers(answer):
    result = parse(answer, NER)
    assert [(label, text) for label, text in found(result)] == ADA_BOB_YORK or [
        (label, text.strip(".")) for label, text in found(result)
    ] == ADA_BOB_YORK
    assert result.rejected == ()
    assert parse(answer, NER, strict=True) == result


ITEMS = [{"type": "person", "text": "Ada Lovelace"}, {"type": "person", "text": "Bob"}]
ITEMS.append({"type": "place", "text": "New York"})
LISTED = json.dumps(ITEMS)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(json.dumps({"entities": ITEMS}), id="plain"),
        pytest.param(json.dumps({"entities": ITEMS}, indent=2), id="indented"),
        pytest.param(f'Sure! Here it is:\n```json\n{{"entities": {LISTED}}}\n```\nHope it\'s fine.', id="fenced"),
        pytest.param(LISTED, id="bare list"),
        pytest.param("\n".join(json.dumps(item) for item in ITEMS), id="one object a line"),
        pytest.param(f'{{"entities": {LISTED[:-1]},]}}', id="trailing comma"),
        pytest.param(f'{{"entities": {LISTED[:-1]}', id="cut off behind an item"),
        pytest.param(f'{{"entities": {LISTED[:-1]}, {{"type": "place", "te', id="cut off within a key"),
        pytest.param(str({"entities": ITEMS}), id="single quotes"),
        pytest.param(f"{{entities: {LISTED}}}", id="bare key"),
        pytest.param('{"person": ["Ada Lovelace", "Bob"], "place": "New York", "date": null}', id="labels as keys"),
        pytest.param('{"entities": {"person": ["Ada Lovelace", "Bob"], "place": ["New York"]}}', id="labels within"),
        pytest.param(LISTED.replace('"type"', '"label"').replace('"text"', '"entity"'), id="other names"),
        pytest.param(LISTED.replace('"person"', '"Person"'), id="case of labels"),
        pytest.param('["person: Ada Lovelace", "person: Bob", "place: New York"]', id="linear items in a list"),
        pytest.param(LISTED.replace('"Bob"', '["Bob"]'), id="a list of spans"),
    ],
)
def test_json_answers(answer):
    assert found(parse(answer, NER)) == ADA_BOB_YORK
    assert all(part.reason == "unreadable" for part in parse(answer, NER).rejected)


def test_unescaped_quotes_in_json():
    query = Query(task="NER", text='The "big" one slept.', labels=["thing"])
    answer = '{"entities": [{"type": "thing", "text": "The "big" one"}]}'
    assert found(parse(answer, query)) == [("thing", 'The "big" one')]


def test_a_half_string_of_json_is_reported_and_not_guessed():
    result = parse('{"entities": [{"type": "person", "text": "Bob"}, {"type": "place", "text": "New Yo', NER)
    assert found(result) == [("person", "Bob")]
    assert [part.reason.value for part in result.rejected] == ["unreadable"]
    assert result.rejected[0].answer == '{"type": "place", "text": "New Yo'


def test_both_forms_of_relations():
    linear = parse("work for: Ada, Rex Ltd.; based in: Rex Ltd., Ocala, Fla.", RE)
    rows = [{"type": "work for", "head": "Ada", "tail": "Rex Ltd."}]
    rows.append({"type": "based in", "head": "Rex Ltd.", "tail": "Ocala, Fla."})
    assert found(linear) == [("work for", "Ada", "Rex Ltd."), ("based in", "Rex Ltd.", "Ocala, Fla.")]
    assert parse(json.dumps({"relations": rows}), RE).relations == linear.relations


@pytest.mark.parametrize(
    "answer",
    [
        "work for: Ada, Rex Ltd.",
        "work for: (Ada, Rex Ltd.)",
        "work for: Ada -> Rex Ltd.",
        "work for: Ada \u2192 Rex Ltd.",
        "work for: Ada,Rex Ltd.",
        '{"relations": [{"relation": "work for", "subject": "Ada", "object": {"text": "Rex Ltd."}}]}',
        '{"work for": [["Ada", "Rex Ltd."]]}',
        '{"work for": [{"head": "Ada", "tail": "Rex Ltd."}]}',
    ],
)
def test_relations_in_other_dress(answer):
    assert found(parse(answer, RE, strict=True)) == [("work for", "Ada", "Rex Ltd.")]


def test_a_relation_without_two_sides_is_unreadable():
    assert rejected(parse("work for: Ada", RE)) == [("unreadable", "work for", ("Ada",))]
    assert rejected(parse("work for: Ada, Eve", RE)) == [("ungrounded", "work for", ("Ada", "Eve"))]


def test_a_comma_in_both_sides():
    text = "Smith, John, of Ocala, Fla. moved."
    query = Query(task="RE", text=text, labels=["live in"])
    assert found(parse("live in: Smith, John, Ocala, Fla.", query)) == [("live in", "Smith, John", "Ocala, Fla.")]


def test_events_and_arguments():
    result = parse("sale: sold; purchase: bought; sale: sold", ED)
    assert [(event.type, event.trigger.start) for event in result.events] == [
        ("sale", 3),
        ("purchase", 12),
        ("sale", 23),
    ]
    (event,) = parse("seller: Ada; buyer: Bob; goods: a car", EAE).events
    assert (event.type, event.trigger.offsets) == ("sale", (15, 19))
    assert [(a.role, a.start) for a in event.arguments] == [("seller", 11), ("buyer", 20), ("goods", 24)]
    assert parse('{"arguments": [{"role": "seller", "text": "Ada"}]}', EAE).events[0].arguments[0].text == "Ada"


def test_an_event_without_arguments_is_still_the_event():
    (event,) = parse("None", EAE, strict=True).events
    assert (event.trigger.text, event.arguments) == ("sold", ())


def test_a_trigger_that_is_not_in_the_text_rejects_its_arguments():
    query = EAE.model_copy(update={"event": EAE.event.model_copy(update={"trigger": "auctioned"})})
    result = parse("seller: Ada", query)
    assert result.events == ()
    assert rejected(result) == [("ungrounded", "sale", ("auctioned",)), ("ungrounded", "seller", ("Ada",))]


@pytest.mark.parametrize(
    "answer", ["None", "none.", "**None**", "Output: None", "None (no entities here)", "[]", "{}", '{"entities": []}']
)
def test_nothing_to_extract(answer):
    result = parse(answer, NER, strict=True)
    assert found(result) == []
    assert result.answer == answer


SHOWN = [Demonstration(example=Example(task="NER", text="Titan, 北京, sailed.", labels=["person"]), score=1)]


@pytest.mark.parametrize(
    ("text", "answer", "kept"),
    [
        pytest.param("Titania slept.", "person: Titan", [], id="part of a word"),
        pytest.param("Titania slept.", "person: titan", [], id="part of a word, other case"),
        pytest.param("Titania slept.", '[{"type": "person", "text": "Titan"}]', [], id="JSON"),
        pytest.param("Titania met Bob.", "person: Titan, Bob", ["Bob"], id="in a list"),
        pytest.param("Titania met Titan.", "person: Titan", ["Titan"], id="a word elsewhere"),
        pytest.param("Two Titans slept.", "person: Titan", ["Titan"], id="inflected"),
        pytest.param("Titania slept.", "person: itania", ["itania"], id="no word of the demonstration"),
        pytest.param("我在北京市。", "person: 北京", ["北京"], id="no spaces"),
        pytest.param(
            "Titania slept.", '[{"type": "person", "text": "Titan", "start": 0, "end": 5}]', ["Titan"], id="offsets"
        ),
    ],
)
def test_a_leaked_span_inside_of_a_word_is_rejected(text, answer, kept):
    query = Query(task="NER", text=text, labels=["person"])
    result = parse(answer, query, demonstrations=SHOWN)
    assert [entity.text for entity in result.entities] == kept
    assert all(reason == "leaked" for reason, _, _ in rejected(result))
    assert bool(result.rejected) == ("Titan" not in kept and "itania" not in kept and "北京" not in kept)
    assert parse(answer, query).rejected == ()  # without demonstrations nothing can leak


def test_a_leaked_side_inside_of_a_word_is_rejected():
    query = Query(task="RE", text="Titania met Bob.", labels=["met"])
    result = parse("met: Titan, Bob; met: Titania, Bob", query, demonstrations=SHOWN)
    assert [(relation.head.text, relation.tail.text) for relation in result.relations] == [("Titania", "Bob")]
    assert rejected(result) == [("leaked", "met", ("Titan", "Bob"))]


def test_a_trigger_that_a_demonstration_has_may_be_inflected():
    shown = [Demonstration(example=Example(task="ED", text="An attack began.", labels=["attack"]), score=1)]
    for text in ("They attacked the town.", "Rebels keep attacking."):
        query = Query(task="ED", text=text, labels=["attack"])
        result = parse("attack: attack", query, demonstrations=shown)
        assert [event.trigger.text for event in result.events] == ["attack"]
        assert result == parse("attack: attack", query)


def test_what_is_no_result_is_kept_with_its_reason():
    demo = Example(task="NER", text="Eve ran.", labels=["person"])
    answer = "person: Bob; planet: Mars; person: Eve; person: Zoe\nI hope this helps!"
    result = parse(answer, NER, demonstrations=[Demonstration(example=demo, score=1)])
    assert found(result) == [("person", "Bob")]
    assert rejected(result) == [
        ("unknown label", "planet", ("Mars",)),
        ("leaked", "person", ("Eve",)),
        ("ungrounded", "person", ("Zoe",)),
        ("unreadable", "", ()),
    ]
    assert [part.answer for part in result.rejected] == [
        "planet: Mars",
        "person: Eve",
        "person: Zoe",
        "I hope this helps!",
    ]
    assert rejected(parse("person: Eve", NER)) == [("ungrounded", "person", ("Eve",))]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("planet: Mars", r"label 'planet' .* is not in the schema"),
        ("person: Eve", r"person 'Eve' is not in the input"),
        ("I can't do that", r"\"I can't do that\" can't be read"),
        ("", "neither|no item"),
        ("Sure! Here is the result:", "no item"),
    ],
)
def test_strict_says_what_was_wrong(answer, message):
    with pytest.raises(AnswerError, match=message) as caught:
        parse(answer, NER, strict=True)
    assert caught.value.answer == answer
    assert found(parse(answer, NER)) == []


def test_labels_with_every_kind_of_mark():
    labels = ["a: b", "a", "x, y", "[z]", "p; q", "1. no", "person: employee of"]
    query = Query(task="NER", text="Ada met Bob in Rome; Eve slept by Zoe, Kim and Joe.", labels=labels)
    answer = "a: b: Ada; a: Bob; x, y: Rome; [z]: Eve; p; q: Zoe; 1. no: Kim; person: employee of: Joe"
    expected = [("a: b", "Ada"), ("a", "Bob"), ("x, y", "Rome"), ("[z]", "Eve")]
    result = found(parse(answer, query))
    expected += [("p; q", "Zoe"), ("1. no", "Kim"), ("person: employee of", "Joe")]
    assert result == expected
    items = [{"type": label, "text": "Ada"} for label in labels]
    assert {label for label, _ in found(parse(json.dumps({"entities": items}), query))} == set(labels)


def test_labels_that_differ_by_case_only():
    query = Query(task="NER", text="Ada met Bob.", labels=["DNA", "dna"])
    assert found(parse("dna: Ada; DNA: Bob; Dna: Bob", query)) == [("dna", "Ada"), ("DNA", "Bob")]


def test_labels_with_underscores():
    query = Query(task="NER", text="Ada met Bob.", labels=["political party", "date_time"])
    assert found(parse("political_party: Ada; date time: Bob", query)) == [
        ("political party", "Ada"),
        ("date_time", "Bob"),
    ]


@pytest.mark.parametrize(
    "span", ["a; b", "a: b", "x; y: z", "a, b", "[1]", '"quoted"', "{k: v}", "- dash", "3. point", "a. b."]
)
def test_spans_with_every_kind_of_mark(span):
    query = Query(task="NER", text=f"He said {span} and left.", labels=["word", "other"])
    result = parse(f"word: {span}; other: left", query)
    assert found(result) == [("word", span), ("other", "left")]
    assert result.rejected == ()
    assert found(parse(json.dumps([{"type": "word", "text": span}]), query)) == [("word", span)]


def test_a_schema_label_that_is_also_a_word_of_the_block():
    query = Query(task="NER", text="We study speech recognition.", labels=["task", "input", "output"])
    assert found(parse("Task: speech recognition", query)) == [("task", "speech recognition")]


def test_line_breaks_of_the_text_are_spaces_of_the_answer():
    query = Query(task="NER", text="Ada\nLovelace slept.", labels=["person"])
    (entity,) = parse("person: Ada Lovelace", query).entities
    assert (entity.text, entity.offsets, entity.grounding) == ("Ada\nLovelace", (0, 12), "exact")


@pytest.mark.parametrize("answer_format", ["linear", "json"])
def test_a_partial_answer_leaves_its_last_item_out(answer_format):
    example = Example.model_validate(
        {
            "task": "NER",
            "text": TEXT,
            "schema": list(NER.labels),
            "entities": [
                {"text": "Ada Lovelace", "type": "person", "start": 0, "end": 12},
                {"text": "Bob", "type": "person", "start": 17, "end": 20},
                {"text": "New York", "type": "place", "start": 24, "end": 32},
            ],
        }
    )
    answer = prompts.render_answer(example, answer_format)
    seen = [parse(answer[:end], NER, partial=True) for end in range(len(answer) + 1)]
    assert all(result.rejected == () for result in seen)
    counts = [len(result.entities) for result in seen]
    assert counts == sorted(counts)
    assert {0, 1, 2} <= set(counts)
    for result in seen:
        assert result.entities == example.entities[: len(result.entities)]
    assert parse(answer, NER).entities == example.entities


def test_a_thought_that_goes_on_gives_nothing():
    assert found(parse("<think>\nperson: Bob\n", NER, partial=True)) == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("mark: </think>; person: Ada", id="in the answer"),
        pytest.param("<think>\nmark?\n</think>\nmark: </think>; person: Ada", id="behind thoughts"),
    ],
)
def test_the_end_of_a_thought_in_the_input_is_no_end_of_a_thought(answer):
    query = Query(task="NER", text="Ada wrote </think> at its end.", labels=["person", "mark"])
    assert found(parse(answer, query)) == [("mark", "</think>"), ("person", "Ada")]


def test_thoughts_that_only_end_are_cut_away():
    assert found(parse("person: Bob, perhaps?\n</think>\nperson: Ada Lovelace", NER)) == [("person", "Ada Lovelace")]


def test_the_schema_of_json_answers():
    schema = json_schema(RE)
    assert schema["additionalProperties"] is False
    item = schema["properties"]["relations"]["items"]
    assert item["additionalProperties"] is False
    assert item["required"] == ["type", "head", "tail"]
    assert item["properties"]["type"]["enum"] == ["based in", "work for"]
    assert schema["title"]


def test_items_and_their_linear_form():
    answer = '{"relations": [{"type": "work for", "head": "Ada", "tail": "Eve"}]}'
    assert [(item.label, item.spans, item.known) for item in parse_items(answer, RE)] == [
        ("work for", ("Ada", "Eve"), True)
    ]
    assert as_linear(answer, RE) == "work for: Ada, Eve"
    assert as_linear("Sure: work for: Ada, Eve", RE) == "Sure: work for: Ada, Eve"
    assert as_linear('{"relations": []}', RE) == "None"


ALPHABET = st.sampled_from(list("ab 1:;,.[]{}()\"'\\\n\t*-_`\uff1a\uff1b\uff0c\u4eba\u0301\u00e9\U0001f600\ud83d<|>/"))
LINEAR_PIECES = ["person: ", "place:", "Ada Lovelace", "Bob", "None", "; ", "\n", "Output:", "1. ", "**", "<think>"]
LINEAR_PIECES += ["Task: Named entity recognition", 'Input: "', "</think>", "```json\n"]
JSON_PIECES = ['{"entities": [', '{"type": "person", ', '"text": "Bob"}', "]}", "```\n", "Bob", '"', ", "]
PIECES = st.sampled_from([*LINEAR_PIECES, *JSON_PIECES])


@given(st.one_of(st.text(), st.text(ALPHABET), st.lists(PIECES).map("".join)), st.booleans())
def test_any_string_is_read(answer, partial):
    for query in (NER, RE, ED, EAE):
        result = parse(answer, query, partial=partial)
        assert result.answer == answer
        for span in result.spans:
            assert query.text[span.start : span.end] == span.text


@given(st.lists(PIECES).map("".join))
def test_strict_gives_the_same_or_raises(answer):
    lenient = parse(answer, NER)
    if lenient.entities and not lenient.rejected:
        assert parse(answer, NER, strict=True) == lenient
    elif lenient.rejected:
        with pytest.raises(AnswerError, match=r"can't be used|holds no item"):
            parse(answer, NER, strict=True)


LETTERS = st.text("abcde\u00e9\u4eba\U0001f600.'", min_size=1, max_size=6)
WORDS = LETTERS.filter(lambda word: any(map(str.isalpha, word)))


@st.composite
def examples(draw) -> Example:
    """A text of words with entities that can be told apart: every word once, spans of whole words."""
    words = draw(st.lists(WORDS, min_size=1, max_size=12, unique_by=lambda word: word.strip(".'")))
    text = " ".join(f"w{index}{word}" for index, word in enumerate(words))
    starts = [0] + [at + 1 for at, character in enumerate(text) if character == " "]
    labels = draw(st.lists(st.sampled_from(["person", "x, y", "a: b", "[z]", "A", "c++ (d)"]), min_size=1, unique=True))
    entities = []
    for index in draw(st.lists(st.integers(0, len(starts) - 1), max_size=5, unique=True)):
        start = starts[index]
        last = draw(st.integers(index, min(index + 2, len(starts) - 1)))
        end = starts[last + 1] - 1 if last + 1 < len(starts) else len(text)
        entities.append({"text": text[start:end], "type": draw(st.sampled_from(labels)), "start": start, "end": end})
    return Example(task="NER", text=text, labels=labels, entities=entities)


@given(examples(), st.sampled_from(["linear", "json"]))
def test_a_gold_answer_is_read_back(example, answer_format):
    result = parse(prompts.render_answer(example, answer_format), example.query, strict=True)
    assert result.entities == example.entities


@pytest.mark.parametrize(
    ("name", "texts", "places"),
    [
        ("NER/CoNLL2003", 1.0, 0.99),
        ("NER/GENIA_NER", 1.0, 0.99),
        ("NER/MSRA_zh", 1.0, 0.99),
        ("RE/conll04", 1.0, 0.98),
        ("RE/ADE_corpus", 1.0, 0.98),
        ("RE/FinRE_zh", 1.0, 0.85),
        ("ED/CASIE", 1.0, 0.99),
        ("EAE/RAMS", 1.0, 0.95),
        ("EAE/FewFC_zh", 1.0, 0.95),
    ],
)
def test_gold_answers_of_real_rows_are_read_back(read_rows, name, texts, places):
    """Strings come back always; offsets where the text says which of several mentions is meant."""
    rows = read_rows(name, "train", 300)
    for answer_format in prompts.AnswerFormat:
        results = [parse(prompts.render_answer(row, answer_format), row.query) for row in rows]
        assert all(result.rejected == () for result in results)
        said = [set(found(result)) == {(label, *(s.text for s in spans)) for label, spans in row.annotations}
                for row, result in zip(rows, results, strict=True)]  # fmt: skip
        assert sum(said) / len(rows) >= texts
        pairs = [
            (
                {(label, tuple(s.offsets for s in spans)) for label, spans in row.annotations},
                {(label, tuple(s.offsets for s in spans)) for label, spans in result.annotations},
            )
            for row, result in zip(rows, results, strict=True)
        ]
        right = sum(len(gold & got) for gold, got in pairs)
        assert right / sum(len(gold) for gold, _ in pairs) >= places


NASTY = [";", ":", "person: a; ", "person: Ada, ", "x: y; ", "[", '{"person": [', '{"a\\', "'{", "\n", "- * ", "``` "]
NASTY += [
    "( ",
    " ",
    "None\n",
    "Task: Named entity recognition\n",
    "<|a|>",
    "1. ",
    "place: a, b, ",
    "\u0301",
    "\uff1b\uff1a",
]
NASTY += [
    '{"type": "person", "text": "Ada"}, ',
    "person: Ada\nx: y\n",
    "a b ",
    "\"'",
    "{a: ",
    '" ',
    'Input: "\nOutput:\n',
    '{"type": "person", "text": "Ada"} and\n',
    '[{"type": "person", "text": "Ada"}]\nperson: Ada\n',
    "Final answer:\n",
    "Final answer: person: Ada\n",
    "Type: person\n",
    "Type: person\n- Ada\n",
    "- Ada\n  Type: person\n",
    "Ada\nType: planet\n",
    "**person**\n- Ada\n**planet**\n",
    "**Thinking:**\n",
    "**Thinking:**\n\nperson: Ada\n\n",
    "Thinking: person: Ada\n",
    "## Answer\n",
]


def calls(answer: str, query: Query) -> int:
    """How many functions are called to read an answer."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        parse(answer, query)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("query", [NER, RE, ED, EAE], ids=lambda query: query.task.value)
@pytest.mark.parametrize("piece", NASTY)
def test_twice_the_answer_is_twice_the_work(piece, query):
    parse(piece * 10, query)  # fills the caches
    once, twice = (calls(piece * count, query) for count in (300, 600))
    assert twice <= 2.2 * once + 500


def test_json_that_nests_too_deep_is_rejected_from_there_on():
    answer = '{"type": "person", "text": "Ada"}, ' + '[{"a": ' * 100_000
    result = parse(answer, NER)
    assert [entity.text for entity in result.entities] == ["Ada"]
    rest = result.rejected[-1]
    assert rest.reason is Rejection.UNREADABLE
    assert len(rest.answer) > 690_000
    assert answer.endswith(rest.answer)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "piece", [";", "person: Ada, ", "[{", '"', "long", "\n", "Answer:\n", "[{}] and\n", "Type: a\n"]
)
def test_a_long_answer_is_read(piece):
    """What calls do not show: copying and searching. Were it quadratic, the time-out would strike."""
    size = 200_000 if piece in ("[{", "person: Ada, ", "Answer:\n", "[{}] and\n") else 1_000_000
    answer = "person: " + "b " * 500_000 if piece == "long" else piece * (size // len(piece))
    assert parse(answer, NER).answer == answer
