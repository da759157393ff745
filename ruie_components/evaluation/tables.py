"""Measurements as rows, tables, plots and pages."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ruie_components.evaluation.calibration import BINS, calibration_error, outcomes, reliability
from ruie_components.evaluation.experiment import Condition, Measurement
from ruie_components.evaluation.predictors import PREDICTORS, correlation_table, correlations
from ruie_components.evaluation.statistics import (
    Difference,
    Interval,
    f1_interval,
    paired_difference,
    paired_differences,
)
from ruie_components.extraction.budget import cost_of
from ruie_components.files import atomic_write
from ruie_components.scoring import Counts, Mode

_LONGEST_NAME = 150  # bytes of a file's name, of 255 that a file system allows


def rows(measurements: Sequence[Measurement], *, prices: tuple[float, float] | None = None) -> list[dict[str, Any]]:
    """One row per condition, with all measures. F1, precision and recall are in percent.

    Args:
        measurements: The measurements.
        prices: Per million tokens read and written, for the cost.
    """
    return [_row(one, prices) for one in measurements]


def _row(one: Measurement, prices: tuple[float, float] | None) -> dict[str, Any]:
    condition = one.condition
    row: dict[str, Any] = {
        "dataset": condition.dataset, "task": str(one.examples[0].task), "model": condition.model,
        "selection": condition.selection, "k": condition.k, "order": condition.order,
        "answer_format": condition.answer_format, "hold": condition.hold,
        "inputs": len(one.examples), "failures": one.failures, "failed_samples": one.failed_samples,
    }  # fmt: skip
    for mode in ("span", "paper"):
        counts = one.counts(mode)
        total, interval = sum(counts, Counts()), f1_interval({condition.dataset: counts})
        row |= {f"{mode}_precision": 100 * total.precision, f"{mode}_recall": 100 * total.recall}
        row |= {f"{mode}_f1": interval.value, f"{mode}_f1_low": interval.low, f"{mode}_f1_high": interval.high}
    row |= {name: _known(100 * _mean(getattr(one, name))) for name in PREDICTORS}
    read, written = one.tokens
    row |= {"tokens_read": read, "tokens_written": written, "seconds": one.seconds}
    row["truncated"] = sum(result.usage.truncated for result in one.results)
    if given := outcomes(one):
        row |= {"confident_annotations": len(given), "confidence": 100 * _mean(sure.confidence for sure in given)}
        row["calibration_error"] = 100 * calibration_error(given)
    if prices:
        row["cost"] = _cost(read, written, prices)
    row["labels"] = _by_label(one)
    return row


def _by_label(one: Measurement) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each label, in percent, and its counts, by spans."""
    return {
        label: {
            "precision": 100 * c.precision, "recall": 100 * c.recall, "f1": 100 * c.f1,
            "tp": c.tp, "fn": c.fn, "fp": c.fp,
        }
        for label, c in one.counts_by_label().items()
    }  # fmt: skip


