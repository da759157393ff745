"""Annotations in and out on the command line, and round the loop: extract, correct elsewhere, import, sync."""

import csv
import json
from xml.etree import ElementTree as ET

import pytest

from ruie_components import DemonstrationStore, Example
from ruie_components.formats import Import, export, formats, read_examples, write_examples

TEXTS = ["Ada met Bob in Rome.", "Bob flew to Oslo.", "Nothing happened."]


def entity(text, mention, kind):
    return {"text": mention, "type": kind, "start": text.index(mention), "end": text.index(mention) + len(mention)}


LABELS = ["city", "person"]
MENTIONS = [[("Ada", "person"), ("Bob", "person"), ("Rome", "city")], [("Bob", "person"), ("Oslo", "city")], []]
EXAMPLES = [
    Example(id=f"t{n}", task="NER", text=text, labels=LABELS, entities=[entity(text, *each) for each in mentions])
    for n, (text, mentions) in enumerate(zip(TEXTS, MENTIONS, strict=True))
]
SIDES = {"head": {"text": "Ada", "start": 0, "end": 3}, "tail": {"text": "Bob", "start": 8, "end": 11}}
MET = Example(id="t0", task="RE", text=TEXTS[0], labels=["met"], relations=[{"type": "met", **SIDES}])
FLEW = {"type": "flight", "trigger": {"text": "flew", "start": 4, "end": 8}}
GOAL = {"text": "Oslo", "role": "goal", "start": 12, "end": 16}
EVENT = Example(id="t1", task="EAE", text=TEXTS[1], labels=["goal"], events=[{**FLEW, "arguments": [GOAL]}])


def test_import_writes_rows_and_reports_problems(ruie, tmp_path):
    export(tmp_path / "a.conll", EXAMPLES, "conll")
    with (tmp_path / "a.conll").open("a") as file:
        file.write("Eva\tX\n")
    (tmp_path / "labels.toml").write_text('drop = ["city"]\n[rename]\nperson = "PER"\n', "utf-8")
    status, out, err = ruie("import", "a.conll", "--to", "new/rows.jsonl", "--mapping", "labels.toml")
    assert (status, out) == (0, "3 texts give 3 NER examples, in new/rows.jsonl. 1 row skipped.\n"), err
    assert "a.conll: conll" in err
    assert "a.conll, line 17: tag: 'X' is neither O nor" in err
    rows = list(read_examples(tmp_path / "new" / "rows.jsonl"))
    assert [[each.text for each in row.entities] for row in rows] == [["Ada", "Bob"], ["Bob"], []]
    status, out, err = ruie("import", "a.conll", "--to", "b.jsonl", "--json")
    report = json.loads(out)
    assert (report["rows"], report["examples"], report["skipped"], report["written"]) == (3, {"NER": 3}, 1, 3)
    assert report["labels"] == {"NER": ["city", "person"]}
    status, _, err = ruie("import", "a.conll", "--to", "c.jsonl", "--strict")
    assert (status, "line 17" in err, (tmp_path / "c.jsonl").exists()) == (1, True, False)


