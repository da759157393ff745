import sys
from io import StringIO

import pytest

from ruie_components.cli.app import main
from ruie_components.formats import write_examples
from ruie_components.starter import starter_examples


@pytest.fixture
def ruie(monkeypatch, capsys, tmp_path):
    """Runs ``ruie`` in an empty folder; its exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, stdin: str | None = None):
        monkeypatch.setattr(sys, "argv", ["ruie", *map(str, arguments)])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", StringIO(stdin))
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def pool(tmp_path):
    """A file of starter NER examples, and a store that a test may make."""
    path = tmp_path / "pool.jsonl"
    write_examples(path, starter_examples("NER"))
    return path
