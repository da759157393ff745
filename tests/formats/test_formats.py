import json

import pytest

from ruie_components import Example, RowError
from ruie_components.formats import Import, LabelMapping, export, formats, guess_format
from ruie_components.formats.base import Document
from ruie_components.formats.tags import tags_of_document

TEXT = "Ada Lee met Bob in São Paulo 😀. Bob left Rome"


def span(text, at=0, source=TEXT):
    start = source.index(text, at)
    return {"text": text, "start": start, "end": start + len(text)}


ENTITIES = Example(
    id="a-1",
    task="NER",
    text=TEXT,
    labels=["city", "person"],
    entities=[
        {**span("Ada Lee"), "type": "person"},
        {**span("Bob"), "type": "person"},
        {**span("São Paulo"), "type": "city"},
        {**span("Rome"), "type": "city"},
    ],
    metadata={"source": "diary"},
)
RELATIONS = Example(
    id="a-1",
    task="RE",
    text=TEXT,
    labels=["left", "works for"],
    relations=[
        {"type": "works for", "head": span("Ada Lee"), "tail": span("Bob")},
        {"type": "left", "head": span("Bob"), "tail": span("Rome")},
    ],
    metadata={"source": "diary"},
)
MEETING = {"type": "meet up", "trigger": span("met")}
LEAVING = {"type": "leave", "trigger": span("left")}
EVENTS = Example(id="a-1", task="ED", text=TEXT, labels=["leave", "meet up"], events=[MEETING, LEAVING])
ARGUMENTS = Example(
    id="a-1#E1",
    task="EAE",
    text=TEXT,
    labels=["agent", "old place"],
    events=[{**MEETING, "arguments": [{**span("Ada Lee"), "role": "agent"}, {**span("Rome"), "role": "old place"}]}],
)
NOTHING = Example(id="a-2", task="NER", text="Nothing here.", labels=["city", "person"])
PLAIN = [ENTITIES, NOTHING]
ALL = [ENTITIES, RELATIONS, EVENTS, ARGUMENTS, NOTHING]


def without(examples, *names):
    empty = {"metadata": {}, "id": None}
    return [example.model_copy(update={name: empty[name] for name in names}) for example in examples]


@pytest.mark.parametrize(
    ("name", "path", "examples", "lost"),
    [
        ("jsonl", "a.jsonl", ALL, ()),
        ("brat", "folder", ALL[:-1], ("metadata",)),
        ("brat", "folder", PLAIN, ("metadata",)),
        ("ie-instructions", "NER/set/a.json", PLAIN, ()),
        ("ie-instructions", "a.json", [ENTITIES, RELATIONS], ()),
        ("ie-instructions", "a.json", [EVENTS, ARGUMENTS], ()),
        ("label-studio", "a.json", [ENTITIES, RELATIONS], ()),
        ("label-studio", "a.json", PLAIN, ()),
        ("label-studio", "a.json", [RELATIONS], ()),
        ("doccano", "a.jsonl", PLAIN, ()),
        ("doccano", "a.jsonl", [ENTITIES, RELATIONS], ()),
        ("prodigy", "a.jsonl", [ENTITIES, RELATIONS, NOTHING], ()),
        ("prodigy", "a.jsonl", [RELATIONS], ()),
        ("docbin", "a.spacy", PLAIN, ()),
        ("langextract", "a.jsonl", without(PLAIN, "metadata"), ()),
        ("gliner", "a.json", PLAIN, ("metadata",)),
        ("gliner", "a.jsonl", [ENTITIES, RELATIONS], ("metadata",)),
        ("conll", "a.conll", PLAIN, ("id", "metadata")),
        ("huggingface", "a.jsonl", PLAIN, ("metadata",)),
        ("huggingface", "a.parquet", PLAIN, ("metadata",)),
        ("huggingface", "saved", PLAIN, ("metadata",)),
    ],
)
def test_what_is_written_is_recognized_and_read_back(tmp_path, name, path, examples, lost):
    pytest.importorskip("spacy") if name == "docbin" else None
    pytest.importorskip("datasets") if path in ("a.parquet", "saved") else None
    notes = export(tmp_path / path, examples, name)
    assert guess_format(tmp_path / path).name == name
    files = Import([tmp_path / path], strict=True)
    assert sorted(files, key=repr) == sorted(without(examples, *lost), key=repr)
    assert bool(notes) == bool(lost), notes


