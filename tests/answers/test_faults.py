"""Answers that once lost or invented something, each with its right value."""

import json

import pytest
from pydantic import BaseModel

from ruie_components import AnswerError, Extraction, Query
from ruie_components.answers import parse

T = Query(
    task="NER",
    text="Mira Holt joined Corvex in Graz on Monday. Mira Holt had worked for Lindal before.",
    labels=["person", "organisation", "city"],
)
R = Query(
    task="RE",
    text="Mira Holt works for Corvex and for Lindal. Corvex is in Graz.",
    labels=["works for", "located in"],
)
EAE = Query(
    task="EAE",
    text="Rebels attacked the town; later the army attacked rebels.",
    labels=["attacker", "target"],
    event={"type": "attack", "trigger": "attacked", "start": 7},
)
LIN = "person: Mira Holt; city: Graz"
BOTH = [("person", "Mira Holt"), ("city", "Graz")]
TWO_RELATIONS = [("works for", "Mira Holt", "Corvex"), ("works for", "Mira Holt", "Lindal")]


def items(extraction: Extraction) -> list[tuple[str, ...]]:
    return [(label, *(span.text for span in spans)) for label, spans in extraction.annotations]


def starts(extraction: Extraction) -> list[tuple[int, ...]]:
    return [tuple(span.start for span in spans) for _, spans in extraction.annotations]


HEADERS = {
    "harmony": "<|channel|>analysis<|message|>Look for names.<|end|><|start|>assistant<|channel|>final<|message|>"
    + LIN
    + "<|return|>",
    "harmony, items in the analysis": "<|channel|>analysis<|message|>person: Lindal<|end|><|start|>assistant"
    f"<|channel|>final<|message|>{LIN}<|return|>",
    "llama 3": f"<|start_header_id|>assistant<|end_header_id|>\n\n{LIN}<|eot_id|>",
    "ChatML": f"<|im_start|>assistant\n{LIN}<|im_end|>",
    "ChatML, another turn": f"{LIN}<|im_end|>\n<|im_start|>user\nperson: Lindal<|im_end|>",
    "gemma": f"<start_of_turn>model\n{LIN}<end_of_turn>",
    "llama 2": f"[INST] Find them. [/INST] {LIN} </s>",
    "mistral": f"[/INST]{LIN}</s>",
    "phi": f"<|assistant|>\n{LIN}<|end|>",
    "exaone": f"[|assistant|]{LIN}[|endofturn|]",
    "tag": f"<assistant>{LIN}</assistant>",
    "deepseek": f"<\uff5cAssistant\uff5c>{LIN}<\uff5cend\u2581of\u2581sentence\uff5c>",
}


@pytest.mark.parametrize("answer", HEADERS.values(), ids=HEADERS)
def test_role_headers_hide_nothing(answer):
    extraction = parse(answer, T, strict=True)
    assert items(extraction) == BOTH


@pytest.mark.parametrize("answer", HEADERS.values(), ids=HEADERS)
def test_role_headers_while_streaming(answer):
    for end in range(len(answer)):
        extraction = parse(answer[:end], T, partial=True)
        assert items(extraction) in ([], BOTH[:1], BOTH)
        assert extraction.rejected == ()


THOUGHTS = {
    "[THINK]": "[THINK]First try:\nperson: Lindal\n[/THINK]",
    "think": "<think>\nperson: Lindal\n</think>\n",
    "THINK": "<THINK>person: Lindal</THINK>",
    "thinking": "<thinking>person: Lindal</thinking>\n",
    "thought": "<thought>person: Lindal</thought>",
    "reasoning": "<reasoning>\nperson: Lindal\n</reasoning>",
    "channel": "<|channel>thought\nperson: Lindal\n<channel|>",
    "begin_of_thought": "<|begin_of_thought|>person: Lindal<|end_of_thought|>",
    "no opening tag": "person: Lindal\n</think>",
    "two": "<think>person: Lindal</think><think>city: Corvex</think>",
    "plan": "<plan>person: Lindal</plan>",
    "draft": "<draft>person: Lindal</draft>\n",
    "kimi": "\u25c1think\u25b7person: Lindal\u25c1/think\u25b7",
}


