"""Files that have rows of the same id: the later file corrects the earlier one."""

import json

import pytest

from ruie_components.formats import Import

TEXT = "Ada met Bob in Rome"


def row(own_id, kind="person", text=TEXT, labels=("person", "city"), **more):
    spans = [{"text": "Ada", "type": kind, "start": 0, "end": 3}]
    return {"id": own_id, "task": "NER", "text": text, "schema": list(labels), "entities": spans, **more}


def write(path, *rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    first = write(tmp_path / "a.jsonl", row("1"), row("2"), row("3"), row(None))
    second = write(
        tmp_path / "b.jsonl",
        row("1", "city"),
        row("2", text=TEXT + "."),  # another text: ids of two data sets are often numbers
        row("3", "robot", labels=["robot"]),  # another schema: another layer of annotations
        row(3, "city"),  # the id 3 is not the id "3"
        row(None, "city"),
    )
    return first, second


def test_the_later_of_two_rows_with_the_same_id_and_text_counts(files):
    first, second = files
    source = Import(files, strict=True)
    for _ in range(2):  # every iteration gives the same
        kept = [(example.id, example.entities[0].type) for example in source]
        assert kept == [
            ("2", "person"), ("3", "person"), (None, "person"),
            ("1", "city"), ("2", "person"), ("3", "robot"), (3, "city"), (None, "city"),
        ]  # fmt: skip
        note = f"rows of {first} are replaced by those of {second} with the same id and text"
        assert source.report.notes == {note: 1}
        assert (source.report.rows, source.report.examples) == (9, {"NER": 8})
    assert [(example.id, example.entities[0].type) for example in Import(files[::-1])][-4:-2] == [
        ("1", "person"), ("2", "person"),
    ]  # fmt: skip


def test_the_last_of_three_files_counts_and_rows_of_one_file_are_kept(tmp_path):
    paths = [
        write(tmp_path / f"{name}.jsonl", row("1", kind), row("1", kind, language=name))
        for name, kind in (("a", "person"), ("b", "city"), ("c", "person"))
    ]
    assert [example.language for example in Import(paths)] == [None, "c"]


def test_a_row_that_cannot_be_read_replaces_nothing(tmp_path):
    first, second = write(tmp_path / "a.jsonl", row("1")), write(tmp_path / "b.jsonl", row("1", "robot"), row("2"))
    source = Import([first, second])
    assert [example.id for example in source] == ["1", "2"]
    assert (source.report.skipped, len(source.report.problems)) == (1, 1)


def test_other_tools_correct_by_id_task_and_event(tmp_path):
    doccano = write(tmp_path / "a.jsonl", {"id": 7, "text": TEXT, "label": [[0, 3, "person"], [15, 19, "person"]]})
    fixed = write(tmp_path / "b.jsonl", {"id": 7, "text": TEXT, "label": [[0, 3, "person"], [15, 19, "city"]]})
    (example,) = Import([doccano, fixed], strict=True)
    assert [entity.type for entity in example.entities] == ["person", "city"]

    def event(trigger, start, role):
        argument = {"text": "Ada", "start": 0, "end": 3, "role": role}
        span = {"text": trigger, "start": start, "end": start + len(trigger)}
        annotated = {"type": "meet", "trigger": span, "arguments": [argument]}
        return {"id": "1", "task": "EAE", "text": TEXT, "schema": ["who", "whom"], "events": [annotated]}

    first = write(tmp_path / "c.jsonl", event("met", 4, "who"), event("in", 12, "who"))
    second = write(tmp_path / "d.jsonl", event("met", 4, "whom"))
    kept = [(one.events[0].trigger.text, one.events[0].arguments[0].role) for one in Import([first, second])]
    assert kept == [("in", "who"), ("met", "whom")]
