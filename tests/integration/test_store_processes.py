"""Several processes and one store: two at a time, killed ones, and what a process loads."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ruie_components import DemonstrationStore, Example, Query, StoreError
from ruie_components.tokenization import text_hash

COUNT = 6000


def example(number: int) -> Example:
    return Example(task="NER", text=f"Ada {number} slept in Rome.", labels=["person"])


def query(text: str) -> Query:
    return Query(task="NER", text=text, labels=["person"])


def start(code: str, *arguments: object) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def finish(process: subprocess.Popen) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


PREAMBLE = """
import sys
from ruie_components import DemonstrationStore, Example, Query, StoreError
path, encoder = sys.argv[1:3]
def example(number):
    return Example(task="NER", text=f"Ada {number} slept in Rome.", labels=["person"])
"""

HOLD = (
    PREAMBLE
    + """
store = DemonstrationStore.open(path, encoder=encoder)
print("open", flush=True)
sys.stdin.readline()
store.close()
"""
)

BUILD = (
    PREAMBLE
    + """
def examples():
    for number in range(int(sys.argv[3])):
        if number % 250 == 0:
            print(number, flush=True)
        if number == int(sys.argv[4]):
            sys.stdin.readline()  # nobody writes a line: it waits to be killed
        yield example(number)
DemonstrationStore.create(examples(), path, encoder=encoder, progress=False).close()
"""
)


def test_processes_of_two_containers_have_the_same_number(tmp_path, encoder_folder):
    path = tmp_path / "store"
    DemonstrationStore.create([example(0)], path, encoder=encoder_folder).close()
    contained = [start("import os; os.getpid = lambda: 1" + HOLD, path, encoder_folder) for _ in range(2)]
    for process in contained:
        assert process.stdout.readline() == "open\n", process.stderr.read()
    with (
        DemonstrationStore.open(path, encoder=encoder_folder) as store,
        pytest.raises(StoreError, match="process 1 has it open"),
    ):
        store.add([example(1)])
    for process in contained:
        process.stdin.write("\n")
        finish(process)
    with DemonstrationStore.open(path, encoder=encoder_folder) as store:
        assert store.add([example(1)]) == 1


def test_many_read_and_a_second_that_writes_is_refused(tmp_path, encoder_folder):
    path = tmp_path / "store"
    with DemonstrationStore.create([example(0)], path, encoder=encoder_folder) as store:
        other = start(HOLD, path, encoder_folder)
        assert other.stdout.readline() == "open\n", other.stderr.read()
        assert store.search(query("Ada slept."))[0].example == example(0)
        with pytest.raises(StoreError, match=rf"process {other.pid} has it open.*chroma run --path"):
            store.add([example(1)])
        with pytest.raises(StoreError, match="chroma run"):
            store.delete([example(0).content_id])
        with pytest.raises(StoreError, match="chroma run"):
            DemonstrationStore.create([example(1)], path, pool="other", encoder=encoder_folder)
        other.communicate("\n", timeout=60)
        assert store.add([example(1)]) == 1
        assert store.count() == 2


def test_nobody_reads_while_one_writes(tmp_path, encoder_folder):
    path = tmp_path / "store"
    writer = start(BUILD, path, encoder_folder, COUNT, 2600)
    while int(writer.stdout.readline()) < 2500:
        pass
    with pytest.raises(StoreError, match=r"another process is writing.*chroma run"):
        DemonstrationStore.open(path, encoder=encoder_folder)
    writer.kill()
    writer.communicate(timeout=60)
    with DemonstrationStore.open(path, encoder=encoder_folder) as store:  # the system gave its locks back
        assert store.count() >= 2000


def test_a_killed_build_goes_on_where_it_stopped(tmp_path, encoder_folder, encoder):
    path = tmp_path / "store"
    for stop in (750, 1250, 2250, 3500):
        process = start(BUILD, path, encoder_folder, COUNT, stop + 1100)
        while int(process.stdout.readline()) < stop:
            pass
        time.sleep(0.05 * (stop % 7))  # at another point of a write each time
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    encoded: list[Example] = []

    class Counting:
        name, fingerprint, dimension = encoder.name, encoder.fingerprint, encoder.dimension
        encode_queries = staticmethod(encoder.encode_queries)

        @staticmethod
        def encode_examples(examples):
            encoded.extend(examples)
            return encoder.encode_examples(examples)

    with DemonstrationStore.open(path, encoder=encoder_folder) as store:
        kept = store.count()
    assert 2000 <= kept < COUNT
    with DemonstrationStore.create(map(example, range(COUNT)), path, encoder=Counting(), progress=False) as store:
        assert len(encoded) == COUNT - kept
        assert store.count() == COUNT
        assert {each.text for each in store.examples()} == {example(number).text for number in range(COUNT)}
        own = query(example(17).text)
        found = store.nearest([own], COUNT)[0]
        assert len({near.id for near in found}) == COUNT - 1  # each row has its vector
        assert text_hash(own.text) not in {near.metadata["text"] for near in found}


def test_torch_and_the_frameworks_are_not_loaded(tmp_path, encoder_folder):
    code = (
        PREAMBLE
        + """
with DemonstrationStore.create([example(0)], path, encoder=encoder) as store:
    print(len(store.search(Query(task="NER", text="Ada slept.", labels=["person"]))))
print(sorted({"torch", "sentence_transformers", "transformers", "langchain_core", "llama_index"} & set(sys.modules)))
"""
    )
    assert finish(start(code, tmp_path / "store", encoder_folder)) == "1\n[]\n"