@pytest.mark.parametrize("thought", THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_are_no_results(thought):
    assert items(parse(thought + LIN, T, strict=True)) == BOTH
    for end in range(len(thought)):
        if "no opening" not in thought and not thought.startswith("person"):
            assert items(parse(thought[:end], T, partial=True)) == []


NAMED = {
    "langextract": {"extractions": [{"extraction_class": "person", "extraction_text": "Mira Holt", "attributes": {}}]},
    "camel case": {"entities": [{"entityType": "person", "entityText": "Mira Holt", "meta": {"page": [1]}}]},
    "unknown keys": [{"klass": "person", "string_value": "Mira Holt", "evidence": []}],
    "span as key": {"Mira Holt": "person"},
    "spans as keys in a list": {"entities": [{"Mira Holt": "person"}]},
    "pair": [["Mira Holt", "person"]],
    "pair, label first": [["person", "Mira Holt"]],
    "hugging face": [{"entity_group": "person", "score": 0.99, "word": "Mira Holt", "start": 0, "end": 9}],
    "label under a span's key": [{"entity": "person", "text": "Mira Holt"}],
    "tool call": [{"name": "extract", "args": {"entities": [{"type": "person", "text": "Mira Holt"}]}, "id": "1"}],
}


@pytest.mark.parametrize("answer", NAMED.values(), ids=NAMED)
def test_entities_in_other_shapes_of_json(answer):
    for form in (answer, json.dumps(answer), json.dumps(answer, indent=2)):
        assert items(parse(form, T, strict=True)) == [("person", "Mira Holt")]


def test_pydantic_objects_are_answers():
    class Entity(BaseModel):
        type: str
        text: str

    class Entities(BaseModel):
        entities: list[Entity]

    structured = Entities(entities=[Entity(type="person", text="Mira Holt"), Entity(type="city", text="Graz")])
    assert items(parse(structured, T, strict=True)) == BOTH


RELATIONS = {
    "tails": {"relations": [{"type": "works for", "head": "Mira Holt", "tail": ["Corvex", "Lindal"]}]},
    "tails as objects": [{"type": "works for", "head": "Mira Holt", "tail": [{"text": "Corvex"}, {"text": "Lindal"}]}],
    "triples as objects": [
        {"subject": "Mira Holt", "predicate": "works for", "object": name, "evidence": []}
        for name in ("Corvex", "Lindal")
    ],
    "relationship": [
        {"relationship": "works for", "source": "Mira Holt", "target": name} for name in ("Corvex", "Lindal")
    ],
    "head as key": {"Mira Holt": {"works for": ["Corvex", "Lindal"]}},
    "label, then head": {"works for": {"Mira Holt": ["Corvex", "Lindal"]}},
    "triples": [["Mira Holt", "works for", "Corvex"], ["Mira Holt", "works for", "Lindal"]],
    "triples, label first": [["works for", "Mira Holt", "Corvex"], ["works for", "Mira Holt", "Lindal"]],
    "strings": {"works for": ["Mira Holt, Corvex", "Mira Holt, Lindal"]},
    "pairs": {"works for": [["Mira Holt", "Corvex"], ["Mira Holt", "Lindal"]]},
}


@pytest.mark.parametrize("answer", RELATIONS.values(), ids=RELATIONS)
def test_relations_in_other_shapes_of_json(answer):
    assert items(parse(json.dumps(answer), R, strict=True)) == TWO_RELATIONS


def test_python_tuples_are_read():
    answer = '[("Mira Holt", "works for", "Corvex"), ("Mira Holt", "works for", "Lindal")]'
    assert items(parse(answer, R, strict=True)) == TWO_RELATIONS


def test_several_heads_and_several_tails_are_not_guessed():
    answer = '[{"type": "works for", "head": ["Mira Holt", "Graz"], "tail": ["Corvex", "Lindal"]}]'
    extraction = parse(answer, R)
    assert items(extraction) == []
    assert [(one.reason, one.answer) for one in extraction.rejected] == [("unreadable", answer[1:-1])]


@pytest.mark.parametrize(
    ("before", "between"),
    [("I first thought of", "."), ("A draft:", ""), ("First try:", ""), ("", "\n\nOn second thought:")],
)
def test_a_draft_in_prose_gives_way_to_the_answer(before, between):
    answer = f'{before} {{"entities":[{{"type":"person","text":"Lindal"}}]}}{between}\n\n{LIN}'
    extraction = parse(answer, T)
    assert items(extraction) == BOTH
    assert [(one.reason, one.spans) for one in extraction.rejected] == [("superseded", ("Lindal",))]


PERSON, CITY = '{"type": "person", "text": "Mira Holt"}', '{"type": "city", "text": "Graz"}'


@pytest.mark.parametrize(
    "answer",
    [
        f"{PERSON}, {CITY}, {CITY}",
        f"{PERSON} {CITY} {CITY}",
        f"I found {PERSON} and {CITY}.",
        f"I found {PERSON}\nand then {CITY}.",
        f"1. {PERSON}\n2. {CITY}",
        f"- {PERSON}\n- {CITY}",
    ],
)
def test_objects_one_after_another_do_not_replace_each_other(answer):
    assert items(parse(answer, T, strict=True)) == BOTH


def test_an_object_in_prose_gives_way_to_one_on_a_line_of_its_own():
    extraction = parse(f'I first thought of {{"type": "person", "text": "Lindal"}}.\n\n{PERSON}\n{CITY}', T)
    assert items(extraction) == BOTH
    assert [(one.reason, one.spans) for one in extraction.rejected] == [("superseded", ("Lindal",))]


def test_linear_items_behind_json_are_results_too():
    answer = '{"entities": [{"type": "person", "text": "Mira Holt"}]}\ncity: Graz'
    assert items(parse(answer, T, strict=True)) == BOTH


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("Ann met Bob. Ann left. Bob paid Ann.", "paid: Bob, Ann", [(23, 32)]),
        ("Ann hired Bob. Bob hired Ann.", "paid: Ann, Bob; paid: Bob, Ann", [(0, 10), (15, 25)]),
        ("Ann paid Bob. Ann paid Bob.", "paid: Ann, Bob; paid: Ann, Bob", [(0, 9), (14, 23)]),
    ],
)
def test_the_sides_of_a_relation_share_a_sentence(text, answer, expected):
    assert starts(parse(answer, Query(task="RE", text=text, labels=["paid"]))) == expected


