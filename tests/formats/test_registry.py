"""What is said of files that are no format, and where problems are in files of one line."""

import json
from zipfile import ZipFile

import pytest

from ruie_components import RowError
from ruie_components.formats import Import


def test_a_zip_file_is_to_be_unpacked(tmp_path):
    with ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.txt", "Ada")
    with pytest.raises(RowError, match=r"a\.zip: it is a ZIP file\. Unpack it"):
        Import([tmp_path / "a.zip"])


def test_the_files_of_a_folder_are_to_be_named(tmp_path):
    (tmp_path / "a.spacy").touch()
    (tmp_path / "README").touch()
    with pytest.raises(RowError, match=r"a folder is read if .* It has files in \.spacy\. Name the files in it\."):
        Import([tmp_path])


def test_a_problem_in_one_long_line_has_the_number_of_its_item(tmp_path):
    rows = [{"data": {"text": "Ada"}, "annotations": [{"result": results}]} for results in ([], [], [3])]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows), "utf-8")
    files = Import([path])
    assert not list(files)
    assert files.report.problems == [f"{path}, line 1, item 3: annotations[0].result[0]: expected an object, got 3"]
