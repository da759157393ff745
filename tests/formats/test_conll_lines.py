"""The sentences of CoNLL files that are read in one go are those that are read line by line."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruie_components.formats import Import
from ruie_components.formats.base import Reading
from ruie_components.formats.conll import ConllFormat, _careful, _documents, _layout, _sentences

CELLS = st.sampled_from(
    ["Ada", "O", "B-a", "I-a", "S-b c", "E-d", "日本", "#", "# x", "", " ", "\u00a0", "-DOCSTART-", "x\r"]
)
LINE_ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", ""])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.lists(CELLS, min_size=1, max_size=3), st.sampled_from(["\t", "\t", " ", "  "]), LINE_ENDS),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_both_ways_read_the_same(rows):
    lines = [separator.join(cells) + end for cells, separator, end in rows]
    lines = [line if line.endswith("\n") else line + "\n" for line in lines[:-1]] + lines[-1:]
    lines = [line for line in lines if line not in ("\n", "\r\n", "")]  # a sentence has no blank lines
    if lines:
        together, one_by_one = Reading(), Reading()
        expected = list(_careful(Path("f"), lines, 7, one_by_one))
        assert list(_documents(Path("f"), "".join(lines), 7, together)) == expected
        assert together.problems == one_by_one.problems


@pytest.mark.parametrize(
    "lines",
    [["a\tO\n", "b c\tB-x y\n"], ["a X O\r\n", "b Y B-x\r\n"], ["a\tO\n", "b\tI-x"]],
    ids=["tabs", "spaces", "end"],
)
def test_plain_lines_are_read_together(lines, monkeypatch):
    monkeypatch.setattr("ruie_components.formats.conll._careful", None)
    (document,) = _documents(Path("f"), "".join(lines), 0, Reading())
    assert document.text == " ".join(line.split("\t" if "\t" in line else None)[0] for line in lines)
    assert len(document.entities) == 1


PIECES = st.sampled_from(
    ["Ada\tB-a\n", "met\tO\n", "\n", "\n", "\r\n", " \n", "Ada\tB-a\r\n", "x\n", "# c\n", "Bo E-d\n"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks=st.lists(st.lists(PIECES, min_size=1, max_size=9).map("".join), min_size=1, max_size=4))
def test_a_file_is_read_as_its_lines_are_wherever_its_blocks_end(blocks):
    assert "".join(_sentences(blocks)) == "".join(blocks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ruie_components.formats.conll.text_blocks", lambda *_, **__: iter(blocks))
        together, one_by_one = Reading(), Reading()
        documents = list(ConllFormat().read(Path("f"), together))
        lines = "".join(blocks).splitlines(keepends=True)
        assert documents == list(_careful(Path("f"), lines, 0, one_by_one))
        assert together.problems == one_by_one.problems
        labels = {mention.type for document in documents for mention in document.mentions}
        assert labels <= ConllFormat().labels(Path("f"), None)


@pytest.mark.parametrize("blocks", [["x\tO\n" * 40, "y\tO\n\nAda\tB-a\n"], ["x\tO\n" * 70 + "\nAda\tB-a\n"]])
def test_a_sentence_without_end_is_one_problem(blocks, monkeypatch):
    monkeypatch.setattr("ruie_components.formats.conll._LONGEST", 30)
    monkeypatch.setattr("ruie_components.formats.conll.text_blocks", lambda *_, **__: iter(blocks))
    reading = Reading()
    assert [document.text for document in ConllFormat().read(Path("f"), reading)] == ["Ada"]
    assert reading.problems == ["f, line 1: a sentence of 30 tokens is not followed by a blank line"]


def imported(path, content):
    path.write_text(content, "utf-8")
    files = Import([path])
    return [(each.text, [(one.type, one.text) for one in each.entities]) for each in files], files.report


GERMEVAL = "#\thttp://x [2009]\n1\tTroja\tB-LOC\tB-OTH\n2\tliegt\tO\tO\n\n# y\n1\tSie\tO\tO\n2\tBonn\tO\tB-LOC\n"


@pytest.mark.parametrize(
    ("content", "entities", "notes"),
    [
        (GERMEVAL, [[("LOC", "Troja")], []], {"further columns of tags are left out": 1}),
        (re.sub("#.*", "", GERMEVAL), [[("LOC", "Troja")], []], {"further columns of tags are left out": 1}),
        ("# x\n1\tAda\tB-PER\t-\t-\n2\tsleeps\tO\t-\t-\n", [[("PER", "Ada")]], {}),
        ("1 Ada NNP B-NP B-PER\n2 slept VB O O\n", [[("PER", "Ada")]], {}),
        ("# id 5\tdomain=en\nAda _ _ B-PER\nslept _ _ O\n\n# id 6\tdomain=en\n5 _ _ O\n", [[("PER", "Ada")], []], {}),
        ("1\tB-NUM\n2\tO\n", [[("NUM", "1")]], {}),
        ("1\tCD\tB-NUM\n3\tCD\tO\n", [[("NUM", "1")]], {}),
        ("1\tCD\tB-NUM\n", [[("NUM", "1")]], {}),
    ],
    ids=["germeval", "together", "universal", "last", "comments", "two columns", "no count", "one token"],
)
def test_a_column_that_counts_is_not_the_token(tmp_path, content, entities, notes):
    read, report = imported(tmp_path / "a.tsv", content)
    assert [own for _, own in read] == entities
    assert (report.notes, report.problems) == (notes, [])
    assert report.labels["NER"] == sorted({kind for own in entities for kind, _ in own})


FEW_NERD = "Ada\tperson-scholar\nLee\tperson-scholar\nleft\tO\nOslo\tlocation-GPE\nwith\tO\nBob\tperson-other\n\n.\tO\n"


def test_types_without_a_scheme_are_tags(tmp_path):
    read, report = imported(tmp_path / "a.txt", FEW_NERD)
    entities = [("person-scholar", "Ada Lee"), ("location-GPE", "Oslo"), ("person-other", "Bob")]
    assert read == [("Ada Lee left Oslo with Bob", entities), (".", [])]
    assert report.labels["NER"] == ["location-GPE", "person-other", "person-scholar"]
    assert report.notes == {"tags have no B- and I-: neighbours of one type are one entity": 1}
    spaced = FEW_NERD.replace("left\t", "left  \t")  # lines that are not read together
    assert imported(tmp_path / "b.txt", spaced)[0] == read


@pytest.mark.parametrize(
    "content",
    ["Ada\tNNP\nslept\tVBD\n.\t.\n", "Ada\tNNP\nand\tNNP\nO\tO\n", FEW_NERD.replace("\t", " "), "Ada\tO\nLee\tO\n"],
    ids=["parts of speech", "O is rare", "spaces", "no type"],
)
def test_other_columns_are_no_types(tmp_path, content):
    assert not _layout(content).bare


def test_one_tag_without_a_scheme_is_a_problem(tmp_path):
    _, report = imported(tmp_path / "a.conll", "Ada\tB-PER\n" + 20 * "saw\tO\n" + "Bob\tPER\n")
    assert report.problems == [f"{tmp_path / 'a.conll'}, line 22: tag: 'PER' is neither O nor one such as B-person"]


def test_only_spaces_and_tabs_separate_columns(tmp_path):
    read, report = imported(tmp_path / "a.txt", "10\u00a0000 CD O\nBob\u00a0Lee NNP B-full\u00a0name\nslept V O\n")
    assert read == [("10\u00a0000 Bob\u00a0Lee slept", [("full\u00a0name", "Bob\u00a0Lee")])]
    assert not report.problems


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("token", ["\u00a0", "\u2028"])
def test_tokens_of_white_space_are_left_out(tmp_path, token, separator):
    lines = [separator.join(cells) for cells in [("Ada", "B-PER"), (token, "I-PER"), ("Lee", "I-PER"), ("slept", "O")]]
    read, report = imported(tmp_path / "a.txt", "\n".join(lines))
    assert read == [("Ada Lee slept", [("PER", "Ada Lee")])]
    assert (report.notes, report.problems) == ({"tokens that are white space are left out": 1}, [])