def test_import_replaces_a_file_only_when_told_and_never_by_nothing(ruie, tmp_path):
    write_examples(tmp_path / "rows.jsonl", EXAMPLES)
    write_examples(tmp_path / "met.jsonl", [MET])
    status, _, err = ruie("import", "rows.jsonl", "--to", "../" + tmp_path.name + "/rows.jsonl", "--overwrite")
    assert (status, "rows.jsonl is one of the files to import" in " ".join(err.split())) == (2, True), err
    status, _, err = ruie("import", "met.jsonl", "--to", "rows.jsonl")
    assert (status, "rows.jsonl exists" in err, "--overwrite" in err) == (1, True, True), err
    status, out, err = ruie("import", "met.jsonl", "--to", "rows.jsonl", "-t", "NER", "--overwrite")
    assert (status, out, "no example was imported" in err) == (1, "1 text gives no examples.\n", True), err
    assert list(read_examples(tmp_path / "rows.jsonl")) == EXAMPLES
    assert ruie("import", "met.jsonl", "--store", "s", "-t", "NER")[0] == 1
    assert not (tmp_path / "s").exists()
    status, out, err = ruie("import", "met.jsonl", "--to", "rows.jsonl", "--overwrite")
    assert (status, out) == (0, "1 text gives 1 RE example, in rows.jsonl.\n"), err
    assert list(read_examples(tmp_path / "rows.jsonl")) == [MET]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["import", "a.txt"], 2, "either --to FILE or --store STORE"),
        (["import", "a.txt", "--to", "b.jsonl"], 1, "its format is not recognized. Texts without annotations are for"),
        (["import", "a.txt", "--to", "b.jsonl", "--format", "xml"], 2, "there is no format 'xml'"),
        (["import", "a.txt", "--to", "b.jsonl", "--format", "conll"], 1, "no example was imported"),
        (["import", "l.txt", "--to", "b.jsonl", "--format", "conll"], 1, "not UTF-8"),
        (["export", "a.jsonl", "--to", "b.xml"], 2, "the name b.xml does not say which format to write: name one of"),
        (["export", "a.jsonl", "--to", "b.xml", "--format", "xml"], 2, "there is no format 'xml'; formats are"),
        (["export", "--to", "b.csv"], 2, "either a file or --store"),
        (["export", "a.jsonl", "--to", "a.txt", "--format", "csv"], 1, "a.txt exists"),
        (["export", "a.jsonl", "--to", "b.csv", "--task", "RE"], 1, "no examples"),
    ],
)
def test_wrong_use(ruie, tmp_path, arguments, status, message):
    (tmp_path / "a.txt").write_text("Hello\n", "utf-8")
    (tmp_path / "l.txt").write_bytes("Zürich\tO\n".encode("latin-1"))
    write_examples(tmp_path / "a.jsonl", EXAMPLES)
    code, _, err = ruie(*arguments)
    assert (code, message in " ".join(err.split())) == (status, True), err


@pytest.mark.parametrize(("command", "more"), [("import", ()), ("export", ("csv", "graphml"))])
def test_help_and_errors_list_the_formats_in_one_order(ruie, tmp_path, command, more):
    names = ", ".join(sorted([*formats(), *more]))
    assert f"The format: {names}. Default" in " ".join(ruie(command, "--help")[1].replace("│", " ").split())
    write_examples(tmp_path / "a.jsonl", EXAMPLES)
    _, _, err = ruie(command, "a.jsonl", "--to", "b", "--format", "xml")
    assert f"there is no format 'xml'; formats are {names}" in " ".join(err.replace("│", " ").split())


def test_another_encoding_is_named(ruie, tmp_path):
    (tmp_path / "l.txt").write_bytes("Zürich\tS-city\n".encode("latin-1"))
    assert ruie("import", "l.txt", "--to", "b.jsonl", "--encoding", "latin-1")[0] == 0
    assert [row.text for row in read_examples(tmp_path / "b.jsonl")] == ["Zürich"]


def test_the_format_of_a_compressed_file_is_known(ruie, tmp_path):
    write_examples(tmp_path / "a.jsonl", EXAMPLES)
    status, out, err = ruie("export", "a.jsonl", "--to", "b.jsonl.gz")
    assert (status, out) == (0, "3 examples in b.jsonl.gz (jsonl).\n"), err
    assert list(read_examples(tmp_path / "b.jsonl.gz")) == EXAMPLES


def test_a_table_and_a_graph(ruie, tmp_path):
    write_examples(tmp_path / "a.jsonl", [*EXAMPLES, MET, MET.model_copy(update={"id": "again"})])
    assert ruie("export", "a.jsonl", "--to", "a.csv")[0] == 0
    lines = list(csv.DictReader((tmp_path / "a.csv").read_text("utf-8").splitlines()))
    assert [(line["id"], line["span"]) for line in lines if line["role"] == "entity"][:2] == [
        ("t0", "Ada"),
        ("t0", "Bob"),
    ]
    assert ruie("export", "a.jsonl", "--to", "a.graphml")[0] == 0
    root = ET.parse(tmp_path / "a.graphml").getroot()
    name = "{http://graphml.graphdrawing.org/xmlns}"
    nodes = [[data.text for data in node] for node in root.iter(f"{name}node")]
    assert nodes == [["Ada", "person", "2"], ["Bob", "person", "2"]]
    (edge,) = root.iter(f"{name}edge")
    assert [data.text for data in edge] == ["met", "2", "t0, again"]


