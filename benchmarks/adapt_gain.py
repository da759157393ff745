"""What adapting gains on dev pools: label F1@8 and label recall@8 by label voting, before and after ``store.adapt()``.

Pools are samples of train splits, queries of dev splits, of sets that are not held out and that the embedded encoder
was not trained on.

    python benchmarks/adapt_gain.py [--twice] [ROWS [QUERIES [SET ...]]]

With --twice a large pool, too, is trained on again as a whole after it was measured.
"""

import sys
import time

import numpy as np
from common import DATA
from ruie_training.data.catalog import choose, read_catalog
from ruie_training.evaluation.rankers import rank_by_encoder, select

from ruie_components import DemonstrationStore
from ruie_components.adaptation import work
from ruie_components.labels import count_matrices, label_f1_at_k, label_f1_matrix, label_recall_at_k

SETS = ("NER/mit-movie-trivia", "NER/GENIA_NER", "RE/kbp37", "RE/conll04", "ED/GENIA2011", "EAE/CASIE")


def main(rows: int = 2000, queries: int = 200, *names: str) -> None:
    print("| pool | rows | seconds | label F1@8 before | after | | label recall@8 before | after | |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    every = []
    for dataset in choose(read_catalog(DATA), names=names or SETS):
        pool, wanted = dataset.examples("train", rows), dataset.examples("dev", queries)
        labels = count_matrices(wanted, pool)
        figures = []
        with DemonstrationStore.create(pool, progress=False) as store:
            for adapted in (False, True):
                start = time.perf_counter()
                if adapted:
                    store.adapt()
                seconds = time.perf_counter() - start
                chosen = select("label-vote", rank_by_encoder(store.encoder)(wanted, pool), wanted, pool, 8)
                figures.append(100 * label_f1_at_k(label_f1_matrix(*labels), chosen, 8).mean())
                figures.append(100 * np.nanmean(label_recall_at_k(*labels, chosen, 8)))
        every.append(figures)
        show(dataset.name, f"{len(pool):,}", f"{seconds:.0f}", figures)
    show("average", "", "", np.mean(every, 0))


def show(name, rows, seconds, figures) -> None:
    f1, recall, f1_after, recall_after = figures
    print(
        f"| {name} | {rows} | {seconds} | {f1:.1f} | {f1_after:.1f} | {f1_after - f1:+.1f} "
        f"| {recall:.1f} | {recall_after:.1f} | {recall_after - recall:+.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    given = [each for each in sys.argv[1:] if each != "--twice"]
    if len(given) < len(sys.argv) - 1:
        work.LARGEST_UNTRAINED = -1.0
    main(*map(int, given[:2]), *given[2:])
