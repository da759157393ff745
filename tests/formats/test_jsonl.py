import gzip
import json

import pytest

from ruie_components import Example, RowError
from ruie_components.formats import read_examples, write_examples

ADA = {"text": "Ada", "type": "person", "start": 0, "end": 3}
ROW = {"id": "a-1", "task": "NER", "text": "Ada 😀\nslept.", "schema": ["person"], "entities": [ADA]}


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.jsonl.gz"])
def test_what_is_written_is_read_back(tmp_path, name):
    examples = [Example.model_validate(ROW), Example(task="ED", text="Zürich\u2028ß", labels=["attack"])]
    assert write_examples(tmp_path / name, iter(examples)) == 2
    assert list(read_examples(tmp_path / name)) == examples
    assert [path.name for path in tmp_path.iterdir()] == [name]
    raw = (tmp_path / name).read_bytes()
    assert (gzip.decompress(raw) if name.endswith("gz") else raw).count(b"\n") == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "pool.jsonl"
    write_examples(path, [Example.model_validate(ROW)])

    def broken():
        yield Example.model_validate(ROW)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_examples(path, broken())
    assert len(list(read_examples(path))) == 1
    assert [found.name for found in tmp_path.iterdir()] == ["pool.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(ROW | {"entities": [ADA | {"start": 1, "end": 4}]}), r"row: span 'Ada' is not the text at 1:4"),
        (json.dumps(ROW | {"entities": [ADA | {"end": 2}]}), r"entities\[0\]: span 'Ada' has 3 characters"),
        (json.dumps(ROW | {"entities": [ADA | {"start": "x"}]}), r"entities\[0\]\.start: Input should be a valid int"),
        (json.dumps(ROW | {"task": "XYZ"}), r"task: Input should be 'NER'"),
        (json.dumps(ROW | {"text": " "}), r"text is empty"),
        (json.dumps({"task": "NER", "text": "a"}), r"schema: Field required"),
        ('{"task": "NER", ', "not JSON"),
        ("[1, 2]", "got list"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_wrong_row_names_file_line_and_field(tmp_path, line, message):
    path = tmp_path / "pool.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n\n{line}\n", "utf-8")
    rows = read_examples(path)
    assert next(rows).id == "a-1"
    with pytest.raises(RowError, match=rf"pool\.jsonl, line 3: .*{message}"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"after line 0: .*No such file"),
        (b"\xe9 {", r"after line 0: not UTF-8"),
        (gzip.compress(json.dumps(ROW).encode())[:-12], r"can't be read"),
        (b"plain text", r"can't be read"),
    ],
    ids=["missing", "not UTF-8", "cut", "not compressed"],
)
def test_a_file_that_cant_be_read_is_named(tmp_path, content, message):
    path = tmp_path / ("pool.jsonl" if content is None or content[:1] == b"\xe9" else "pool.jsonl.gz")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RowError, match=rf"pool\.jsonl.*{message}"):
        list(read_examples(path))


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n")
    assert [row.id for row in read_examples(path)] == ["a-1"]