def test_offsets_of_the_answer_are_used_where_they_fit():
    query = Query(task="NER", text="Jordan flew to Jordan.", labels=["country", "person"])
    rows = [
        {"type": "country", "text": "Jordan", "start": 15, "end": 21},
        {"type": "person", "text": "Jordan", "start": 0, "end": 6},
    ]
    assert starts(parse({"entities": rows}, query)) == [(15,), (0,)]
    inclusive = [rows[0] | {"end": 20}, rows[1] | {"end": 5}]
    assert starts(parse(inclusive, query)) == [(15,), (0,)]
    listed = [{"type": "country", "text": "Jordan", "span": [15, 21]}]
    assert starts(parse(listed, query)) == [(15,)]
    wrong = [rows[0] | {"start": 3, "end": 9}]
    assert starts(parse(wrong, query)) == [(0,)]


def test_offsets_of_the_sides_of_a_relation():
    query = Query(task="RE", text="Ann paid Bob. Ann paid Bob.", labels=["paid"])
    side = {"head": {"text": "Ann", "start": 14, "end": 17}, "tail": {"text": "Bob", "start": 23, "end": 26}}
    assert starts(parse({"relations": [{"type": "paid", **side}]}, query)) == [(14, 23)]


def test_the_row_of_a_data_file_is_an_answer():
    row = {"events": [{"type": "attack", "trigger": "attacked", "arguments": [{"role": "attacker", "text": "Rebels"}]}]}
    assert items(parse(row, EAE, strict=True)) == [("attacker", "Rebels")]
    span = {"text": "attacked", "start": 7, "end": 15}
    full = {"events": [{"type": "attack", "trigger": span, "arguments": row["events"][0]["arguments"]}]}
    assert items(parse(full, EAE, strict=True)) == [("attacker", "Rebels")]
    named = {"event": {"trigger": "attacked", "arguments": {"attacker": ["Rebels"], "target": "the town"}}}
    assert items(parse(named, EAE, strict=True)) == [("attacker", "Rebels"), ("target", "the town")]


def test_the_arguments_of_another_event_are_rejected():
    other = {"type": "flood", "trigger": "later", "arguments": [{"role": "target", "text": "the town"}]}
    extraction = parse({"events": [other]}, EAE)
    assert items(extraction) == []
    assert [one.reason for one in extraction.rejected] == ["unreadable"]