def _known(value: float) -> float | None:
    """None instead of NaN, which JSON can't represent."""
    return None if math.isnan(value) else value


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
        mode: ``paper`` or ``span``, as in ``scoring.score``.

    Raises:
        ValueError: The reference was not measured.
    """
    grouped = settings(measurements)
    names = list(dict.fromkeys(name for _, name in grouped))
    base = reference or next(iter(names), "")
    if base not in names:
        raise ValueError(f"the reference {base!r} was not measured; there are {', '.join(names)}")
    compared = []
    for (model, name), parts in grouped.items():
        inputs = {one.condition.dataset: one.counts(mode) for one in parts}
        other = {one.condition.dataset: one.counts(mode) for one in grouped.get((model, base), [])}
        difference = paired_difference(inputs, other) if name != base and other.keys() == inputs.keys() else None
        compared.append((model, name, f1_interval(inputs), difference))
    return compared


def table(
    measurements: Sequence[Measurement],
    *,
    reference: str | None = None,
    mode: Mode = "span",
    prices: tuple[float, float] | None = None,
) -> str:
    """A Markdown table: F1 of each setting on each set, the average with its interval, and the paired difference.

    Args:
        measurements: The measurements.
        reference: The setting to compare with; the first one if not given.
        mode: ``paper`` or ``span``, as in ``scoring.score``.
        prices: Per million tokens read and written, for a column with the cost of a thousand inputs.

    Raises:
        ValueError: The reference was not measured.
    """
    datasets = list(dict.fromkeys(one.condition.dataset for one in measurements))
    models = list(dict.fromkeys(one.condition.model for one in measurements))
    heads = [*(["model"] if len(models) > 1 else []), "selection", *datasets, "average F1", "difference", "p"]
    heads += ["label F1", "label recall", "tokens", "seconds", *(["cost of 1,000"] if prices else []), "failures"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    grouped = settings(measurements)
    for model, name, average, difference in averages(measurements, reference=reference, mode=mode):
        parts = {one.condition.dataset: one for one in grouped[model, name]}
        f1 = [f"{100 * sum(parts[data].counts(mode), Counts()).f1:.1f}" if data in parts else "" for data in datasets]
        proxies = [
            _percent(_mean(value for one in parts.values() for value in getattr(one, name)))
            for name in ("label_f1", "label_recall")
        ]
        taken = _taken(list(parts.values()), prices)
        failures = sum(one.failures for one in parts.values())
        compared = [str(difference), f"{difference.p:.3f}"] if difference else ["", ""]
        cells = [*([model] if len(models) > 1 else []), name, *f1, str(average), *compared, *proxies, *taken]
        cells.append(str(failures))
        lines.append(f"| {' | '.join(cells)} |")
    sizes = {one.condition.dataset: len(one.examples) for one in measurements}
    inputs = ", ".join(f"{name} {size}" for name, size in sizes.items())
    notes = f"F1 in percent, mode {mode}. Inputs: {inputs}. Intervals: 95%, resampled inputs."
    notes += " Tokens and seconds: of one input."
    return "\n".join([*lines, "", notes])


def _taken(parts: Sequence[Measurement], prices: tuple[float, float] | None) -> list[str]:
    """Tokens and seconds per input, and the cost of a thousand inputs."""
    inputs = sum(len(one.examples) for one in parts)
    read, written = (sum(counts) for counts in zip(*(one.tokens for one in parts), strict=True))
    cells = [f"{(read + written) / inputs:,.0f}" if read else "", f"{sum(one.seconds for one in parts) / inputs:.2g}"]
    if prices:
        cost = _cost(read, written, prices)
        cells.append("" if cost is None else f"{1000 * cost / inputs:.3g}")
    return cells


def _cost(read: int, written: int, prices: tuple[float, float]) -> float | None:
    """What tokens cost; ``None`` where the model counts none."""
    return cost_of(prices, read, written) if read or written else None


def calibration_table(measurements: Sequence[Measurement]) -> str:
    """A Markdown table of the gap between confidence and precision by model and setting; empty without confidence."""
    lines = []
    for (model, name), parts in settings(measurements).items():
        if given := [outcome for one in parts for outcome in outcomes(one)]:
            mean, precision = (100 * sum(values) / len(given) for values in zip(*given, strict=True))
            error = 100 * calibration_error(given)
            lines.append(f"| {model} | {name} | {len(given):,} | {mean:.1f} | {precision:.1f} | {error:.1f} |")
    if not lines:
        return ""
    heads = f"| model | selection | annotations | mean confidence | precision | calibration error |\n|{'---|' * 6}"
    notes = f"In percent; expected calibration error over {BINS} bins of equal width."
    return "\n".join(["Calibration of confidence:", "", heads, *lines, "", notes])


def reliability_rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The bins of confidence by model and setting, in percent; empty without confidence."""
    return [
        {
            "model": model,
            "selection": name,
            "annotations": one.size,
            "confidence": 100 * one.confidence,
            "precision": 100 * one.precision,
        }
        for (model, name), parts in settings(measurements).items()
        for one in reliability([outcome for part in parts for outcome in outcomes(part)])
    ]


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def task_table(measurements: Sequence[Measurement], *, mode: Mode = "span") -> str:
    """A Markdown table: the average F1 of each setting over the sets of each task; empty for a single task."""
    tasks = list(dict.fromkeys(str(one.examples[0].task) for one in measurements))
    if len(tasks) < 2:
        return ""
    lines = [f"| model | selection | {' | '.join(tasks)} |", f"|{'---|' * (2 + len(tasks))}"]
    for (model, name), parts in settings(measurements).items():
        cells = []
        for task in tasks:
            inputs = {one.condition.dataset: one.counts(mode) for one in parts if one.examples[0].task == task}
            cells.append(str(f1_interval(inputs)) if inputs else "")
        lines.append(f"| {model} | {name} | {' | '.join(cells)} |")
    return "\n".join([f"By task, mode {mode}:", "", *lines])


