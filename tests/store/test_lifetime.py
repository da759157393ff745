"""Stores whose folder is removed, whose process is forked, that are pickled, or dropped without being closed."""

import copy
import gc
import os
import pickle
import shutil
import subprocess
import sys

import pytest

from ruie_components import DemonstrationStore, Example, Query, StoreError

EXAMPLES = [Example(task="NER", text=f"Ada {number} slept in Rome.", labels=["person"]) for number in range(30)]
QUERY = Query(task="NER", text="Bob slept.", labels=["person"])


def count_in_another_process(path, encoder_folder) -> int:
    code = (
        "import sys; from ruie_components import DemonstrationStore\n"
        "print(DemonstrationStore.open(sys.argv[1], encoder=sys.argv[2]).count())"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path), str(encoder_folder)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


@pytest.mark.parametrize("dropped", [True, False])
def test_a_store_whose_folder_was_removed_is_made_anew_and_the_old_one_says_so(
    tmp_path, encoder, encoder_folder, dropped
):
    path = tmp_path / "store"
    old = DemonstrationStore.create(EXAMPLES, path, encoder=encoder)
    if dropped:
        old = None
        gc.collect()
    shutil.rmtree(path)
    with DemonstrationStore.create(EXAMPLES[:5], path, encoder=encoder) as new:
        assert new.count() == 5
        assert count_in_another_process(path, encoder_folder) == 5
        assert new.add(EXAMPLES[5:7]) == 2
        if old is not None:
            for use in (old.count, lambda: old.search(QUERY), lambda: old.add(EXAMPLES), lambda: list(old.examples())):
                with pytest.raises(StoreError, match="was removed or replaced while this store had it open"):
                    use()
            old.close()
        assert len(new.search(QUERY, 20)) == 7
        assert new.add(EXAMPLES[:8]) == 1


def test_a_dropped_store_gives_its_folder_back(tmp_path, encoder, encoder_folder):
    store = DemonstrationStore.create(EXAMPLES, tmp_path, encoder=encoder)
    locks = list((tmp_path / ".ruie").glob("open-*.lock"))
    assert len(locks) == 1
    del store
    gc.collect()
    assert not locks[0].exists()


def test_a_store_says_how_to_use_it_in_another_process_when_it_is_pickled(tmp_path, encoder):
    with DemonstrationStore.create(EXAMPLES, tmp_path, pool="mine", encoder=encoder) as store:
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"DemonstrationStore\.open\('.*', pool='mine'\)"):
                use(store)


FORKED = """
import multiprocessing, sys, time
from ruie_components import DemonstrationStore, Example, Query, StoreError
path, encoder, closed = sys.argv[1], sys.argv[2], sys.argv[3] == "closed"
examples = [Example(task="NER", text=f"Ada {n} slept.", labels=["person"]) for n in range(5)]
query = Query(task="NER", text="Bob slept.", labels=["person"])
store = DemonstrationStore.create(examples, path, encoder=encoder)
if closed:
    store.close()
uses = {
    "open": lambda: DemonstrationStore.open(path, encoder=encoder),
    "create": lambda: DemonstrationStore.create(examples, encoder=encoder),
    "search": lambda: store.search(query),
    "close": lambda: store.close(),
}
def child(name):
    started = time.monotonic()
    try:
        uses[name]()
    except StoreError as error:
        print(name, "spawn" in str(error) and "chroma run" in str(error), time.monotonic() - started < 1, flush=True)
    else:
        print(name, flush=True)
fork = multiprocessing.get_context("fork")
for name in ("open", "create") if closed else uses:
    process = fork.Process(target=child, args=(name,))
    process.start()
    process.join(20)
    if process.exitcode != 0:
        print(name, "hangs")
        process.kill()
if not closed:
    print(store.add([Example(task="NER", text="new", labels=["person"])]), len(store.search(query, 8)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("state", ["open", "closed"])
def test_a_forked_child_gets_an_error_at_once(tmp_path, encoder_folder, state):
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path / "store"), str(encoder_folder), state]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    expected = ["open True True", "create True True"]
    if state == "open":
        expected += ["search True True", "close", "1 6"]  # the parent's store is as it was
    assert run.stdout.splitlines() == expected, run.stderr


def test_what_was_taken_from_a_store_outlives_it(tmp_path, encoder):
    DemonstrationStore.create(EXAMPLES, tmp_path, encoder=encoder, progress=False).close()
    rows = list(DemonstrationStore.open(tmp_path, encoder=encoder).examples())
    assert len(rows) == len(EXAMPLES)
    source = DemonstrationStore.open(tmp_path, encoder=encoder).candidates([QUERY])
    gc.collect()
    assert len(source.nearest([0], 2)[0]) == 2