def test_an_empty_answer_is_no_none():
    assert parse("None", T).rejected == ()
    for empty in ("", "  \n", "<think>hm</think>", "<|channel|>analysis<|message|>person: Graz<|end|>"):
        assert [(one.reason, one.answer) for one in parse(empty, T).rejected] == [("unreadable", empty)]
        with pytest.raises(AnswerError, match="no item"):
            parse(empty, T, strict=True)


LINEAR = {
    "headings without a colon": "**Person**\n- Mira Holt\n\n**City**\n- Graz",
    "headings with marks": "### Person\n* Mira Holt\n### City\n* Graz",
    "labels behind": "Mira Holt (person)\nGraz (city)",
    "labels behind, bullets": "- Mira Holt (Person)\n- Graz (City)",
    "labels behind dashes": "1. Mira Holt - person\n2. Graz \u2013 city",
    "labels behind colons": "Mira Holt: person\nGraz: city",
    "table": "| Type | Text |\n|---|---|\n| person | Mira Holt |\n| city | Graz |",
    "table, other order": "| Entity | Label | Start |\n| --- | :---: | --- |\n"
    "| **Mira Holt** | person | 0 |\n| Graz | city | 27 |",
    "table without a heading": "| Mira Holt | person |\n| Graz | city |",
    "answer tags": f"<answer>{LIN}</answer>",
    "answer tags on lines": f"Sure:\n<answer>\n{LIN}\n</answer>",
}  # fmt: skip


@pytest.mark.parametrize("answer", LINEAR.values(), ids=LINEAR)
def test_linear_answers_in_other_shapes(answer):
    assert items(parse(answer, T, strict=True)) == BOTH


@pytest.mark.parametrize(
    "answer",
    [
        "works for: (Mira Holt, Corvex), (Mira Holt, Lindal)",
        "works for: [Mira Holt, Corvex]; [Mira Holt, Lindal]",
        "| Head | Relation | Tail |\n|---|---|---|\n| Mira Holt | works for | Corvex |\n"
        "| Mira Holt | works for | Lindal |",
        "| relation | subject | object |\n|--|--|--|\n| works for | Mira Holt | Corvex |\n"
        "| works for | Mira Holt | Lindal |",
    ],
)
def test_linear_relations_in_other_shapes(answer):
    assert items(parse(answer, R, strict=True)) == TWO_RELATIONS


@pytest.mark.parametrize(
    "answer",
    [
        "No entities found.",
        "There are no entities in the text.",
        "No named entities were found in this sentence.",
        '{"entities": null}',
        '{"entities": []}',
        "Output: None",
        "Nothing found.",
    ],
)
def test_there_is_nothing(answer):
    assert parse(answer, T, strict=True).annotations == []


def test_html_entities_are_characters():
    query = Query(task="NER", text="AT&T bought it.", labels=["company"])
    assert items(parse("company: AT&amp;T", query, strict=True)) == [("company", "AT&T")]
    literal = Query(task="NER", text="Write AT&amp;T in HTML.", labels=["company"])
    assert items(parse("company: AT&amp;T", literal, strict=True)) == [("company", "AT&amp;T")]


ARABIC = "\u0643\u0650\u062a\u064e\u0627\u0628"  # with vowel marks
HEBREW = "\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd"


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f468 left", "\U0001f468", "\U0001f468@10"),
        ("\U0001f44d\U0001f3fd then \U0001f44d", "\U0001f44d", "\U0001f44d@8"),
        ("\U0001f1e6\U0001f1f9\U0001f1e9\U0001f1ea won", "\U0001f1f9\U0001f1e9", None),
        (f"{ARABIC} \u062c\u062f\u064a\u062f", "\u0643\u062a\u0627\u0628", f"{ARABIC}@0"),
        (f"{HEBREW} world", "\u05e9\u05dc\u05d5\u05dd", f"{HEBREW}@0"),
        ("\u0639\u0627\u0645 \u0661\u0669\u0669\u0666", "1996", "\u0661\u0669\u0669\u0666@4"),
        ("Jos\u00e9 left", "Jose", "Jos\u00e9@0"),
        ("Jose left", "Jos\u00e9", "Jose@0"),
        ("Jose\u0301 left", "Jose", "Jose\u0301@0"),
    ],
    ids=["family", "skin tone", "half of two flags", "Arabic", "Hebrew", "digits", "no accent", "accent", "decomposed"],
)  # fmt: skip
def test_scripts_and_graphemes(text, span, expected):
    query = Query(task="NER", text=text, labels=["x"])
    entities = [f"{entity.text}@{entity.start}" for entity in parse(f"x: {span}", query).entities]
    assert entities == ([expected] if expected else [])


