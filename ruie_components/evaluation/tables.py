"""Measurements as rows, tables, plots and pages."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ruie_components.evaluation.experiment import Measurement
from ruie_components.evaluation.statistics import Difference, Interval, f1_interval, paired_difference
from ruie_components.files import atomic_write
from ruie_components.scoring import Counts, score

Mode = Literal["span", "paper"]


def rows(measurements: Sequence[Measurement], *, prices: tuple[float, float] | None = None) -> list[dict[str, Any]]:
    """One row a condition, with everything that was measured. F1, precision and recall are in percent.

    Args:
        measurements: The measurements.
        prices: Of a million tokens read and written, for the cost.
    """
    return [_row(one, prices) for one in measurements]


def _row(one: Measurement, prices: tuple[float, float] | None) -> dict[str, Any]:
    condition = one.condition
    row: dict[str, Any] = {
        "dataset": condition.dataset, "task": str(one.examples[0].task), "model": condition.model,
        "selection": condition.selection, "k": condition.k, "order": condition.order,
        "answer_format": condition.answer_format, "inputs": len(one.examples), "failures": one.failures,
    }  # fmt: skip
    for mode in ("span", "paper"):
        counts = one.counts(mode)
        total, interval = sum(counts, Counts()), f1_interval({condition.dataset: counts})
        row |= {f"{mode}_precision": 100 * total.precision, f"{mode}_recall": 100 * total.recall}
        row |= {f"{mode}_f1": interval.value, f"{mode}_f1_low": interval.low, f"{mode}_f1_high": interval.high}
    row |= {"label_f1": 100 * _mean(one.label_f1), "label_recall": 100 * _mean(one.label_recall)}
    read, written = one.tokens
    row |= {"tokens_read": read, "tokens_written": written, "seconds": one.seconds}
    row["truncated"] = sum(result.usage.truncated for result in one.results)
    if prices:
        row["cost"] = (read * prices[0] + written * prices[1]) / 1e6
    by_label = score(one.examples, [result.extraction for result in one.results], "span").labels
    row["labels"] = {label: {"f1": 100 * c.f1, "tp": c.tp, "fn": c.fn, "fp": c.fp} for label, c in by_label.items()}
    return row


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def settings(measurements: Sequence[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    """The measurements of each model and setting, one for each data set."""
    grouped: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        grouped.setdefault((one.condition.model, one.condition.setting), []).append(one)
    return grouped


def averages(
    measurements: Sequence[Measurement], *, reference: str | None = None, mode: Mode = "span"
) -> list[tuple[str, str, Interval, Difference | None]]:
    """For each model and setting the average F1 over the sets, and its difference to a reference on the same inputs.

    Args:
        measurements: The measurements.
        reference: The setting to compare with, such as ``bm25 k=8``; the first one if not given.
        mode: What is compared.

    Raises:
        ValueError: The reference was not measured.
    """
    grouped = settings(measurements)
    names = list(dict.fromkeys(name for _, name in grouped))
    base = reference or next(iter(names), "")
    if base not in names:
        raise ValueError(f"the reference {base!r} was not measured; there are {', '.join(names)}")
    found = []
    for (model, name), parts in grouped.items():
        inputs = {one.condition.dataset: one.counts(mode) for one in parts}
        other = {one.condition.dataset: one.counts(mode) for one in grouped.get((model, base), [])}
        difference = paired_difference(inputs, other) if name != base and other.keys() == inputs.keys() else None
        found.append((model, name, f1_interval(inputs), difference))
    return found


def table(measurements: Sequence[Measurement], *, reference: str | None = None, mode: Mode = "span") -> str:
    """A Markdown table: F1 of each setting on each set, the average with its interval, and the paired difference."""
    datasets = list(dict.fromkeys(one.condition.dataset for one in measurements))
    models = list(dict.fromkeys(one.condition.model for one in measurements))
    heads = [*(["model"] if len(models) > 1 else []), "selection", *datasets, "average F1", "difference", "p"]
    heads += ["label F1", "label recall", "failures"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    grouped = settings(measurements)
    for model, name, average, difference in averages(measurements, reference=reference, mode=mode):
        parts = {one.condition.dataset: one for one in grouped[model, name]}
        f1 = [f"{100 * sum(parts[data].counts(mode), Counts()).f1:.1f}" if data in parts else "" for data in datasets]
        proxies = [_percent(_mean(v for one in parts.values() for v in values(one))) for values in (_f1, _recall)]
        failures = sum(one.failures for one in parts.values())
        compared = [str(difference), f"{difference.p:.3f}"] if difference else ["", ""]
        cells = [*([model] if len(models) > 1 else []), name, *f1, str(average), *compared, *proxies, str(failures)]
        lines.append(f"| {' | '.join(cells)} |")
    inputs = ", ".join(f"{name} {len(one.examples)}" for name, one in _first_of_each(measurements).items())
    return "\n".join([*lines, "", f"F1 in percent, mode {mode}. Inputs: {inputs}. Intervals: 95%, resampled inputs."])


def _first_of_each(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    return {one.condition.dataset: one for one in reversed(measurements)}


def _f1(one: Measurement) -> Sequence[float]:
    return one.label_f1


def _recall(one: Measurement) -> Sequence[float]:
    return one.label_recall


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def write_results(
    folder: str | Path,
    measurements: Sequence[Measurement],
    *,
    reference: str | None = None,
    prices: tuple[float, float] | None = None,
) -> list[Path]:
    """Write ``results.json``, ``results.csv``, ``results.md``, a page of errors for each condition, and two plots.

    The plots (F1 over k, F1 over label F1) need matplotlib and are left out where it is not installed.

    Returns:
        The files.
    """
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    measured = rows(measurements, prices=prices)
    atomic_write(base / "results.json", json.dumps(measured, ensure_ascii=False, indent=1))
    atomic_write(base / "results.csv", _csv(measured))
    both = "\n\n".join(table(measurements, reference=reference, mode=mode) for mode in ("span", "paper"))
    atomic_write(base / "results.md", f"{both}\n")
    written = [base / "results.json", base / "results.csv", base / "results.md"]
    written += [_write_errors(base / "errors", one) for one in measurements]
    return written + _plots(base, measurements)


def _csv(measured: Sequence[dict[str, Any]]) -> str:
    flat = [{name: value for name, value in row.items() if name != "labels"} for row in measured]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(flat[0]) if flat else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _write_errors(folder: Path, one: Measurement) -> Path:
    from ruie_components import report

    condition = one.condition
    name = re.sub(r"[^\w.-]+", "_", f"{condition.dataset}-{condition.model}-{condition.setting}")
    lead = f"{condition.dataset}, {condition.setting}, {condition.model}"
    return report.write(folder / f"{name}.html", one.results, gold=one.examples, title="Errors", lead=lead)


def _plots(folder: Path, measurements: Sequence[Measurement]) -> list[Path]:
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    mpl.use("Agg")
    from matplotlib import pyplot

    averaged = averages(measurements)
    grouped = settings(measurements)
    written = []
    if len({one.condition.k for one in measurements}) > 1:
        figure, axes = pyplot.subplots(figsize=(6, 4))
        lines: dict[str, list[tuple[int, Interval]]] = {}
        for model, name, interval, _ in averaged:
            condition = grouped[model, name][0].condition
            lines.setdefault(f"{condition.selection} {condition.order}", []).append((condition.k, interval))
        for label, points in lines.items():
            points.sort()
            ks, values = [k for k, _ in points], [interval.value for _, interval in points]
            errors = [[i.value - i.low for _, i in points], [i.high - i.value for _, i in points]]
            axes.errorbar(ks, values, yerr=errors, marker="o", capsize=2, label=label.removesuffix(" similar-last"))
        axes.set(xlabel="demonstrations (k)", ylabel="F1 (%)")
        axes.legend(fontsize=7)
        written.append(folder / "f1-over-k.png")
        figure.savefig(written[-1], dpi=150, bbox_inches="tight")
        pyplot.close(figure)
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name in dict.fromkeys(one.condition.selection for one in measurements):
        parts = [one for one in measurements if one.condition.selection == name]
        x = [100 * _mean(one.label_f1) for one in parts]
        y = [100 * sum(one.counts(), Counts()).f1 for one in parts]
        axes.scatter(x, y, s=16, label=name)
    axes.set(xlabel="label F1 of the demonstrations (%)", ylabel="F1 (%)")
    axes.legend(fontsize=7)
    written.append(folder / "f1-over-label-f1.png")
    figure.savefig(written[-1], dpi=150, bbox_inches="tight")
    pyplot.close(figure)
    return written