@pytest.mark.parametrize(
    "name", ["conll", "docbin", "gliner", "huggingface", "langextract", "label-studio", "doccano", "prodigy"]
)
def test_what_a_format_cant_hold_is_named(tmp_path, name):
    pytest.importorskip("spacy") if name == "docbin" else None
    notes = export(tmp_path / "a.jsonl", ALL, name)
    assert any("events" in note for note in notes)


@pytest.mark.parametrize(
    ("content", "entities"),
    [
        ("Ada\tI-person\nLee\tI-person\nBob\tB-person\n", ["Ada Lee", "Bob"]),
        ("Ada NNP B-person\nLee NNP I-person\nBob NNP O\n", ["Ada Lee"]),
        ("-DOCSTART- -X- O\n\nAda B-person\nLee E-person\nBob S-person\n", ["Ada Lee", "Bob"]),
        ("# id = 1\nAda\tB-person\r\nLee\tL-person\r\nBob\tU-person\r\n\r\n", ["Ada Lee", "Bob"]),
        ("Ada\tB-person\nLee\tI-city\n", ["Ada", "Lee"]),
        ("Ada\tB-full name\nLee\tI-full name\nmet\tO\n", ["Ada Lee"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_schemes_of_tags(tmp_path, content, entities, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(content.encode(encoding))
    (example,) = Import([path], strict=True)
    assert [entity.text for entity in example.entities] == entities


def test_chinese_tokens_are_joined_without_spaces(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("在\tO\n北\tB-city\n京\tI-city\n住\tO\nok\tO\n", "utf-8")
    (example,) = Import([path])
    assert (example.text, example.entities[0].text) == ("在北京住 ok", "北京")


def write_brat(folder, annotations, text=TEXT):
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text(text, "utf-8")
    (folder / "a.ann").write_text(annotations, "utf-8")
    return folder


def test_brat_pieces_nested_events_and_numbered_roles(tmp_path):
    folder = write_brat(
        tmp_path / "b",
        "T1\tperson 0 3;8 11\tAda met\nT2\tperson 12 15\tBob\nT3\tmeet 8 11\tmet\nT4\tleave 36 40\tleft\n"
        "E1\tmeet:T3 Agent:T1 Agent2:T2\nE2\tleave:T4 Cause:E1\nR1\tknows Arg1:T1 Arg2:T2\n"
        "*\tEquiv T1 T2\nA1\tNegation E1\n#1\tAnnotatorNotes T1\twell\n",
    )
    files = Import([folder], strict=True)
    ner, re_, ed, first, second = files
    assert [entity.text for entity in ner.entities] == ["Ada Lee met", "Bob"]
    assert re_.relations[0].head.text == "Ada Lee met"
    assert [event.trigger.text for event in ed.events] == ["met", "left"]
    assert [(a.role, a.text) for a in first.events[0].arguments] == [("Agent", "Ada Lee met"), ("Agent", "Bob")]
    assert [(a.role, a.text) for a in second.events[0].arguments] == [("Cause", "met")]
    assert (first.id, second.id) == ("a#E1", "a#E2")
    assert len(files.report.notes) == 5


def test_brat_pieces_in_any_order(tmp_path):
    folder = write_brat(tmp_path / "b", "T1\torgan 15 19;0 4\tlung left\n", "left and right lung")
    (example,) = Import([folder], strict=True)
    assert [entity.text for entity in example.entities] == ["left and right lung"]


def test_one_mention_may_have_several_langextract_classes(tmp_path):
    path = tmp_path / "a.json"
    classes = [{"extraction_class": each, "extraction_text": "Ada"} for each in ("person", "author")]
    path.write_text(json.dumps([{"text": "Ada wrote.", "extractions": classes}]))
    (example,) = Import([path], strict=True)
    assert [(entity.type, entity.offsets) for entity in example.entities] == [("person", (0, 3)), ("author", (0, 3))]


def test_tags_of_entities_that_cut_words_touch_or_overlap():
    document = Document("", "Ada-Lee met Bob Ray. Cy")
    for kind, start, end in [("a", 0, 3), ("b", 3, 7), ("c", 12, 19), ("d", 16, 19), ("e", 19, 20), ("f", 21, 23)]:
        document.add_entity(kind, start, end)
    tokens, tags, lost = tags_of_document(document)
    assert [document.text[start:end] for start, end in tokens] == ["Ada", "-Lee", "met", "Bob", "Ray", ".", "Cy"]
    assert tags == ["B-a", "B-b", "O", "B-c", "I-c", "B-e", "B-f"]
    assert lost == 1


def test_a_brat_project_gives_its_labels(tmp_path):
    folder = write_brat(tmp_path / "b", "T1\tPerson 0 7\tAda Lee\n")
    (folder / "annotation.conf").write_text(
        "[entities]\n!Living\n\tPerson\n\tAnimal # dogs\n[relations]\nknows\tArg1:Person, Arg2:Person\n[events]\n"
        "Meet\tAgent{2}:Person, Place?:<ANY>\n[attributes]\n", "utf-8"
    )  # fmt: skip
    ner, relations, events = Import([folder])
    assert (ner.labels, relations.labels, events.labels) == (("Animal", "Person"), ("knows",), ("Meet",))


def test_label_studio_with_utf16_offsets_cancelled_and_several_annotations(tmp_path):
    start = len(TEXT[: TEXT.rindex("Bob")].encode("utf-16-le")) // 2

    def region(first, last, text):
        return {"id": "x", "type": "labels", "value": {"start": first, "end": last, "text": text, "labels": ["P", "Q"]}}

    done = {"was_cancelled": False, "result": [region(start, start + 3, "Bob")]}
    rows = [
        {"id": 1, "data": {"text": TEXT}, "annotations": [{"was_cancelled": True, "result": []}, done, done]},
        {"id": 2, "data": {"text": TEXT}, "annotations": []},
        {"id": 3, "data": {"text": TEXT}, "annotations": [{"result": [region(0, 3, "Bob")]}]},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, indent=1), "utf-8")
    files = Import([path])
    (example,) = files
    assert [(e.start, e.type) for e in example.entities] == [(TEXT.rindex("Bob"), "P"), (TEXT.rindex("Bob"), "Q")]
    assert example.id == 1
    assert files.report.notes == {
        "tasks without an annotation, or with a cancelled one, are left out": 1,
        "of several annotations of a task the first was read": 1,
        "offsets in UTF-16 units were converted": 1,
    }
    problem = files.report.problems[0]
    assert "annotations[0].result[0].value: found 'Ada' at 0:3, but the region's text is 'Bob'" in problem


def test_prodigy_keeps_accepted_texts_and_relations_between_tokens(tmp_path):
    tokens = [{"text": "Ada", "start": 0, "end": 3}, {"text": "met", "start": 4, "end": 7}, {"start": 8, "end": 11}]
    row = {"text": "Ada met Bob", "spans": [{"start": 0, "end": 3, "label": "P"}], "_input_hash": 1, "tokens": tokens}
    row |= {"relations": [{"head": 0, "child": 2, "label": "knows"}], "meta": {"page": 3}, "answer": "accept"}
    path = tmp_path / "a.jsonl"
    path.write_text(
        "\n".join(json.dumps(row | {"answer": answer}) for answer in ("accept", "reject", "ignore")), "utf-8"
    )
    entities, relations = Import([path])
    assert (relations.relations[0].head.text, relations.relations[0].tail.text) == ("Ada", "Bob")
    assert entities.metadata == {"page": 3}


def test_positions_of_ie_instructions_are_not_trusted(tmp_path):
    row = {"sentence": "Bob saw Bob.", "entities": [{"name": "Bob", "type": "p", "pos": [9, 12]}] * 2}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row, {"sentence": "Bob.", "entities": [{"name": "Eva", "type": "p"}]}]), "utf-8")
    files = Import([path])
    (example,) = files
    assert [entity.start for entity in example.entities] == [8, 0]
    assert files.report.problems == [f"{path}, line 1, item 2: entities[0]: 'Eva' is not in the sentence"]


def test_a_mapping_renames_drops_and_says_what_it_did_not_meet(tmp_path):
    export(tmp_path / "a.conll", PLAIN, "conll")
    mapping = LabelMapping(rename={"person": "PER", "persn": "x"}, drop=["city"])
    files = Import([tmp_path / "a.conll"], mapping=mapping)
    first, second = files
    assert (first.labels, {entity.type for entity in first.entities}) == (("PER",), {"PER"})
    assert second.labels == ("PER",)
    assert files.report.notes == {"labels of the mapping that occur in no file: persn": 1}
    export(tmp_path / "a.jsonl", ALL, "jsonl")
    renamed = list(
        Import([tmp_path / "a.jsonl"], mapping=LabelMapping(rename={"agent": "who", "leave": "go"}, drop=["city"]))
    )
    assert [example.labels for example in renamed] == [
        ("person",), ("left", "works for"), ("go", "meet up"), ("who", "old place"), ("person",)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.toml", "rename = 3", "rename: Input should be a valid dictionary"),
        ("m.toml", "[renam]\na = 'b'", "renam: unknown key"),
        ("m.toml", "rename", "can't be read"),
        ("m.json", '{"rename": {"a": ""}}', "rename.a: a label is empty"),
    ],
)
def test_a_wrong_mapping_says_why(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    with pytest.raises(RowError, match=message):
        LabelMapping.read(path)


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.conll", "Ada\tB-p\n\nBob\tX\nmet\tO\n\nEva\tS-p\n" + "a\tO\n" * 20, "line 3: tag: 'X' is neither O"),
        ("a.conll", "Ada\tB-p\n\nBob\n\nEva\tS-p\n" + "a\tO\n" * 20, "line 3: tag: expected a token and its tag"),
        ("a.jsonl", '{"text":"Ada","label":[[0,3,"p"]]}\n{"text":"Ada","label":[[0,9,"p"]]}\n{"text":"E","label":[]}',
         "line 2: label[0]: the span 0:9 is empty or outside the text"),
        ("a.jsonl", '{"text":"Ada","label":[[0,3,"p"]]}\n{"text":\n{"text":"E","label":[]}', "line 2: not JSON"),
        ("a.jsonl", '{"text":"A","spans":[]}\n{"text":"A","spans":[{"start":"0","end":1}]}\n{"text":"E","spans":[]}',
         "line 2: spans[0]: expected integers as offsets, got '0'"),
        ("a.json", '[{"tokens":["A"],"tags":["B-p"]},\n{"tokens":["A"],"tags":[]},\n{"tokens":["E"],"tags":["O"]}]',
         "line 2: tags: 0 tags for 1 token"),
        ("a.json", '[{"text":"A","extractions":[]},\n{"text":"A","extractions":[{"extraction_class":"p"}]},\n'
         '{"text":"E","extractions":[]}]', "line 2: extractions[0].extraction_text: expected a text, got nothing"),
        ("a.json", '[{"sentence":"A","relations":[]},\n{"sentence":"A","relations":[{"type":"r","head":{"name":"A"}}'
         ']},\n{"sentence":"E","relations":[]}]', "line 2: relations[0].tail: expected an object, got nothing"),
        ("a.json", '[{"data":{"text":"A"},"annotations":[{"result":[]}]},\n{"data":{},"annotations":[{"result":[]}]},\n'
         '{"data":{"text":"E"},"annotations":[{"result":[]}]}]', "line 2: data.text: expected a text"),
    ],
)  # fmt: skip
def test_a_row_with_a_problem_is_skipped_counted_and_named_or_stops(tmp_path, name, content, where):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    files = Import([path], mapping=None)
    assert not {example.text for example in files} - {"Ada", "A", "E", "Eva", "Eva " + "a " * 19 + "a"}
    assert (files.report.skipped, files.report.rows) == (1, 2)
    assert files.report.problems[0].startswith(f"{path}, {where}")
    with pytest.raises(RowError, match="line"):
        list(Import([path], strict=True))


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("T1\tperson 0 3\tBob\n", "a.ann, line 1: text: found 'Ada' at 0 3, but the annotation says 'Bob'"),
        ("T1\tperson 0 99\tAda\n", "line 1: offsets: 0 99 is empty or outside"),
        ("T1\tperson x 3\tAda\n", "line 1: offsets: expected numbers"),
        ("\nR1\tknows Arg1:T1 Arg2:T2\n", "line 2: there is no annotation 'T1'"),
        ("E1\tmeet:T1\n", "line 1: there is no annotation 'T1'"),
        ("Hello\n", "line 1: expected an id, a tab"),
        ("Z1\tx\n", "line 1: unknown kind of annotation 'Z'"),
    ],
)
def test_a_wrong_standoff_line_is_named(tmp_path, annotations, message):
    files = Import([write_brat(tmp_path / "b", annotations)])
    assert list(files) == []
    assert message in files.report.problems[0]


