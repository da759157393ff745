"""Checks before a run: the models of a recipe exist, and the data suffice for one step."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ruie_components.encoders import EMBEDDED
from ruie_training.data.catalog import DataError
from ruie_training.data.settings import SCRATCH
from ruie_training.errors import TrainingError
from ruie_training.models.settings import Split
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.stage import Workload


def check_source(model: str, key: str, *, own: Collection[str] = ()) -> None:
    """Check that a checkpoint exists: a folder, or a repository in the hub or its cache.

    Args:
        model: A folder or a hub name, or one of ``own``.
        key: The key of the recipe, for the error message.
        own: Those of ``scratch`` and ``embedded`` that the key can have; they always exist.

    Raises:
        TrainingError: It is neither.
    """
    if model in own or Path(model).is_dir():
        return
    if model in (SCRATCH, EMBEDDED):
        raise TrainingError(f"{key} can't be {model!r}: give {' or '.join((*own, 'a folder or a hub name'))}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        try:
            hf_hub_download(model, "config.json")
        except EntryNotFoundError:
            hf_hub_download(model, "modules.json")  # static vectors of sentence-transformers have no config.json
    except HFValidationError:
        raise TrainingError(f"{key} = {model!r}: no such folder") from None
    except Exception as error:
        raise TrainingError(f"{key} = {model!r}: neither a folder nor a model on the hub: {error}") from error


def check_groups(groups: Split, candidates: int, section: str, keys: str) -> None:
    """Check that a query can have enough candidates for a group.

    Args:
        groups: How groups are drawn.
        candidates: The most candidates that a query can have with a score.
        section: The section of ``groups``, for the error message.
        keys: The keys that determine ``candidates``, for the error message.

    Raises:
        ValueError: Every query would be left out.
    """
    needed = groups.top + groups.size - 1
    if candidates < needed:
        raise ValueError(
            f"[{section}] groups take {needed} candidates of a query ({groups.top} positives and {groups.size - 1} "
            f"negatives), and a query has at most {candidates}: raise {keys}, or lower size or top of groups"
        )


def check_queries(context: Context, section: str, batch_size: int) -> None:
    """Check that the data have enough queries for one step of a training.

    Args:
        context: The run.
        section: The section of the recipe, for the error message.
        batch_size: Queries per step and process.

    Raises:
        DataError: There are too few queries.
    """
    queries, needed = Workload(context).queries, batch_size * context.process.world
    if queries < needed:
        raise DataError(
            f"the data have at most {queries:,} queries, and one step of [{section}] takes {needed:,}: give more rows, "
            f"raise queries_per_set of [data], or lower batch_size of [{section}.optimisation]"
        )
