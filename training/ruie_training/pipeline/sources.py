"""Where models come from that a recipe names: a check, before the run starts, that they are there."""

from __future__ import annotations

from pathlib import Path

from ruie_training.data.settings import EMBEDDED, SCRATCH
from ruie_training.errors import TrainingError


def check_source(model: str, key: str) -> None:
    """Check that a checkpoint is there: a folder, or a repository that the hub or its cache has.

    Args:
        model: A folder or a hub name; ``scratch`` and ``embedded`` are always there.
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
        raise TrainingError(f"{key} = {model!r}: there is no such folder") from None
    except Exception as error:
        raise TrainingError(f"{key} = {model!r}: neither a folder nor a model that the hub gives: {error}") from error
