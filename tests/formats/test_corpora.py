"""Corpora are read from files, folders and saved data sets."""

import csv
import warnings

import pytest

from ruie_components import RowError
from ruie_components.formats.corpora import count_documents, read_corpus


def test_corpora_are_read_from_files_folders_and_saved_data_sets(tmp_path):
    folder = tmp_path / "texts"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two.txt").write_text("Two\nlines.", "utf-8")
    (folder / "a.md").write_bytes("\ufeffEins.".encode("utf-16-le"))
    (folder / "image.png").write_bytes(b"\0")
    rows = [row for _, row in read_corpus(folder)]
    assert rows == [{"text": "Eins.", "id": "a.md"}, {"text": "Two\nlines.", "id": "b/two.txt"}]
    assert count_documents(folder) == 2
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "body"], ["7", "Ada slept."]])
    assert [row for _, row in read_corpus(tmp_path / "table.csv", text_key="body")] == [
        {"text": "Ada slept.", "id": "7"}
    ]
    (tmp_path / "rows.jsonl").write_text('{"text": "Ada."}\n{"text": "Bob.", "id": 3}\n')
    assert [row for _, row in read_corpus(tmp_path / "rows.jsonl")] == [{"text": "Ada."}, {"text": "Bob.", "id": 3}]
    assert count_documents(tmp_path / "rows.jsonl") == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(RowError, match=r"no files with the endings \.txt"):
        list(read_corpus(tmp_path / "empty"))
    with pytest.raises(RowError, match="no such file or folder"):
        list(read_corpus(tmp_path / "nowhere"))


def test_a_hugging_face_data_set(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets", exc_type=ImportError)
        rows = {"text": ["Ada slept.", "Bob slept."], "page": [1, 2]}
        datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
        read = [row for _, row in read_corpus(tmp_path / "saved")]
    assert read == [
        {"text": "Ada slept.", "metadata": {"page": 1}},
        {"text": "Bob slept.", "metadata": {"page": 2}},
    ]