def label_rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """One row for each label of each condition, by spans. Precision, recall and F1 are in percent."""
    flat = []
    for one in measurements:
        condition = one.condition
        named = {"dataset": condition.dataset, "model": condition.model, "setting": condition.setting}
        flat += [{**named, "label": label, **rates} for label, rates in _by_label(one).items()]
    return flat


def difference_rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """One row for any two settings of a model: the paired difference of their average span F1, in percentage points."""
    flat = []
    for model in dict.fromkeys(one.condition.model for one in measurements):
        inputs = {
            name: {one.condition.dataset: one.counts() for one in parts}
            for (owner, name), parts in settings(measurements).items()
            if owner == model
        }
        for (one, other), difference in paired_differences(inputs).items():
            row = {"model": model, "setting": one, "other": other, "difference": difference.value}
            flat.append({**row, "low": difference.low, "high": difference.high, "p": difference.p})
    return flat


def write_results(
    folder: str | Path,
    measurements: Sequence[Measurement],
    *,
    reference: str | None = None,
    prices: tuple[float, float] | None = None,
) -> list[Path]:
    """Write the tables, the predictors of F1, a page of errors for each condition, and plots.

    Files are ``results.json``, ``results.csv``, ``results.md``, ``labels.csv`` (each label), ``differences.csv`` (any
    two settings), ``predictors.json``, with confidence ``reliability.csv`` (each bin), ``errors/*.html``, and plots (F1
    over k, F1 over label F1, precision over confidence), which are left out if matplotlib is not installed.

    Returns:
        The files.
    """
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    measured = rows(measurements, prices=prices)
    modes: tuple[Mode, Mode] = ("span", "paper")
    parts = [table(measurements, reference=reference, mode=mode, prices=prices) for mode in modes]
    predictors = correlations(measurements)
    parts += [task_table(measurements, mode=mode) for mode in modes]
    parts += [calibration_table(measurements), correlation_table(predictors)]
    texts = {
        "results.json": json.dumps(measured, ensure_ascii=False, indent=1),
        "results.csv": _csv([{name: value for name, value in row.items() if name != "labels"} for row in measured]),
        "results.md": "\n\n".join(filter(None, parts)) + "\n",
        "labels.csv": _csv(label_rows(measurements)),
        "differences.csv": _csv(difference_rows(measurements)),
        "predictors.json": json.dumps([asdict(one) | {"rho": _known(one.rho)} for one in predictors], indent=1),
    }
    if bins := reliability_rows(measurements):
        texts["reliability.csv"] = _csv(bins)
    for name, text in texts.items():
        atomic_write(base / name, text)
    pages = [_write_errors(base / "errors", one) for one in measurements]
    return [base / name for name in texts] + pages + _plots(base, measurements)


