"""How a store grows: building, querying, label voting at 10,000, 100,000 and 1,000,000 rows; recall of the index.

    python benchmarks/scale.py 10000 100000 1000000 --out .benchmarks/scale

Rows are synthetic: real ones recombined. The words of an annotated span are exchanged for those of another span with
the same label. Real rows come from RUIE_DATA, else from ../shared/data, else from the starter pool. Builds resume: a
size that was built before is not built again.

For each size: rows a second and memory of the build; p50 and p95 of one query by similarity (the default) and by label
voting; recall@8 of the index against an exact search over all vectors. With --out also a table and a plot.
Each size has a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from common import DATA, WORK, demonstrations, in_new_process, machine, peak_memory

from ruie_components import DemonstrationStore, Example, Query, Selector
from ruie_components.encoders import load_encoder
from ruie_components.starter import starter_examples
from ruie_components.types import Entity, Task

K = 8


@dataclass(frozen=True)
class Figures:
    """What one size gave; seconds of processor time, for the machine does other work too."""

    rows: int
    build_rows_per_second: float | None
    resident_mb: float
    """The most that the process had: building, querying, and the synthetic rows themselves."""
    similarity_ms: tuple[float, float]
    label_vote_ms: tuple[float, float]
    recall: float


def real_rows() -> list[Example]:
    """Entity examples with at least one entity."""
    if DATA.is_dir():
        rows = (row for row in demonstrations(60_000) if row.task is Task.NER)
        return [row for row in islice(rows, 8_000) if row.entities]
    return [row for row in starter_examples("NER") if row.entities]


def recombined(rows: Sequence[Example], count: int, seed: int = 0) -> Iterator[Example]:
    """Different rows, each a real one whose spans are exchanged for others of the same label."""
    draw = random.Random(seed)
    spans: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for entity in row.entities:
            spans[entity.type].append(entity.text)
    seen: set[str] = set()
    while len(seen) < count:
        row = _exchange(draw.choice(rows), spans, draw)
        if row.text not in seen:
            seen.add(row.text)
            yield row


def _exchange(row: Example, spans: dict[str, list[str]], draw: random.Random) -> Example:
    text, end, entities = "", 0, []
    for entity in sorted(row.entities, key=lambda each: each.start):
        if entity.start < end:
            continue  # nested: the outer one is kept
        text += row.text[end : entity.start]
        words = draw.choice(spans[entity.type])
        entities.append(Entity(type=entity.type, text=words, start=len(text), end=len(text) + len(words)))
        text, end = text + words, entity.end
    return Example(task=Task.NER, text=text + row.text[end:], labels=row.labels, entities=entities)


def measure(count: int, rows: Sequence[Example], queries: Sequence[Query]) -> Figures:
    folder = WORK / f"scale-{count}"
    missing = not folder.is_dir()
    began = time.process_time()
    with DemonstrationStore.create(recombined(rows, count), folder) as store:
        rate = count / (time.process_time() - began) if missing else None
        similarity = _times(Selector(k=K), store, queries)  # the default
        vote = _times(Selector("label-vote", k=K), store, queries)
        recall = _recall(store, recombined(rows, count), queries)
    return Figures(count, rate, peak_memory(), similarity, vote, recall)


def _times(selector: Selector, store: DemonstrationStore, queries: Sequence[Query]) -> tuple[float, float]:
    selector.select(store, queries[0])  # what is loaded once
    times = []
    for query in queries:
        began = time.process_time()
        selector.select(store, query)
        times.append(1000 * (time.process_time() - began))
    return float(np.percentile(times, 50)), float(np.percentile(times, 95))


def _recall(store: DemonstrationStore, rows: Iterator[Example], queries: Sequence[Query]) -> float:
    """The share of the exact K nearest that the index finds; vectors are computed again, a part at a time."""
    encoder = load_encoder(None)
    wanted = encoder.encode_queries(queries)  # (q, d)
    scores = np.full((len(queries), K), -np.inf, dtype=np.float32)
    ids = np.full((len(queries), K), "", dtype="U32")
    while part := list(islice(rows, 4096)):
        cosines = wanted @ encoder.encode_examples(part).T  # (q, part)
        names = np.array([row.content_id for row in part])
        both = np.concatenate([scores, cosines], axis=1)
        names = np.concatenate([ids, np.broadcast_to(names, cosines.shape)], axis=1)
        best = np.argpartition(-both, K - 1, axis=1)[:, :K]
        scores, ids = np.take_along_axis(both, best, 1), np.take_along_axis(names, best, 1)
    hits = store.nearest(queries, K)
    return float(
        np.mean([len({hit.id for hit in each} & set(exact)) / K for each, exact in zip(hits, ids, strict=True)])
    )


def table(figures: Sequence[Figures]) -> str:
    lines = [
        "| rows | build, rows/CPU s | resident, MB | similarity p50 / p95, ms | label vote p50 / p95, ms | recall@8 |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for one in figures:
        build = f"{one.build_rows_per_second:,.0f}" if one.build_rows_per_second else "built before"
        similarity, vote = ("{:.1f} / {:.1f}".format(*each) for each in (one.similarity_ms, one.label_vote_ms))
        lines.append(f"| {one.rows:,} | {build} | {one.resident_mb:,.0f} | {similarity} | {vote} | {one.recall:.3f} |")
    return "\n".join(lines)


def plot(figures: Sequence[Figures], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [one.rows for one in figures]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.5))
    axes[0].plot(rows, [one.similarity_ms[1] for one in figures], marker="o", label="similarity")
    axes[0].plot(rows, [one.label_vote_ms[1] for one in figures], marker="o", label="label vote")
    axes[0].set(title="p95 of one query", ylabel="ms", xscale="log")
    axes[0].legend()
    axes[1].plot(rows, [one.resident_mb for one in figures], marker="o")
    axes[1].set(title="resident memory", ylabel="MB", xscale="log", yscale="log")
    axes[2].plot(rows, [one.recall for one in figures], marker="o")
    axes[2].set(title="recall@8 against exact search", ylim=(0, 1.02), xscale="log")
    for axis in axes:
        axis.set_xlabel("rows")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--out", type=Path, help="folder of the table and the plot")
    parser.add_argument("--json", action="store_true", help="measure in this process, and print JSON alone")
    arguments = parser.parse_args()
    if arguments.json:
        rows = real_rows()
        queries = [row.query for row in recombined(rows, arguments.queries, seed=1)]
        print(json.dumps([asdict(measure(size, rows, queries)) for size in arguments.sizes]))
        return
    print(machine())
    figures = []
    for size in arguments.sizes:
        printed = in_new_process("scale.py", str(size), "--queries", str(arguments.queries), "--json")
        figures += [Figures(**one) for one in json.loads(printed.splitlines()[-1])]
        print(table(figures[-1:]), flush=True)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "scale.json").write_text(json.dumps([asdict(one) for one in figures], indent=1))
        (arguments.out / "scale.md").write_text(table(figures) + "\n")
        plot(figures, arguments.out / "scale.png")


if __name__ == "__main__":
    main()
