"""A pool that is made equal to a list of examples."""

from threading import Barrier, Thread

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


def test_of_two_syncs_at_the_same_time_one_list_wins(encoder):
    lists = [[ner(f"Ada {kind} {number}.") for number in range(60)] for kind in ("slept", "met")]
    with DemonstrationStore.create(OLD, encoder=encoder) as store:
        start = Barrier(2)

        def sync(examples):
            start.wait()
            store.sync(examples)

        threads = [Thread(target=sync, args=[each]) for each in lists]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert rows(store) in [as_rows(each) for each in lists]


def test_descriptions_outlive_the_task_that_had_them(encoder):
    with DemonstrationStore.create(OLD, encoder=encoder) as store:
        store.describe_labels({"sale": "something is sold"})
        store.sync([detection("Ada sold it.")])
        assert store.label_descriptions() == {"sale": "something is sold"}


def test_a_write_that_failed_is_checked_when_the_pool_is_opened_again(tmp_path, encoder):
    def broken():
        yield from (ner(f"Ada {number} slept.") for number in range(2500))
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        DemonstrationStore.create(broken(), tmp_path, encoder=encoder)
    with DemonstrationStore.open(tmp_path, encoder=encoder) as store:
        assert store.count() == store.index_check.checked == 2000
        store.add([ner("Bob slept.")])
    with DemonstrationStore.open(tmp_path, encoder=encoder) as store:
        assert store.index_check.checked == 0


def test_an_error_before_any_row_changes_is_no_interrupted_write(tmp_path, encoder):
    with DemonstrationStore.create(OLD, tmp_path, encoder=encoder) as store:
        with pytest.raises(TypeError, match="expected an Example"):
            store.add([{}])
        store.describe_labels({"person": "a human being"})
    with DemonstrationStore.open(tmp_path, encoder=encoder) as store:
        assert store.index_check.checked == 0
