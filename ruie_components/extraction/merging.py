"""Merges the shards of one corpus, extracted on several machines, into one run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruie_components.errors import RuieError
from ruie_components.extraction.pool_state import warn_if_merged
from ruie_components.extraction.run_folder import (
    POOL,
    RESULTS,
    RUN,
    SUMMARY,
    Summary,
    check_settings,
    differences,
    keep_settings,
    locked,
    whole_rows,
)
from ruie_components.files import atomic_text, atomic_write
from ruie_components.integers import counted
from ruie_components.progress import track

_SERVER = "extractor.model_settings.base_url"  # each machine may have its own


def merge_runs(
    folders: Sequence[Path | str], out: Path | str, *, overwrite: bool = False, progress: bool = True
) -> Summary:
    """Merge the rows of all shards into one folder, in the order of the corpus.

    The result is deterministic, so merging again changes nothing. Rows are read one at a time. A ``PoolChangedWarning``
    says that the pool was not the same for all.

    Args:
        folders: The folders of the shards 1/n to n/n, in any order.
        out: The folder of the merged run.
        overwrite: Replace a run of other settings or another corpus in ``out``.
        progress: Whether to show progress on stderr.

    Raises:
        RuieError: A shard is missing, given twice, incomplete, made with other settings, or in the folder ``out``.
            ``out`` has a run of other settings or another corpus, or another process is writing it.
    """
    runs = [(Path(folder), *_read(Path(folder))) for folder in folders]
    n = _same_settings(runs)
    if missing := sorted(set(range(1, n + 1)) - {run["shard"][0] for _, run, _ in runs}):
        raise RuieError(f"shard {missing[0]}/{n} is missing: give the folders of all {n} shards")
    if len(runs) > n:
        raise RuieError(f"there are {len(runs)} folders for {counted(n, 'shard')}: give each shard once")
    out = Path(out)
    if any(out.resolve() == folder.resolve() for folder, _, _ in runs):
        raise RuieError(f"{out} is one of the shards, whose rows would be lost: give another folder for the whole run")
    runs.sort(key=lambda run: run[1]["shard"][0])  # the settings of shard 1, whatever the order of the folders
    settings = {name: value for name, value in runs[0][1].items() if name != POOL}
    warn_if_merged([(folder, run) for folder, run, _ in runs], POOL)
    states = [state for _, run, _ in runs for state in run.get(POOL, ())]
    ordered = [folder for folder, _, _ in runs]
    summary = _sum([summary for _, _, summary in runs])
    with locked(out):
        check_settings(out, {**settings, "shard": None}, overwrite=overwrite)
        keep_settings(out, {**settings, "shard": None}, states)
        _merge(ordered, out, summary["documents"], overwrite=overwrite, progress=progress)
        atomic_write(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return Summary(**summary)


def _merge(folders: Sequence[Path], out: Path, total: int, *, overwrite: bool, progress: bool) -> None:
    """Write the rows of the shards, in their order, unless ``out`` has rows of another corpus."""
    parts = [whole_rows(folder / RESULTS) for folder in folders]
    earlier = whole_rows(out / RESULTS)
    with (
        track("merge", total=total, enabled=progress) as advance,
        atomic_text(out / RESULTS, errors="surrogatepass") as file,
    ):
        for i in range(total):
            folder = folders[i % len(folders)]
            _, row = next(parts[i % len(folders)], (0, None))
            if row is None:
                raise RuieError(f"{folder} has fewer rows than its {SUMMARY} says: extract it again")
            if not overwrite and _document(next(earlier, (0, row))[1]) != _document(row):
                raise _other_corpus(out)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            advance(1)
        for folder, rows in zip(folders, parts, strict=True):
            if next(rows, None) is not None:
                raise RuieError(f"{folder} has more rows than its {SUMMARY} says: extract it again")
        if not overwrite and next(earlier, None) is not None:
            raise _other_corpus(out)


def _document(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row.get("id"), row["extraction"]["text"]


def _other_corpus(out: Path) -> RuieError:
    return RuieError(f"{out} holds a run over another corpus: give another folder, or --overwrite to replace it")


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        run = json.loads((folder / RUN).read_text("utf-8"))
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
    except FileNotFoundError as error:
        raise RuieError(
            f"{folder} is not the folder of a finished run: it has no {Path(error.filename).name}"
        ) from None
    if not run.get("shard"):
        raise RuieError(f"{folder} is not a shard: it was extracted without --shard")
    if not summary["complete"]:
        raise RuieError(
            f"shard {run['shard'][0]}/{run['shard'][1]} in {folder} is not complete: extract the rest first"
        )
    return run, summary


def _same_settings(runs: Sequence[tuple[Path, dict[str, Any], dict[str, Any]]]) -> int:
    """The number of shards, of runs whose settings are the same."""
    if not runs:
        raise RuieError("there is nothing to merge: give the folders of the shards")
    (first, settings, _), *others = runs
    for folder, other, _ in others:
        if other["shard"][1] != settings["shard"][1]:
            raise RuieError(
                f"{first} is one of {counted(settings['shard'][1], 'shard')}, and {folder} one of {other['shard'][1]}: "
                "give the shards of one corpus"
            )
        left_out = {"shard": None, POOL: None}
        names = set(differences({**settings, **left_out}, {**other, **left_out}))
        if different := sorted(names - {_SERVER}):
            raise RuieError(
                f"{first} and {folder} were extracted with different settings ({', '.join(different)}): extract one of "
                "them again"
            )
    return int(settings["shard"][1])


def _sum(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = dict(summaries[0])
    for other in summaries[1:]:
        for name, value in other.items():
            if name not in ("complete", "stopped") and value is not None:
                total[name] = (total.get(name) or 0) + value
    return total
