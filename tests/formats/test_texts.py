import gzip
import json

import pytest

from ruie_components import RowError
from ruie_components.formats.texts import Layout, guess_layout, read_texts

ROW = {"id": 7, "text": "Ada slept.", "source": "diary", "metadata": {"page": 3}}
READ = {"id": 7, "text": "Ada slept.", "metadata": {"page": 3, "source": "diary"}}


@pytest.mark.parametrize(
    ("name", "content", "layout", "rows"),
    [
        ("a.jsonl", json.dumps(ROW) + "\n\n" + json.dumps(ROW), Layout.JSONL, [READ, READ]),
        ("a.txt", json.dumps(ROW) + "\n", Layout.JSONL, [READ]),
        ("a.json", json.dumps([ROW, "Bob slept."], indent=2), Layout.JSON, [READ, {"text": "Bob slept."}]),
        ("a.txt", json.dumps([ROW]), Layout.JSON, [READ]),
        ("a.json", json.dumps(ROW, indent=1), Layout.JSON, [READ]),
        ("a.txt", "[1] Ada met Bob.\n{Ada}\n", Layout.LINES, [{"text": "[1] Ada met Bob."}, {"text": "{Ada}"}]),
        ("a.txt", "Text, and more\r\nBob\r\n", Layout.LINES, [{"text": "Text, and more"}, {"text": "Bob"}]),
        (
            "a.csv",
            'id,text,source\n1,"Ada, ""Bob""\nslept.",diary\n,Cy,\n',
            Layout.CSV,
            [
                {"id": "1", "text": 'Ada, "Bob"\nslept.', "metadata": {"source": "diary"}},
                {"text": "Cy", "metadata": {"source": ""}},
            ],
        ),
        ("a.csv", "Text;n\r\nAda;1\r\n", Layout.CSV, [{"text": "Ada", "metadata": {"n": "1"}}]),
        ("a.txt", "text\tn\nAda\t1\n", Layout.TSV, [{"text": "Ada", "metadata": {"n": "1"}}]),
        ("a.csv", "text\nAda\n", Layout.CSV, [{"text": "Ada"}]),
        ("a.txt", "", Layout.LINES, []),
        ("a.json", "[]", Layout.JSON, []),
        (
            "a.jsonl",
            json.dumps({"text": "Ada", "metadata": "x", "id": [1], "labels": ["person"], "entities": 3}),
            Layout.JSONL,
            [{"text": "Ada", "labels": ["person"], "metadata": {"metadata": "x", "id": [1], "entities": 3}}],
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_told_by_its_content(tmp_path, name, content, layout, rows, encoding):
    path = tmp_path / name
    path.write_bytes(content.encode(encoding))
    assert guess_layout(path) is layout
    assert [row for _, row in read_texts(path)] == rows
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content.encode(encoding)))
    assert guess_layout(packed) is layout
    assert [row for _, row in read_texts(packed)] == rows


def test_a_labelled_event_row_asks_about_its_event(tmp_path):
    path = tmp_path / "a.jsonl"
    trigger = {"text": "met", "start": 4, "end": 7}
    row = {"task": "EAE", "text": "Ada met Bob.", "schema": ["agent"], "events": [{"type": "meet", "trigger": trigger}]}
    path.write_text(json.dumps(row), "utf-8")
    ((_, read),) = read_texts(path)
    assert read == {
        "text": "Ada met Bob.",
        "task": "EAE",
        "schema": ["agent"],
        "event": {"type": "meet", "trigger": "met", "start": 4},
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1,2\n", r"line 1: there is no column 'text'; the columns are 'a', 'b'"),
        ("a.csv", b"text,b\n1\n", r"line 2: 1 column, but the header has 2"),
        ("a.csv", b'text,b\n1,2\n"x\n\n', r"line 3: not a row of a table: unexpected end of data"),
        ("a.jsonl", b'{"txt": "Ada"}', r"line 1: the row has no text under 'text'; its keys are \['txt'\]"),
        ("a.jsonl", b'{"text": 5}', r"line 1: text: expected a text, got int"),
        ("a.json", b'[{"text": "a"}\n {"text": "b"}]', r"line 2: not JSON: expected ',' or '\]'"),
        ("a.json", b'[{"text": "a"},\n {"text": "b"', r"line 2: not JSON"),
        ("a.json", b'[{"text": "a"},\n', r"line 2: the JSON array does not end"),
        ("a.json", b'[{"text": "a"}] x', r"line 1: unexpected text after the end"),
        ("a.json", b"[" * 100_000, r"line 1: not JSON"),
        ("a.json", b"[1]", r"line 1: expected a text or an object, got int"),
        ("a.txt", "Zürich".encode("latin-1"), r"after line 0: not UTF-8 .*latin-1"),
        ("a.txt", "Ada".encode("utf-16-le"), r"begins with NUL bytes"),
        ("a.txt", b"\xff\xfeA\0\0", r"not UTF-16"),
    ],
)
def test_what_cant_be_read_names_file_and_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RowError, match=rf"a\.\w+.*{message}"):
        list(read_texts(path))


def test_another_key_and_another_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,body\nx,Zürich\n".encode("latin-1"))
    assert [row for _, row in read_texts(path, text_key="body", encoding="latin-1")] == [
        {"text": "Zürich", "metadata": {"text": "x"}}
    ]


def test_an_array_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("ruie_components.files._CHUNK", 7)
    rows = [{"text": f"Ada {'x' * n}", "n": 12345, "deep": [[{"a": "\\]}"}]]} for n in range(30)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, indent=1), "utf-8")
    read = list(read_texts(path))
    assert [row["metadata"]["n"] for _, row in read] == [12345] * 30
    assert read[1][0].endswith("line 13")


def test_a_null_is_an_empty_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": null}\n')
    assert [row for _, row in read_texts(path)] == [{"text": "", "id": "a"}]
