"""Building a store, against raw ``collection.add`` with vectors that are ready; and the memory that a build takes.

Both stores grow in turns, so that whatever else the machine does falls on both. The other benchmarks use them.
"""

import itertools
import shutil
import sys
import time

import chromadb
from common import COLLECTION, OURS, RAW, WORK, demonstrations, in_new_process, peak_memory, report

from ruie_components import DemonstrationStore, Example, load_encoder, prompts

TURN = 5000


def main(count: int) -> None:
    for folder in (OURS, RAW):
        shutil.rmtree(folder, ignore_errors=True)
    WORK.mkdir(exist_ok=True)
    encoder = load_encoder()
    client = chromadb.PersistentClient(str(RAW))
    collection = client.create_collection(
        COLLECTION, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    ours = raw = 0.0
    rows = demonstrations(count)
    with DemonstrationStore.create((), OURS, encoder=encoder) as store:
        for turn in range(-(-count // TURN)):
            examples = list(itertools.islice(rows, TURN))
            ready = {
                "ids": [each.content_id for each in examples],
                "embeddings": encoder.encode_examples(examples),
                "documents": [prompts.render_demonstration(each) for each in examples],
                "metadatas": [{"task": each.task, "example": each.model_dump_json(by_alias=True)} for each in examples],
            }
            fresh = [Example.model_validate(each.to_row()) for each in examples]  # without the hash that is remembered
            for which in ("ours", "raw") if turn % 2 else ("raw", "ours"):
                start = time.perf_counter()
                if which == "ours":
                    store.add(fresh)
                    ours += time.perf_counter() - start
                else:
                    collection.add(**ready)
                    raw += time.perf_counter() - start
            print(f"{(turn + 1) * TURN:,}: ours {ours:.1f} s, raw {raw:.1f} s", file=sys.stderr, flush=True)
    report("build, rows/s", raw / ours, "at least 0.9", ours=count / ours, raw=count / raw)


def memory(count: int) -> None:
    folder = WORK / "memory"
    shutil.rmtree(folder, ignore_errors=True)
    before = peak_memory()
    DemonstrationStore.create(demonstrations(count), folder, progress=False).close()
    shutil.rmtree(folder)
    print(f"{before:.0f} {peak_memory():.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        memory(int(sys.argv[2]))
    else:
        rows_wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
        main(rows_wanted)
        imported, peak = map(float, in_new_process("build.py", "--memory", str(rows_wanted)).split())
        report("build, MB resident at most", peak / 700, "700 MB: at most 1", imported=imported, peak=peak)
