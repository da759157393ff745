"""``ruie sync``: a pool is made equal to files."""

import json

import pytest

from ruie_components import DemonstrationStore, Example
from ruie_components.formats import write_examples


def ner(text: str, label: str = "person", row_id: str | None = None) -> Example:
    name = text.split()[0]
    entity = {"text": name, "type": label, "start": 0, "end": len(name)}
    return Example(task="NER", text=text, labels=["person", "robot"], entities=[entity], id=row_id)


OLD = [ner("Ada slept.", row_id="1"), ner("Bob slept."), ner("Cy slept."), ner("Dan slept.")]
NEW = [ner("Ada woke.", row_id="1"), ner("Bob slept.", "robot"), ner("Cy slept."), ner("Eve slept."), ner("Fay slept.")]
COUNTS = {"added": 2, "changed": 2, "removed": 1, "unchanged": 1}


@pytest.fixture
def sync(ruie, tmp_path, encoder_folder):
    """Runs ``ruie sync`` of examples (or a file) with the pool in ``pool``: status, standard output, standard error."""

    def run(examples, *options: str):
        if not isinstance(examples, str):
            write_examples(tmp_path / "rows.jsonl", examples)
            examples = "rows.jsonl"
        return ruie("sync", examples, "--store", "pool", "--encoder", encoder_folder, *options)

    return run


@pytest.fixture
def pooled(encoder, tmp_path):
    """Reads the rows of the pool that a command left."""

    def read() -> list:
        with DemonstrationStore.open(tmp_path / "pool", encoder=encoder) as store:
            return sorted((example.to_row() for example in store.examples()), key=str)

    return read


def rows(examples: list[Example]) -> list:
    return sorted((example.to_row() for example in examples), key=str)


def test_it_adds_changes_and_removes_and_says_how_many(sync, pooled):
    status, out, _ = sync(OLD)
    assert status == 0
    assert "Pool 'default' in pool: 4 added, 0 changed, 0 removed, 0 unchanged." in out
    status, out, _ = sync(NEW)
    assert status == 0
    assert "Pool 'default' in pool: 2 added, 2 changed, 1 removed, 1 unchanged." in out
    assert pooled() == rows(NEW)
    assert "0 added, 0 changed, 0 removed, 5 unchanged." in sync(NEW)[1]


def test_a_dry_run_says_the_same_and_changes_nothing(sync, pooled):
    sync(OLD)
    status, out, _ = sync(NEW, "--dry-run")
    assert status == 0
    assert "Pool 'default' in pool would change: 2 added, 2 changed, 1 removed, 1 unchanged." in out
    assert pooled() == rows(OLD)


def test_a_dry_run_makes_no_store(sync, tmp_path):
    status, out, _ = sync([*OLD, OLD[0]], "--dry-run")
    assert status == 0
    assert "4 added, 0 changed, 0 removed, 0 unchanged." in out
    assert not (tmp_path / "pool").exists()


def test_the_counts_for_a_program(sync):
    sync(OLD)
    dry = json.loads(sync(NEW, "--dry-run", "--json")[1])
    assert dry == {"store": "pool", "pool": "default", "read": 5, "dry_run": True, **COUNTS}
    wet = json.loads(sync(NEW, "--json")[1])
    recall, checked = wet.pop("index_recall"), wet.pop("index_checked")
    assert wet == {"store": "pool", "pool": "default", "read": 5, "dry_run": False, **COUNTS}
    assert (recall, checked) == (None, 0)  # a pool of this size is searched without the index


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_broken_row_is_named_and_changes_nothing(sync, pooled, tmp_path, options):
    sync(OLD)
    lines = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    (tmp_path / "broken.jsonl").write_text("\n".join([lines[0], '{"task": "NER", "text": 7}']) + "\n", "utf-8")
    status, out, err = sync("broken.jsonl", *options)
    assert status == 1
    assert "broken.jsonl, line 2" in err
    assert "text" in err
    assert out == ""
    assert pooled() == rows(OLD)


def test_an_empty_file_empties_no_pool_unless_it_may(sync, pooled, encoder, tmp_path):
    sync(OLD)
    status, _, err = sync([])
    assert status == 1
    assert "--allow-empty" in err
    assert pooled() == rows(OLD)
    status, out, _ = sync([], "--allow-empty")
    assert status == 0
    assert "0 added, 0 changed, 4 removed, 0 unchanged." in out
