"""brat's folders as projects have them: configuration, byte order marks, spans across lines."""

import pytest

from ruie_components import Example
from ruie_components.formats import Import, export


def write(folder, text, annotations, encoding="utf-8"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_text(text, encoding)
    (folder / "a.ann").write_text(annotations, "utf-8")
    return folder


def configure(folder, entities="", relations=""):
    content = f"[entities]\n{entities}\n[relations]\n{relations}\n[events]\n[attributes]\n"
    (folder / "annotation.conf").write_text(content, "utf-8")


def test_equivalences_are_no_relations(tmp_path):
    folder = write(tmp_path / "b", "Ada met Bob", "T1\tPER 0 3\tAda\n")
    relations = "Equiv\tArg1:PER, Arg2:PER\nSame Arg1:PER, Arg2:PER, <REL-TYPE>:symmetric-transitive\n"
    configure(folder, "PER", relations + "knows\tArg1:PER, Arg2:PER, <REL-TYPE>:symmetric\n")
    assert [(each.task, each.labels) for each in Import([folder])] == [("NER", ("PER",)), ("RE", ("knows",))]


@pytest.mark.parametrize(
    ("encoding", "offsets", "found"),
    [("utf-8-sig", "1 4", "Ada"), ("utf-8-sig", "0 3", "Ada"), ("utf-8", "1 4", None)],
)
def test_offsets_may_count_a_byte_order_mark(tmp_path, encoding, offsets, found):
    folder = write(tmp_path / "b", "Ada met Bob", f"T1\tPER {offsets}\tAda\n", encoding=encoding)
    files = Import([folder])
    assert [entity.text for each in files for entity in each.entities] == ([found] if found else [])
    assert files.report.skipped == (found is None)


def test_the_nearest_configuration_counts_up_to_the_folder_that_is_read(tmp_path):
    root = tmp_path / "corpus"
    for name in ("x", "y"):
        write(root / "part" / name, "Ada met Bob", "T1\tPER 0 3\tAda\n")
    configure(tmp_path, "OUTSIDE")
    configure(root, "PER\nORG")
    assert [each.labels for each in Import([root])] == [("ORG", "PER")] * 2
    configure(root / "part" / "y", "PER\nLOC")
    (root / "visual.conf").write_text("[labels]\nORG | ORG\n", "utf-8")
    assert [each.labels for each in Import([root / "part"])] == [("LOC", "PER")] * 2
    assert [each.labels for each in Import([root / "part" / "x"])] == [("PER",)]


def test_a_span_across_a_line_end_is_written_in_pieces(tmp_path):
    entity = {"type": "city", "text": "New\r\nYork", "start": 0, "end": 9}
    example = Example(id="a", task="NER", text="New\r\nYork is big.", labels=["city"], entities=[entity])
    assert not export(tmp_path / "b", [example], "brat")
    assert (tmp_path / "b" / "a.ann").read_text("utf-8") == "T1\tcity 0 3;5 9\tNew York\n"
    files = Import([tmp_path / "b"], strict=True)
    assert list(files) == [example]
    assert not files.report.notes
