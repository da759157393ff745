"""Files that correct rows of earlier files."""

import json


def test_index_and_import_name_both_files(ruie, tmp_path):
    row = {"id": "1", "task": "NER", "text": "Ada slept", "schema": ["person", "city"]}
    for name, kind in (("a.jsonl", "person"), ("b.jsonl", "city")):
        entity = {"text": "Ada", "type": kind, "start": 0, "end": 3}
        (tmp_path / name).write_text(json.dumps(row | {"entities": [entity]}) + "\n", "utf-8")
    note = "rows of a.jsonl are replaced by those of b.jsonl with the same id and text (1)"
    status, _, told = ruie("import", "a.jsonl", "b.jsonl", "--to", "out.jsonl")
    assert (status, note in told) == (0, True), told
    (written,) = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert json.loads(written)["entities"][0]["type"] == "city"
    status, out, told = ruie("index", "a.jsonl", "b.jsonl", "--store", "store", "--json")
    assert (status, note in told, json.loads(out)["new"]) == (0, True, 1), told
