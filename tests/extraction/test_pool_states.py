"""A corpus run says so where the pool changed since its first rows."""

import json

import pytest

from ruie_components.extraction import PoolChangedWarning
from ruie_components.extraction.budget import Budget
from ruie_components.extraction.merging import merge_runs
from ruie_components.types import Task

from ..pool import EXAMPLES, ner
from .many import Copier

pytestmark = pytest.mark.usefixtures("no_waiting")


def changed_pool(match):
    return pytest.warns(PoolChangedWarning, match=match)


@pytest.mark.parametrize("change", ["add", "delete", "replace"])
def test_a_run_that_goes_on_with_a_changed_pool_says_so(run, store, tmp_path, change):
    run(Copier(), budget=Budget(calls=2))
    run(Copier(), budget=Budget(calls=4))  # the pool is the same: no warning, which is an error here
    new = ner("Dan slept in Oslo.", Dan="person", Oslo="place")
    if change != "add":
        store.delete([EXAMPLES[0].content_id])
    if change != "delete":
        store.add([new])
    now = {"add": "6 now", "delete": "4 now", "replace": "other ones now"}[change]
    told = rf"the pool 'default' has changed since rows in .*run were made \(NER: 5 examples then, {now}\)"
    with changed_pool(told):
        summary, rows = run(Copier(), budget=Budget(calls=6))
    assert (len(rows), summary.resumed) == (6, 4)
    with changed_pool(told):  # its first rows are still those of before
        assert run(Copier())[0].complete
    run(Copier(), overwrite=True)
    run(Copier())
    states = json.loads((tmp_path / "run" / "run.json").read_text())["pool"]
    assert [state["NER"]["rows"] for state in states] == [store.count("NER")]


def test_only_rows_of_the_tasks_of_a_run_count(run, store):
    run(Copier(), budget=Budget(calls=2))
    store.delete([example.content_id for example in EXAMPLES if example.task is Task.RE])
    run(Copier(), budget=Budget(calls=4))


def test_a_run_that_an_earlier_version_began_goes_on(run, tmp_path):
    run(Copier(), budget=Budget(calls=2))
    path = tmp_path / "run" / "run.json"
    settings = json.loads(path.read_text())
    del settings["pool"]
    path.write_text(json.dumps(settings))
    assert run(Copier())[0].complete


def test_shards_of_different_pools_are_merged_with_a_warning(run, store, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    run(Copier(), out=folders[0].name, shard=(1, 2))
    store.delete([EXAMPLES[0].content_id])
    run(Copier(), out=folders[1].name, shard=(2, 2))
    told = r"shard-1 and .*shard-2 were made with different states of the pool \(NER: 5 and 4 examples\)"
    for _ in range(2):
        with changed_pool(told):
            assert merge_runs(folders, tmp_path / "merged", progress=False).documents == 10
    run(Copier(), out=folders[0].name, shard=(1, 2), overwrite=True)
    merge_runs(folders, tmp_path / "merged", progress=False, overwrite=True)
