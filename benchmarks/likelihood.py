"""Does the likelihood of the gold answer predict F1? Beside label F1@k, label recall@k and shared words.

    python benchmarks/likelihood.py --sets NER/mit-movie-trivia RE/conll04 --selections bm25 similarity \\
        --model gguf:model.gguf --model-option mode=completion --scorer model.gguf

An LLM extracts from every input with the demonstrations of every selection (answers are kept in --cache), and the
--scorer, a causal language model of transformers or a GGUF file that transformers reads, gives the mean log-likelihood
of the gold answer after the same demonstrations. Prints Spearman's rank correlations with F1. Needs the extra [train].
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from common import DATA, WORK, machine
from ruie_training.preferences.local import LocalScorer

from ruie_components.cli.options import chat_model
from ruie_components.evaluation import (
    AnswerCache,
    CachedChatModel,
    Measurement,
    Plan,
    correlations,
    measure,
    read_set,
)
from ruie_components.evaluation.predictors import correlation_table
from ruie_components.evaluation.statistics import f1_interval
from ruie_components.progress import track

SETS = ["NER/mit-movie-trivia", "RE/conll04", "ED/CASIE", "EAE/CASIE"]
_PROMPTS = 20  # prompts in one call of the scorer


def likelihoods(measurements: Sequence[Measurement], scorer: LocalScorer) -> list[list[float]]:
    """For each measurement, and each of its inputs, the log-likelihood of the gold answer, in nats per token.

    An input whose prompt could not be written or is longer than the scorer's context has NaN.
    """
    values = [[math.nan] * len(one.examples) for one in measurements]
    where = [(i, j) for i, one in enumerate(measurements) for j, result in enumerate(one.results) if result.prompt]
    with track("score gold answers", total=len(where)) as advance:
        for start in range(0, len(where), _PROMPTS):
            part = where[start : start + _PROMPTS]
            shown = [
                ([each.example for each in prompt.best_first], measurements[i].examples[j])
                for i, j in part
                if (prompt := measurements[i].results[j].prompt)
            ]
            for (i, j), value in zip(part, scorer.likelihoods(shown, advance), strict=True):
                values[i][j] = value
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of data sets")
    parser.add_argument("--sets", nargs="+", default=SETS, help="TASK/NAME")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--selections", nargs="+", default=["random", "bm25", "similarity", "adapted"])
    parser.add_argument("-k", type=int, default=4)
    parser.add_argument("--inputs", type=int, default=20, help="of each set")
    parser.add_argument("--model", "-m", required=True, help="as for ruie extract")
    parser.add_argument("--model-option", action="append", help="KEY=VALUE")
    parser.add_argument("--scorer", required=True, help="folder, GGUF file or hub name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=WORK / "likelihood.sqlite")
    given = parser.parse_args()
    sets = [read_set(given.data, name, split=given.split, inputs=given.inputs, seed=given.seed) for name in given.sets]
    print(machine())
    with closing(AnswerCache(given.cache)) as cache:
        model = CachedChatModel(chat_model(given.model, given.model_option), cache)
        plan = Plan(sets, [model], given.selections, ks=[given.k], seed=given.seed)
        measurements = measure(plan)
    values = likelihoods(measurements, LocalScorer.load(given.scorer))
    print("\n| selection | F1 | log-likelihood of the gold answer, nats per token |\n|---|---|---:|")
    for selection in given.selections:
        rows = [i for i, one in enumerate(measurements) if one.condition.selection == selection]
        known = [value for i in rows for value in values[i] if not math.isnan(value)]
        counts = {measurements[i].condition.dataset: measurements[i].counts() for i in rows}
        mean = sum(known) / len(known) if known else math.nan
        print(f"| {selection} | {f1_interval(counts)} | {mean:.3f} |")
    print("\n" + correlation_table(correlations(measurements, {"log-likelihood of gold": values})))


if __name__ == "__main__":
    main()
