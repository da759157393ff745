"""The figures of an evaluation, as a table, as JSON and as a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ruie_components.files import atomic_write

AVERAGE = "average"
"""The data set name of the mean over all sets."""


@dataclass(frozen=True)
class Figure:
    """A cell of the table, label F1 and label recall in percent, with 95% intervals over resampled queries."""

    dataset: str
    method: str
    k: int
    label_f1: float
    label_f1_interval: tuple[float, float]
    label_recall: float
    label_recall_interval: tuple[float, float]
    queries: int
    pool: int
    seconds: float
    """Seconds of encoding and scoring pool and queries."""
    likelihood: float | None = None
    """Likelihood of the gold answer, in nats per token. None: no LLM, or no prompt fits its context."""
    likelihood_interval: tuple[float, float] | None = None
    likelihood_queries: int = 0
    """The number of queries that the LLM has scored: their prompts fit its context with every method."""


def rows(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures as JSON values; None instead of NaN, which a set without labels has and JSON can't represent."""
    return [{name: _known(value) for name, value in asdict(figure).items()} for figure in figures]


def _known(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def table(figures: Sequence[Figure], k: int) -> str:
    """A Markdown table at one k: a row per set, label F1 / label recall (/ likelihood) per method, the average last."""
    methods = list(dict.fromkeys(figure.method for figure in figures))
    by_set: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        if figure.k == k:
            by_set.setdefault(figure.dataset, {})[figure.method] = figure
    ordered = [name for name in by_set if name != AVERAGE] + [AVERAGE]
    measures = _measures(figures)
    with_llm = "likelihood" in measures
    counts = ["queries", *(["LLM queries"] if with_llm else []), "pool"]
    lines = [
        f"| {' / '.join(f'{_UNITS[name].title}@{k}' for name in measures)} | {' | '.join([*counts, *methods])} |",
        "|---|" + "---:|" * (len(counts) + len(methods)),
    ]
    for name in ordered:
        first = by_set[name][methods[0]]
        cells = [" / ".join(_value(by_set[name][method], measure) for measure in measures) for method in methods]
        sizes = [first.queries, *([first.likelihood_queries] if with_llm else []), first.pool]
        lines.append(f"| {name} | " + " | ".join([*(f"{size:,}" for size in sizes), *cells]) + " |")
    spans = [" / ".join(_span(by_set[AVERAGE][method], measure) for measure in measures) for method in methods]
    lines.append("| 95% interval of the average |" + " |" * len(counts) + f" {' | '.join(spans)} |")
    return "\n".join(lines)


def seconds_table(figures: Sequence[Figure]) -> str:
    """A Markdown table of the seconds of each method for each set, over all k.

    Methods that share scores count their time once, at the first method.
    """
    methods = list(dict.fromkeys(figure.method for figure in figures))
    by_set: dict[str, dict[str, float]] = {}
    for figure in figures:
        by_set.setdefault(figure.dataset, {})[figure.method] = figure.seconds
    total = by_set.pop(AVERAGE)
    lines = [f"| seconds | {' | '.join(methods)} |", "|---|" + "---:|" * len(methods)]
    for name, seconds in [*by_set.items(), ("together", total)]:
        lines.append(f"| {name} | " + " | ".join(f"{seconds[method]:.1f}" for method in methods) + " |")
    return "\n".join(lines)


class _Unit(NamedTuple):
    title: str
    unit: str
    format: str


_UNITS = {
    "label_f1": _Unit("label F1", "percent", ".1f"),
    "label_recall": _Unit("label recall", "percent", ".1f"),
    "likelihood": _Unit("likelihood", "nats a token", ".3f"),
}
"""The title and unit of each measure."""


def _measures(figures: Sequence[Figure]) -> list[str]:
    """The measures that the figures have."""
    with_llm = any(figure.likelihood is not None for figure in figures)
    return [name for name in _UNITS if name != "likelihood" or with_llm]


def _value(figure: Figure, measure: str) -> str:
    value = _known(getattr(figure, measure))
    return "none" if value is None else format(value, _UNITS[measure].format)


def _span(figure: Figure, measure: str) -> str:
    bounds = getattr(figure, f"{measure}_interval")
    if bounds is None or math.isnan(bounds[0]):
        return "none"
    low, high = (format(bound, _UNITS[measure].format) for bound in bounds)
    return f"{low} to {high}" if measure == "likelihood" else f"{low}-{high}"  # likelihoods are negative


def write_results(figures: Sequence[Figure], folder: str | Path) -> Path:
    """Write results.json, results.md and results.png (average over k).

    Returns:
        The folder.

    Raises:
        ImportError: matplotlib is not installed; the other two are written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "results.json", json.dumps(rows(figures), indent=1) + "\n")
    ks = sorted({figure.k for figure in figures})
    tables = [*(table(figures, k) for k in ks), seconds_table(figures)]
    atomic_write(folder / "results.md", "\n\n".join(tables) + "\n")
    draw(figures, folder / "results.png")
    return folder


def draw(figures: Sequence[Figure], path: str | Path) -> None:
    """Plot the averages of every method over k, with intervals: label F1, label recall and, if known, likelihood.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise ImportError('the plot needs matplotlib: pip install "ruie-components[train]"') from error
    averages = [figure for figure in figures if figure.dataset == AVERAGE]
    measures = _measures(averages)
    canvas: Any = Canvas(figsize=(4.5 * len(measures), 4.5), layout="constrained")
    for axes, measure_name in zip(canvas.subplots(1, len(measures)), measures, strict=True):
        for method in dict.fromkeys(figure.method for figure in averages):
            known = (f for f in averages if f.method == method and getattr(f, measure_name) is not None)
            line = sorted(known, key=lambda f: f.k)
            values = np.array([getattr(figure, measure_name) for figure in line])
            bounds = np.array([getattr(figure, f"{measure_name}_interval") for figure in line]).T
            xs = [figure.k for figure in line]
            axes.errorbar(xs, values, yerr=np.abs(bounds - values), marker="o", capsize=2, label=method)
        ks = sorted({figure.k for figure in averages})
        axes.set(
            xlabel="demonstrations k",
            ylabel=f"{_UNITS[measure_name].title}@k, {_UNITS[measure_name].unit}",
            xscale="log",
        )
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
    canvas.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    canvas.savefig(path, dpi=120)
