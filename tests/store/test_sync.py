"""A pool that is made equal to a list of examples."""

import pytest

from ruie_components import DemonstrationStore, Example, Query
from ruie_components.store import SyncResult


def ner(text: str, label: str = "person", row_id: str | None = None) -> Example:
    name = text.split()[0]
    entity = {"text": name, "type": label, "start": 0, "end": len(name)}
    return Example(task="NER", text=text, labels=[label], entities=[entity], id=row_id)


def detection(text: str) -> Example:
    return Example(task="ED", text=text, labels=["sale"])


OLD = [ner("Ada slept.", row_id="1"), ner("Bob slept.", row_id="2"), ner("Cy slept."), ner("Dan slept.")]


def rows(store: DemonstrationStore) -> list:
    return sorted((each.to_row() for each in store.examples()), key=str)


def as_rows(examples: list[Example]) -> list:
    return sorted((each.to_row() for each in examples), key=str)


CASES = {
    "the same": (OLD, SyncResult(unchanged=4)),
    "the same in another order and twice": ([*reversed(OLD), OLD[0]], SyncResult(unchanged=4)),
    "one more": ([*OLD, ner("Eve slept.")], SyncResult(added=1, unchanged=4)),
    "one less": (OLD[1:], SyncResult(removed=1, unchanged=3)),
    "a label corrected, by text": ([*OLD[:3], ner("Dan slept.", "robot")], SyncResult(changed=1, unchanged=3)),
    "a text corrected, by id": ([ner("Ada woke.", row_id="1"), *OLD[1:]], SyncResult(changed=1, unchanged=3)),
    "id before text": (
        [ner("Bob slept.", "robot", row_id="1"), *OLD[2:]],
        SyncResult(changed=1, removed=1, unchanged=2),
    ),
    "only the id changed": ([ner("Ada slept.", row_id="9"), *OLD[1:]], SyncResult(changed=1, unchanged=3)),
    "one text twice for one": (
        [*OLD[:3], ner("Dan slept.", "robot"), ner("Dan slept.", "dog")],
        SyncResult(added=1, changed=1, unchanged=3),
    ),
    "another task": ([detection("Ada sold it.")], SyncResult(added=1, removed=4)),
    "nothing": ([], SyncResult(removed=4)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pool_equals_its_list_after_a_sync(encoder, name):
    wanted, expected = CASES[name]
    with DemonstrationStore.create(OLD, encoder=encoder) as store:
        assert store.sync(wanted, dry_run=True) == expected
        assert rows(store) == as_rows(OLD)
        assert store.sync(iter(wanted)) == expected
        unique = list({each.content_id: each for each in wanted}.values())
        assert rows(store) == as_rows(unique)
        assert store.sync(wanted) == SyncResult(unchanged=len(unique))
        assert set(store.tasks) == {each.task for each in wanted}
        for task in store.tasks:
            assert set(store.labels(task)) == {label for each in wanted for label in each.labels}


def test_a_corrected_row_is_not_shown_beside_its_wrong_version(tmp_path, encoder):
    query = Query(task="NER", text="Dan woke.", labels=["person", "robot"])
    with DemonstrationStore.create(OLD, tmp_path, encoder=encoder) as store:
        store.sync([*OLD[:3], ner("Dan slept.", "robot")])
    with DemonstrationStore.open(tmp_path, encoder=encoder) as store:
        shown = [each.example for each in store.search(query, 8) if each.example.text == "Dan slept."]
        assert [each.annotation_labels for each in shown] == [("robot",)]


def test_a_list_that_fails_while_it_is_read_changes_nothing(encoder):
    def broken():
        yield ner("Eve slept.")
        raise RuntimeError("line 2 is bad")

    with DemonstrationStore.create(OLD, encoder=encoder) as store:
        with pytest.raises(RuntimeError, match="line 2"):
            store.sync(broken())
        with pytest.raises(TypeError, match="expected an Example, got dict"):
            store.sync([ner("Eve slept."), {}])
        assert rows(store) == as_rows(OLD)
