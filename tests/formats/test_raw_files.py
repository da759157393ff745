"""Real files as people have them: every one imports with the counts that a person reads off it."""

import json
import re
from collections import Counter

import pytest

from ruie_components import Task
from ruie_components.formats import Import, export


@pytest.fixture(scope="module")
def raw(data_folder):
    if not (data_folder / "raw").is_dir():
        pytest.skip("no raw files in the data folder")
    return data_folder / "raw"


def imported(path, **options):
    files = Import([path], **options)
    examples = list(files)
    return examples, files.report


def test_conll(raw):
    path = raw / "conll" / "crossner_ai_dev.txt"
    lines = path.read_text("utf-8").splitlines()
    examples, report = imported(path)
    assert report.formats == {str(path): "conll"}
    assert (report.rows, report.skipped) == (350, 0)
    assert len(examples) == sum(not line for line in lines)
    types = Counter(entity.type for example in examples for entity in example.entities)
    assert types == Counter(line.partition("\tB-")[2] for line in lines if "\tB-" in line)
    assert (types.total(), len(types)) == (1549, 14)
    assert [example.text.split() for example in examples] == [
        [line.split("\t")[0] for line in block.split("\n")] for block in "\n".join(lines).strip().split("\n\n")
    ]


def test_sentences_of_gliner(raw, tmp_path):
    examples, _ = imported(raw / "conll" / "crossner_ai_dev.txt")
    export(tmp_path / "a.json", examples, "gliner")
    rows = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert sum(len(row["ner"]) for row in rows) == 1549
    again, report = imported(tmp_path / "a.json", strict=True)
    assert set(report.formats.values()) == {"gliner"}
    assert again == examples


def test_doccano_sequence_labelling(raw):
    path = raw / "doccano" / "sequence_labeling.jsonl"
    examples, report = imported(path)
    assert report.formats == {str(path): "doccano"}
    assert [(example.text, [(e.text, e.type) for e in example.entities]) for example in examples] == [
        ("exampleA", [("e", "LOC")]),
        ("exampleB", []),
    ]
    assert [example.metadata for example in examples] == [{"wikiPageID": 1}, {"wikiPageID": 2}]
    assert report.problems == [f"{path}, line 3: text: expected a text, got nothing"]


def test_doccano_relations(raw):
    entities, relations = imported(raw / "doccano" / "relation_extraction.jsonl")[0]
    assert [(e.text, e.type) for e in entities.entities] == [
        ("Google", "ORG"),
        ("September 4, 1998", "DATE"),
        ("Larry Page", "PERSON"),
        ("Sergey Brin", "PERSON"),
    ]
    assert [(r.head.text, r.type, r.tail.text) for r in relations.relations] == [
        ("Google", "foundedAt", "September 4, 1998"),
        ("Google", "foundedBy", "Larry Page"),
        ("Google", "foundedBy", "Sergey Brin"),
    ]


@pytest.mark.parametrize(
    ("name", "field", "task", "rows", "items", "labels"),
    [
        ("NER/ncbi/dev.json", "entities", Task.NER, 923, 785, 1),
        ("RE/conll04/dev.json", "relations", Task.RE, 231, 343, 5),
        ("RE/conll04/test.json", "relations", Task.RE, 288, 422, 5),
    ],
)
def test_ie_instructions(raw, name, field, task, rows, items, labels):
    path = raw / "ie_instructions" / name
    source = json.loads(path.read_text("utf-8"))
    examples, report = imported(path, strict=True)
    assert report.formats == {str(path): "ie-instructions"}
    assert len(examples) == len(source) == rows
    assert {example.task for example in examples} == {task}
    assert {len(example.labels) for example in examples} == {labels}
    assert sum(len(getattr(example, field)) for example in examples) == items == sum(len(row[field]) for row in source)
    for example, row in zip(examples, source, strict=True):
        if task is Task.NER:
            assert [(e.text, e.type) for e in example.entities] == [(e["name"], e["type"]) for e in row["entities"]]
        else:
            assert [(r.head.text, r.type, r.tail.text) for r in example.relations] == [
                (r["head"]["name"], r["type"], r["tail"]["name"]) for r in row["relations"]
            ]


def test_brat(raw):
    folder = raw / "brat"
    examples, report = imported(folder)
    by_task = {task: [example for example in examples if example.task is task] for task in Task}
    assert (report.rows, report.skipped) == (len(list(folder.glob("*.txt"))), 0) == (12, 0)
    lines = [line for file in sorted(folder.glob("*.a[12]")) for line in file.read_text("utf-8").splitlines()]
    events = [line.split("\t")[1].split() for line in lines if line[0] == "E"]
    spans = sum(line[0] == "T" for line in lines)
    assert (spans, len(events)) == (872, 412)
    triggers = sum(len(example.events) for example in by_task[Task.ED])
    assert triggers == 360
    assert sum(len(example.entities) for example in by_task[Task.NER]) == spans - triggers
    with_roles = {re.split(":", event[0])[0] for event in events if len(event) > 1}
    assert len(by_task[Task.EAE]) == sum(event[0].split(":")[0] in with_roles for event in events)
    arguments = Counter(a.role for example in by_task[Task.EAE] for a in example.events[0].arguments)
    assert arguments == Counter(part.split(":")[0].rstrip("0123456789") for event in events for part in event[1:])
    assert report.notes["equivalences (*) are left out"] == sum(line[0] == "*" for line in lines)
    assert not by_task[Task.RE]


def test_the_files_of_a_brat_text_are_read_once(raw):
    files = Import(sorted((raw / "brat").iterdir()))
    assert len(files.report.formats) == 12
    assert sum(example.task is Task.NER for example in files) == 12
