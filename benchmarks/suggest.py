"""Simulated annotation: label F1@8 of retrieved demonstrations, over rows annotated by suggestion and at random.

    python benchmarks/suggest.py --data ../shared/data --sets NER/ncbi RE/conll04 ED/CASIE

The train rows of each set play the unlabelled texts. Measured is the agreement of labels on dev rows, not F1 with a
language model, which would take days here.
"""

import argparse
import gzip
import itertools
import json
from pathlib import Path

from ruie_components import DemonstrationStore, Example, Selector
from ruie_components.labels import label_counts, label_f1
from ruie_components.suggestion import suggest


def read(path, limit):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [Example.model_validate(json.loads(line)) for line in itertools.islice(lines, limit)]


def score(store, dev):
    """Mean label F1 between each dev row and its eight demonstrations."""
    total = 0.0
    for example, shown in zip(dev, Selector(k=8).select_many(store, [each.query for each in dev]), strict=True):
        own = label_counts(example)
        total += sum(label_f1(own, label_counts(each.example)) for each in shown) / len(shown)
    return total / len(dev)


def run(train, dev, steps, way, seed):
    by_text = {example.text: example for example in train}
    left = dict(by_text)
    start = list(left)[:: max(1, len(left) // steps[0])][: steps[0]]
    scores = []
    with DemonstrationStore.create([left.pop(text) for text in start], progress=False) as store:
        for size in steps:
            if missing := size - store.count():
                found = suggest(store, [example.query for example in left.values()], missing, seed=seed)
                chosen = found.chosen if way == "suggested" else found.random
                store.add([left.pop(each.query.text) for each in chosen])
            scores.append(score(store, dev))
    return scores


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--dev", type=int, default=200)
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print("set  way  " + "  ".join(map(str, given.steps)))
    for name in given.sets:
        train, dev = (
            read(given.data / name / f"{split}.jsonl.gz", n) for split, n in (("train", given.rows), ("dev", given.dev))
        )
        print(
            name, "suggested", *(f"{value:.3f}" for value in run(train, dev, given.steps, "suggested", 0)), flush=True
        )
        runs = [run(train, dev, given.steps, "random", seed) for seed in range(given.seeds)]
        print(name, "random", *(f"{sum(values) / len(values):.3f}" for values in zip(*runs, strict=True)), flush=True)