def test_label_studio_gets_its_labelling_interface(ruie, tmp_path):
    write_examples(tmp_path / "a.jsonl", [*EXAMPLES, MET, EVENT])
    status, out, err = ruie("export", "a.jsonl", "--to", "p.json", "--format", "label-studio")
    assert (status, "The labelling interface for their project is in p.interface.xml.\n" in out) == (0, True), err
    root = ET.parse(tmp_path / "p.interface.xml").getroot()
    assert [each.get("value") for each in root.iter("Label")] == ["city", "person", "flight"]
    assert [each.get("value") for each in root.iter("Relation")] == ["met", "goal"]
    tasks = json.loads((tmp_path / "p.json").read_text("utf-8"))
    (labels,), (text,) = root.iter("Labels"), root.iter("Text")
    used = {(one["from_name"], one["to_name"]) for task in tasks for one in task["predictions"][0]["result"][:1]}
    assert used == {(labels.get("name"), text.get("name"))}
    (tmp_path / "p.json").unlink()
    status, _, err = ruie("export", "a.jsonl", "--to", "p.json", "--format", "label-studio")
    assert (status, "p.interface.xml exists" in err) == (1, True), err
    assert ruie("export", "a.jsonl", "--to", "p.json", "--format", "label-studio", "--overwrite")[0] == 0


@pytest.mark.parametrize("name", ["label-studio", "brat"])
def test_the_loop(ruie, tmp_path, name):
    """Extract, export, correct a label by hand there, import, sync: the pool has the corrected label."""
    write_examples(tmp_path / "rows.jsonl", EXAMPLES)
    assert ruie("index", "rows.jsonl", "--store", "s")[0] == 0
    rows = [{"id": "new", "text": "Cy met Bob in Oslo."}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    assert ruie("extract", "--file", "texts.jsonl", "-s", "s", "--out", "o.jsonl", "-m", "baseline")[0] == 0
    to = "predictions.json" if name == "label-studio" else "brat"
    status, _, err = ruie("export", "o.jsonl", "--to", to, "--format", name)
    assert status == 0, err
    correct(tmp_path / to, name)
    assert ruie("import", to, "--to", "corrected.jsonl", "--task", "NER")[0] == 0
    (corrected,) = read_examples(tmp_path / "corrected.jsonl")
    assert (corrected.id, corrected.text) == ("new", rows[0]["text"])
    assert ("Cy", "person") in {(each.text, each.type) for each in corrected.entities}
    status, out, err = ruie("sync", "rows.jsonl", "corrected.jsonl", "--store", "s", "--json")
    assert (json.loads(out)["added"], json.loads(out)["unchanged"]) == (1, 3), err
    with DemonstrationStore.open("s") as store:
        assert corrected in list(store.examples())


def correct(path, name):
    if name == "brat":
        with (path / "new.ann").open("a") as file:
            file.write("T99\tperson 0 2\tCy\n")
        return
    tasks = json.loads(path.read_text("utf-8"))
    value = {"start": 0, "end": 2, "text": "Cy", "labels": ["person"]}
    for task in tasks:  # as the tool exports a prediction that was accepted and corrected
        (prediction,) = task.pop("predictions")
        task["annotations"] = [{"result": [*prediction["result"], {"id": "c", "type": "labels", "value": value}]}]
    path.write_text(json.dumps(tasks), "utf-8")


def test_a_pool_goes_out_and_comes_in(ruie, tmp_path):
    write_examples(tmp_path / "rows.jsonl", [*EXAMPLES, MET])
    assert ruie("import", "rows.jsonl", "--store", "s")[0] == 0
    status, out, _ = ruie("export", "--store", "s", "--to", "out", "--format", "brat", "--json")
    assert (status, json.loads(out)["examples"]) == (0, 4)
    read = list(Import([tmp_path / "out"], tasks=["NER"]))
    assert sorted(read, key=repr) == sorted(EXAMPLES, key=repr)
    assert ruie("import", "out", "--store", "t")[0] == 0
    with DemonstrationStore.open("t") as store:
        assert store.count("NER") == 3
