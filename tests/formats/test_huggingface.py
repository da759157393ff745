"""Hugging Face data sets as people have them: tags without prefix, without names, columns of times."""

import json
from datetime import date, datetime, timedelta

import pytest

from ruie_components import RowError
from ruie_components.formats import Import

datasets = pytest.importorskip("datasets")


def write(path, names, tags, **columns):
    kind = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    data = datasets.Dataset.from_dict({"tokens": [["Ada", "Lee", "met"]], **columns})
    data = data.add_column("ner_tags", [tags], feature=datasets.Sequence(kind))
    data.to_parquet(str(path))
    return path


def test_names_without_prefix_are_io_tags(tmp_path):
    files = Import([write(tmp_path / "a.parquet", ["O", "art", "person-actor"], [2, 2, 0])])
    (example,) = files
    assert [(each.type, each.text) for each in example.entities] == [("person-actor", "Ada Lee")]
    assert example.labels == ("art", "person-actor")
    assert files.report.notes == {"tags have no B- and I-: neighbours of one type are one entity": 1}


def test_times_become_text(tmp_path):
    columns = {"when": [datetime(2024, 1, 2, 3)], "day": [date(2024, 1, 2)], "took": [[timedelta(seconds=5)]], "n": [1]}
    files = Import([write(tmp_path / "a.parquet", ["O", "B-P"], [1, 0, 0], **columns)], strict=True)
    (example,) = files
    assert example.metadata == {"when": "2024-01-02T03:00:00", "day": "2024-01-02", "took": ["0:00:05"], "n": 1}


def test_numbers_without_names_say_what_to_do(tmp_path):
    files = Import([write(tmp_path / "a.parquet", None, [1, 0, 0])])
    assert not list(files)
    assert (
        "row 0: ner_tags: the tags are numbers, and the file does not have their names; cast"
        in files.report.problems[0]
    )


def test_lists_of_spans_are_not_tags(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"tokens": ["Ada", "met"], "ner": [[0, 0, "P"]]}), "utf-8")
    with pytest.raises(RowError, match="not recognized"):
        Import([path])