def test_an_unknown_file_is_named_with_what_it_holds(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"sentence": "Ada", "ents": 3}]', "utf-8")
    with pytest.raises(RowError, match=r"not recognized\. Its rows have the keys ents, sentence. Name it"):
        Import([path])
    with pytest.raises(RowError, match="no such file"):
        Import([tmp_path / "b.json"])
    with pytest.raises(ValueError, match="no format 'xml'; formats are brat, conll"):
        Import([path], format="xml")


def test_a_format_of_someone_else_is_added_by_an_entry_point(monkeypatch, tmp_path):
    from importlib.metadata import EntryPoint

    from ruie_components.formats import registry

    entry = EntryPoint(name="mine", value="ruie_components.formats.conll:ConllFormat", group="ruie.formats")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    formats.cache_clear()
    try:
        assert next(iter(formats())) == "mine"
        assert export(tmp_path / "a", without(PLAIN, "id", "metadata"), "mine") == {}
    finally:
        formats.cache_clear()


def test_an_export_to_brat_removes_the_texts_of_the_export_before_and_nothing_else(tmp_path):
    folder = tmp_path / "brat"
    rows = [Example(id=f"t{i}", task="NER", text=f"Ada met {i}.", labels=["person"]) for i in range(3)]
    export(folder, rows, "brat")
    (tmp_path / "outside.txt").write_text("Ada.", "utf-8")
    with (folder / ".ruie-export").open("a", encoding="utf-8") as file:
        file.write("../outside\n")
    for ending, content in ((".txt", "Bob."), (".ann", "")):
        (folder / f"own{ending}").write_text(content, "utf-8")
    (folder / "notes.md").write_text("Ask Eva.", "utf-8")
    others = "other texts in the folder stay there, and are read back too"
    assert export(folder, rows[1:2], "brat")[others] == 1
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "annotation.conf", "notes.md", "own.ann", "own.txt", "t1.ann", "t1.txt", "visual.conf",
    ]  # fmt: skip
    assert (tmp_path / "outside.txt").exists()
    (folder / "own.txt").unlink()
    (folder / "own.ann").unlink()
    assert [row.id for row in Import([folder], tasks=["NER"])] == ["t1"]
    assert others not in export(folder, rows[1:2], "brat")