def test_invented_spans_cost_the_real_ones_nothing():
    names = [f"Name{number} of Place{number}" for number in range(50)]
    text = " ".join(
        f"{name} said something about the weather of the {number}th day." * 20 for number, name in enumerate(names)
    )
    assert len(text) > 50_000
    query = Query(task="NER", text=text, labels=["person"])
    invented = "; ".join(f"person: Invented Xyz {number} Qwert" for number in range(300))
    extraction = parse(f"{invented}; " + "; ".join(f"person: {name}" for name in names), query)
    assert [entity.text for entity in extraction.entities] == names
    assert len(extraction.rejected) == 300


def test_all_mentions_of_a_span():
    assert starts(parse("person: Mira Holt", T, mentions="all")) == [(0,), (43,)]
    assert starts(parse("person: Mira Holt", T)) == [(0,)]
    two = parse("organisation: Corvex; organisation: Lindal", T, mentions="all")
    assert items(two) == [("organisation", "Corvex"), ("organisation", "Lindal")]
    with pytest.raises(ValueError, match="'first' or 'all'"):
        parse(LIN, T, mentions="some")


def test_a_truncated_answer_keeps_its_finished_items():
    assert items(parse("city: Graz; city: Gr", T, partial=True)) == [("city", "Graz")]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("person: Mira Holt; city: nowhere at all; ", "nowhere at all"),
        ("person: Mira Holt\ncity: nowhere at all\n", "nowhere at all"),
        ('{"type": "person", "text": "Mira Holt"}, {"type": "city", "text": "nowhere at all"}, ', "nowhere at all"),
        ("(Mira Holt, person)\n(nowhere at all, city)\n", "nowhere at all"),
    ],
)
def test_an_endless_repetition_costs_little(answer, found):
    """Repeats of a mention beyond those in the text are dropped; rejected repeats are all there, as one object."""
    extraction = parse(answer * 500, T)
    assert items(extraction) == [("person", "Mira Holt")] * 2
    assert starts(extraction) == [(0,), (43,)]
    assert [one.spans for one in extraction.rejected] == [(found,)] * 500
    assert len({id(one) for one in extraction.rejected}) == 1


def test_repeats_of_lines_are_read_by_what_precedes_them():
    answer = "Graz\n**City**\nGraz\nNone\nperson:\nMira Holt\nGraz\n"
    extraction = parse(answer, T)
    assert items(extraction) == [("city", "Graz"), ("person", "Mira Holt"), ("person", "Graz")]
    assert [(one.reason, one.answer) for one in extraction.rejected] == [("unreadable", "Graz")]


@pytest.mark.parametrize(
    "answer",
    [
        {"attack": {"attacker": "Rebels", "target": "the town"}},
        {"events": [{"event_type": "attack", "trigger": "attacked", "attacker": "Rebels", "target": ["the town"]}]},
        {"type": "attack", "trigger": {"text": "attacked", "start": 7}, "attacker": "Rebels", "target": "the town"},
    ],
)
def test_roles_are_keys_of_an_event(answer):
    assert items(parse(answer, EAE, strict=True)) == [("attacker", "Rebels"), ("target", "the town")]


@pytest.mark.parametrize("arguments", [{"attacker": "Rebels"}, {"arguments": [{"role": "attacker", "text": "Rebels"}]}])
def test_other_keys_of_an_event_are_rejected_with_their_text(arguments):
    answer = {"event_type": "attack", "trigger": "attacked", "start": 7, **arguments, "weapon": "guns", "place": None}
    extraction = parse(answer, EAE)
    assert items(extraction) == [("attacker", "Rebels")]
    assert [(one.reason, one.answer) for one in extraction.rejected] == [("unreadable", 'weapon: "guns"')]


def test_a_table_needs_no_outer_bars():
    assert items(parse("Type | Text\n--- | ---\nperson | Mira Holt\ncity | Graz", T, strict=True)) == BOTH


@pytest.mark.parametrize("key", ["arguments", "entities", "spans"])
def test_the_sides_of_a_relation_are_a_list(key):
    answer = {"relations": [{"type": "works for", key: ["Mira Holt", tail]} for tail in ("Corvex", "Lindal")]}
    assert items(parse(answer, R, strict=True)) == TWO_RELATIONS


