"""What adapting an encoder to a pool gains on queries of other texts: agreement@8 and coverage@8, and its seconds.

The pool is a set's train split; the queries are drawn from its test split where it is held out, else from its dev
split. The store is adapted as a user would do it; its encoder's figures are then taken from whole rankings.

``python benchmarks/adapt.py --data FOLDER`` prints a table over the held-out sets that the project reports on.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ruie_training.agreement import agreement_at, count_labels, coverage_at, dice
from ruie_training.corpus import Role, choose, read_catalog
from ruie_training.rankers import best, rank_by_bm25, rank_by_encoder

from ruie_components import DemonstrationStore
from ruie_components.selection.diversity import cover

HELD_OUT = (
    "NER/CrossNER_AI",
    "NER/CrossNER_politics",
    "NER/CrossNER_science",
    "NER/mit-movie",
    "RE/FewRel",
    "ED/CrudeOilNews",
    "EAE/CrudeOilNews",
    "ED/RAMS",
    "EAE/RAMS",
)
K = 8
COLUMNS = ("BM25", "before", "adapted", "adapted, label coverage")


class Shown(NamedTuple):
    """A row of the pool, as ``cover`` looks at it."""

    place: int
    labels: frozenset[str]


def measure(dataset, limit, encoder):
    pool = {example.content_id: example for example in dataset.examples("train")}
    pool = list(pool.values())
    asked = dataset.examples("test" if dataset.role is Role.HELD_OUT else "dev", limit=limit)
    labels, others = count_labels(asked, pool)
    overlap = dice(labels, others)
    shows = [Shown(place, frozenset(example.annotation_labels)) for place, example in enumerate(pool)]

    def figures(ranked):
        agreement = 100 * agreement_at(overlap, ranked, K).mean()
        return round(agreement, 1), round(100 * float(np.nanmean(coverage_at(labels, others, ranked, K))), 1)

    def nearest(encoder):
        scores = rank_by_encoder(encoder)(asked, pool)
        return scores, figures(best(scores, asked, pool, K))

    def covering(scores):
        """What ``Selector(method="label-coverage")`` chooses, from whole rankings: with 100 labels it takes minutes."""
        width = max(50, 10 * K)
        ranked = np.full((len(asked), K), -1)
        for row, whole in enumerate(best(scores, asked, pool, len(pool))):
            order = whole[whole >= 0]
            near = dict.fromkeys(order[:width].tolist())
            shown = {label for place in near for label in shows[place].labels}
            for label in set(asked[row].labels) - shown:
                near |= dict.fromkeys([place for place in order if label in shows[place].labels][:1])
            chosen = cover(
                [shows[place] for place in sorted(near, key=lambda place: -scores[row, place])], asked[row].labels, K
            )
            chosen.sort(key=lambda found: -scores[row, found.place])
            ranked[row, : len(chosen)] = [found.place for found in chosen]
        return figures(ranked)

    row = {"set": dataset.name, "pool": len(pool), "queries": len(asked)}
    row["BM25"] = figures(best(rank_by_bm25(asked, pool), asked, pool, K))
    with DemonstrationStore.create(pool, encoder=encoder, progress=False) as store:
        row["before"] = nearest(store.encoder)[1]
        started, used = time.perf_counter(), time.process_time()
        adapted = store.adapt()
        row["seconds"] = round(time.perf_counter() - started, 1)
        row["cpu seconds"] = round(time.process_time() - used, 1)
        row["replaced"], row["share"] = adapted.replaced, adapted.share
        row["by cross-validation"] = [
            [round(g.agreement_before, 1), round(g.agreement_after, 1)] for g in adapted.gains
        ]
        scores, row["adapted"] = nearest(store.encoder)
        row["adapted, label coverage"] = covering(scores)
    return row


def table(rows):
    lines = [
        f"| agreement@{K} / coverage@{K} | pool | {' | '.join(COLUMNS)} | seconds (CPU) |",
        "|---|---:|" + "---:|" * (len(COLUMNS) + 1),
    ]
    for row in rows:
        cells = [f"{row[name][0]:.1f} / {row[name][1]:.1f}" for name in COLUMNS]
        lines.append(
            f"| {row['set']} | {row['pool']:,} | {' | '.join(cells)} | {row['seconds']} ({row['cpu seconds']}) |"
        )
    means = [np.mean([row[name] for row in rows], axis=0) for name in COLUMNS]
    lines.append("| average | | " + " | ".join(f"{a:.1f} / {c:.1f}" for a, c in means) + " | |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--sets", nargs="+", default=HELD_OUT)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--encoder", help="a folder or a checkpoint; default: the embedded encoder")
    parser.add_argument("--out", type=Path, help="a JSONL file to which each set's row goes when it is done")
    given = parser.parse_args()
    rows = []
    for dataset in choose(read_catalog(given.data), names=given.sets):
        rows.append(measure(dataset, given.queries, given.encoder))
        print(json.dumps(rows[-1]), flush=True)
        if given.out:
            with given.out.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(rows[-1]) + "\n")
    print(f"\n{os.cpu_count()} cores\n\n{table(rows)}")


if __name__ == "__main__":
    main()
