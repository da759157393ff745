"""Files that are whole or not there, and lines of JSON."""

import gzip

import pytest

from ruie_components.errors import RowError
from ruie_components.files import (
    atomic_path,
    atomic_text,
    atomic_write,
    open_to_append,
    read_lines,
    read_rows,
    text_blocks,
    text_lines,
)


@pytest.mark.parametrize("content", ["näïve\n", b"\x00\x01"])
def test_a_write_takes_the_place_of_the_old_file(tmp_path, content):
    path = tmp_path / "file"
    path.write_text("old")
    atomic_write(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def write_half(path):
    with atomic_text(path) as file:
        file.write("new\n")
        raise KeyError


def fill_half(path):
    with atomic_path(path) as part:
        part.mkdir()
        (part / "three").write_text("")
        raise KeyError


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    with atomic_text(path) as file:
        file.write("old\n")
    with pytest.raises(KeyError):
        write_half(path)
    assert [line for _, line in read_lines(path)] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_another(tmp_path):
    path = tmp_path / "folder"
    for name in ("one", "two"):
        with atomic_path(path) as part:
            part.mkdir()
            (part / name).write_text(name)
    assert [each.name for each in path.iterdir()] == ["two"]
    with pytest.raises(KeyError):
        fill_half(path)
    assert [each.name for each in path.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [path]


def test_appending_begins_a_new_line_behind_an_unfinished_one(tmp_path):
    path = tmp_path / "lines"
    for text in ("one\n", "half", "two\n"):
        with open_to_append(path) as file:
            file.write(text)
    assert path.read_text() == "one\nhalf\ntwo\n"


def test_rows_come_with_their_location(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('\ufeff{"a": 1}\r\n\n{"b": "\u2028"}'.encode())
    assert list(read_rows(path)) == [(f"{path}, line 1", {"a": 1}), (f"{path}, line 3", {"b": "\u2028"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a"', "line 2: not JSON"),
        (b"[1]", "line 1: expected a JSON object, got list"),
        (b"[" * 100_000, "line 1: not JSON"),
        (b'{"a": 1}\n\xff', "not UTF-8"),
    ],
)
def test_errors_name_file_and_line(tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(RowError, match=message) as caught:
        list(read_rows(path))
    assert str(path) in str(caught.value)


def test_a_missing_or_damaged_file_is_an_error_of_rows(tmp_path):
    with pytest.raises(RowError, match="can't be read"):
        list(read_lines(tmp_path / "nowhere"))
    packed = tmp_path / "cut.gz"
    packed.write_bytes(gzip.compress(b"a line\n" * 100)[:-12])
    with pytest.raises(RowError, match="can't be read"):
        list(read_lines(packed))


def test_blocks_have_the_lines_before_an_error_and_name_its_place(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"a line of the file\n" * 50_000 + "Zoë\n".encode("latin-1"))
    blocks, lines = [], []
    with pytest.raises(RowError, match=r"long\.txt, after line \d+: not UTF-8") as of_blocks:
        blocks.extend(text_blocks(path))  # keeps those before the error
    with pytest.raises(RowError) as of_lines:
        lines.extend(text_lines(path))
    assert "".join(blocks) == "".join(lines)
    assert str(of_blocks.value) == str(of_lines.value)
    with pytest.raises(RowError, match="can't be read"):
        list(text_blocks(tmp_path / "nowhere"))
