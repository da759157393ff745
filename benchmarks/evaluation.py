"""What an evaluation adds to the model's own time, and how long scoring and comparing take.

Goals: 5 ms a call, imports and the model's own time apart; 2 s for scoring 10,000 extractions.

python benchmarks/evaluation.py         # needs no data: the starter texts, the offline baseline and an instant model
"""

import itertools
import random
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from ruie_components.chat import CopyBaseline, Response
from ruie_components.evaluation import AnswerCache, CachedChatModel, EvaluationSet, Plan, measure
from ruie_components.evaluation.statistics import paired_differences
from ruie_components.extraction import Extractor
from ruie_components.scoring import Counts, score
from ruie_components.starter import starter_examples, starter_store

CALLS = 500
EXTRACTIONS = 10_000
SETTINGS, SETS, INPUTS = 36, 7, 100  # of the comparison of all pairs


class Instant(CopyBaseline):
    """A model whose own time is nothing: it has every answer at hand, in the paper's form."""

    name = "instant"

    def complete(self, prompt, *, constraint=None):  # noqa: ARG002
        return Response("person: Ada; city: Rome; person: Ada Lovelace; organization: Acme", 600, 20)


def main() -> None:
    examples = [example for example in starter_examples("NER") if example.annotations]
    inputs = tuple(itertools.islice(itertools.cycle(examples[:20]), CALLS))
    numbered = tuple(e.model_copy(update={"text": f"{e.text} {i}"}) for i, e in enumerate(inputs))  # none is cached
    data = EvaluationSet("NER/starter", tuple(examples[20:]), numbered)
    first = EvaluationSet("NER/first", data.pool, numbered[:1])
    measure(Plan([first], [Instant()], ["similarity"], [8]), progress=False)  # imports Chroma
    with tempfile.TemporaryDirectory() as folder, closing(AnswerCache(Path(folder) / "answers.sqlite")) as cache:
        for kind in ("new answers", "cached answers"):
            plan = Plan([data], [CachedChatModel(Instant(), cache)], ["similarity"], [8])
            began, worked = time.perf_counter(), time.process_time()
            (found,) = measure(plan, progress=False)
            wall, worked = time.perf_counter() - began, time.process_time() - worked
            assert found.failures == 0
            print(f"{kind}: {1000 * wall / CALLS:.2f} ms a call ({1000 * worked / CALLS:.2f} ms of processor time)")
    with starter_store() as store:
        extractor = Extractor(store, "baseline")
        results = [extractor.extract(example) for example in examples]
    pairs = [(e, r.extraction) for e, r in zip(examples, results, strict=True)]
    given, extractions = zip(*itertools.islice(itertools.cycle(pairs), EXTRACTIONS), strict=True)
    for mode in ("span", "paper"):
        began, worked = time.perf_counter(), time.process_time()
        score(given, extractions, mode)
        wall, worked = time.perf_counter() - began, time.process_time() - worked
        print(f"scoring {EXTRACTIONS:,} extractions, {mode}: {wall:.2f} s ({worked:.2f} s of processor time)")
    draw = random.Random(0)
    settings = {
        str(i): {str(j): [Counts(draw.randint(0, 3), draw.randint(0, 2)) for _ in range(INPUTS)] for j in range(SETS)}
        for i in range(SETTINGS)
    }
    began, worked = time.perf_counter(), time.process_time()
    pairs = len(paired_differences(settings))
    wall, worked = time.perf_counter() - began, time.process_time() - worked
    print(f"comparing {pairs} pairs of settings: {wall:.2f} s ({worked:.2f} s of processor time)")


if __name__ == "__main__":
    sys.exit(main())
