"""Checks before a run: the models of a recipe exist, and the data suffice for one step."""

from __future__ import annotations

from pathlib import Path

from ruie_components.encoders import EMBEDDED
from ruie_training.data.catalog import DataError
from ruie_training.data.settings import SCRATCH
from ruie_training.errors import TrainingError
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.stage import Workload


def check_source(model: str, key: str) -> None:
    """Check that a checkpoint exists: a folder, or a repository in the hub or its cache.

    Args:
        model: A folder or a hub name; ``scratch`` and ``embedded`` always exist.
        key: The key of the recipe, for the error message.

    Raises:
        TrainingError: It is neither.
    """
    if model in (SCRATCH, EMBEDDED) or Path(model).is_dir():
        return
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        hf_hub_download(model, "config.json")
    except HFValidationError:
        raise TrainingError(f"{key} = {model!r}: no such folder") from None
    except Exception as error:
        raise TrainingError(f"{key} = {model!r}: neither a folder nor a model on the hub: {error}") from error


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