def _csv(flat: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _write_errors(folder: Path, one: Measurement) -> Path:
    from ruie_components import report

    condition = one.condition
    named = f"{condition.dataset}-{condition.model}-{condition.setting}"
    name = re.sub(r"[^\w.-]+", "_", named)
    encoded = name.encode()
    if name != named.replace("/", "_").replace(" ", "_") or len(encoded) > _LONGEST_NAME:  # tells it from a similar one
        name = f"{encoded[:_LONGEST_NAME].decode(errors='ignore')}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"
    lead = f"{condition.dataset}, {condition.setting}, {condition.model}"
    return report.write(folder / f"{name}.html", one.results, gold=one.examples, title="Errors", lead=lead)


def _plots(folder: Path, measurements: Sequence[Measurement]) -> list[Path]:
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    mpl.use("Agg")
    from matplotlib import pyplot

    written = []

    def save(figure: Any, axes: Any, name: str) -> None:
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))
        written.append(folder / name)
        figure.savefig(written[-1], dpi=150, bbox_inches="tight")
        pyplot.close(figure)

    grouped = settings(measurements)
    several = len({model for model, _ in grouped}) > 1
    lines: dict[str, list[tuple[int, Interval]]] = {}
    for parts in grouped.values():
        condition = parts[0].condition
        name = _without_k(condition, with_model=several)
        interval = f1_interval({one.condition.dataset: one.counts() for one in parts})
        lines.setdefault(name, []).append((condition.k, interval))
    if len({one.condition.k for one in measurements}) > 1:
        figure, axes = pyplot.subplots(figsize=(6, 4))
        for i, (label, points) in enumerate(lines.items()):
            points.sort()
            ks, values = [k for k, _ in points], [interval.value for _, interval in points]
            errors = [[i.value - i.low for _, i in points], [i.high - i.value for _, i in points]]
            axes.errorbar(ks, values, yerr=errors, capsize=2, label=label, **_style(i))
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.set(xlabel="demonstrations (k)", ylabel="F1 (%)", ylim=(0, None))
        save(figure, axes, "f1-over-k.png")
    if curves := {
        " ".join(key): reliability([outcome for one in parts for outcome in outcomes(one)])
        for key, parts in grouped.items()
        if any(result.confidence for one in parts for result in one.results)
    }:
        figure, axes = pyplot.subplots(figsize=(5, 5))
        axes.plot([0, 100], [0, 100], color="grey", linestyle="--", linewidth=1)
        for i, (label, bins) in enumerate(curves.items()):
            x, y = [100 * one.confidence for one in bins], [100 * one.precision for one in bins]
            axes.plot(x, y, label=label, **_style(i))
        axes.set(xlabel="confidence (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 100))
        save(figure, axes, "reliability.png")
    shown = [one for one in measurements if not math.isnan(_mean(one.label_f1))]
    if shown:
        figure, axes = pyplot.subplots(figsize=(6, 4))
        clouds: dict[str, list[Measurement]] = {}
        for one in shown:
            clouds.setdefault(_without_k(one.condition, with_model=several), []).append(one)
        for i, (label, parts) in enumerate(clouds.items()):
            x = [100 * _mean(one.label_f1) for one in parts]
            y = [100 * sum(one.counts(), Counts()).f1 for one in parts]
            axes.plot(x, y, label=label, **{**_style(i), "linestyle": "none"})
        axes.set(xlabel="label F1 of the demonstrations (%)", ylabel="F1 (%)")
        save(figure, axes, "f1-over-label-f1.png")
    return written


def _without_k(condition: Condition, *, with_model: bool) -> str:
    """What tells the lines of a plot apart that has k, or each k, as a point."""
    setting = replace(condition, k=0).setting.replace(" k=0", "", 1)
    return f"{condition.model} {setting}" if with_model else setting


def _style(i: int) -> dict[str, Any]:
    """The ``i``-th way to draw a line: colours first, then markers and dashes, so that 40 can be told apart."""
    marker, dashes = [("o", "-"), ("s", "--"), ("^", ":"), ("D", "-.")][i // 10 % 4]
    return {"color": f"C{i % 10}", "marker": marker, "linestyle": dashes, "markersize": 4}