ENTITY_FORMS = {
    "YAML": "entities:\n  - text: Mira Holt\n    type: person\n  - text: Graz\n    type: city",
    "YAML, label first, fenced": '```yaml\n- type: person\n  text: "Mira Holt"\n- type: city\n  text: "Graz"\n```',
    "bold records": "Found:\n\n1. **Name:** Mira Holt\n   **Type:** person\n\n2. **Name:** Graz\n   **Type:** city",
    "records in a line": "Entity: Mira Holt, Type: person\nEntity: Graz, Type: city",
    "records with other keys": "name: Mira Holt\nstart: 0\nnote: the subject\nlabel: person\n\nname: Graz\nlabel: city",
    "a record after lines": "person: Mira Holt\n- type: city\n  text: Graz",
    "tags in the text": "<person>Mira Holt</person> joined Corvex in <city>Graz</city> on Monday.",
    "tags with attributes": '<entity type="person">Mira Holt</entity>\n<entity type="city">Graz</entity>',
    "links": "[Mira Holt](person) joined Corvex in [Graz](city) on Monday.",
    "equations": "person = Mira Holt, city = Graz",
    "arrows": "Mira Holt -> person; Graz -> city",
    "colons": "Mira Holt: person, Graz: city",
}  # fmt: skip


@pytest.mark.parametrize("answer", ENTITY_FORMS.values(), ids=ENTITY_FORMS)
def test_entities_in_other_forms(answer):
    extraction = parse(answer, T, strict=True)
    assert items(extraction) == BOTH
    for end in range(len(answer)):
        assert items(parse(answer[:end], T, partial=True)) in ([], BOTH[:1], BOTH)


RELATION_FORMS = {
    "YAML": "".join(f"- head: Mira Holt\n  type: works for\n  tail: {to}\n" for to in ("Corvex", "Lindal")),
    "records": "\n\n".join(f"Subject: Mira Holt\nPredicate: works_for\nObject: {to}" for to in ("Corvex", "Lindal")),
    "arrows": "Mira Holt --works for--> Corvex\nMira Holt --works for--> Lindal",
    "short arrows": "- Mira Holt -works for-> Corvex; Mira Holt -works for-> Lindal",
    "Cypher": "(Mira Holt)-[:WORKS_FOR]->(Corvex)\n(Mira Holt)-[:WORKS_FOR]->(Lindal)",
}  # fmt: skip


@pytest.mark.parametrize("answer", RELATION_FORMS.values(), ids=RELATION_FORMS)
def test_relations_in_other_forms(answer):
    assert items(parse(answer, R, strict=True)) == TWO_RELATIONS


def test_arguments_in_records():
    answer = "role: attacker\nargument: Rebels\n\nrole: target\nargument: the town"
    assert items(parse(answer, EAE, strict=True)) == [("attacker", "Rebels"), ("target", "the town")]


def test_records_without_a_label_or_a_span_of_the_input_are_rejected():
    answer = (
        "- text: Mira Holt\n  type: person\n- text: Oslo\n  type: city\n- text: Graz\n  type: planet\n- text: Corvex"
    )
    extraction = parse(answer, T)
    assert items(extraction) == BOTH[:1]
    assert [part.reason for part in extraction.rejected] == ["ungrounded", "unknown label", "unreadable"]
    assert ["Oslo" in part.answer for part in extraction.rejected] == [True, False, False]


def test_labels_of_the_schema_are_no_keys_of_records():
    query = Query(task="NER", text="Ada likes the type Garamond.", labels=["name", "type"])
    assert items(parse("name: Ada\ntype: Garamond", query, strict=True)) == [("name", "Ada"), ("type", "Garamond")]


def test_spans_that_begin_anywhere_before_a_bracket_are_not_guessed():
    answer = "Mira Holt [person] joined Corvex [organisation] in Graz [city] on Monday."
    extraction = parse(answer, T)
    assert items(extraction) == []
    assert [part.reason for part in extraction.rejected] == ["unreadable"]
    assert items(parse("Mira Holt (person), Graz [city]", T, strict=True)) == BOTH


@pytest.mark.parametrize("threshold", [0.9, -5, 1, 101])
def test_a_threshold_that_is_not_of_100_is_refused(threshold):
    """At 0.9 of 100 every made-up span was "similar" to some part of the text."""
    with pytest.raises(ValueError, match="a similarity of 100, such as 90, or None"):
        parse(LIN, T, fuzzy_threshold=threshold)
