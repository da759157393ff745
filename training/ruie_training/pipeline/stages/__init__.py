"""The stages of a run, in order. Each reads folders of earlier stages and writes its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruie_training.pipeline.stage import Stage
from ruie_training.pipeline.stages.distillation import DistillationStage
from ruie_training.pipeline.stages.evaluation import EvaluationStage
from ruie_training.pipeline.stages.export import ExportStage
from ruie_training.pipeline.stages.mining import MiningStage
from ruie_training.pipeline.stages.models import ModelsStage
from ruie_training.pipeline.stages.preferences import PreferencesStage
from ruie_training.pipeline.stages.reward import RewardStage

STAGES: Mapping[str, Stage[Any]] = {
    stage.name: stage
    for stage in (
        MiningStage(),
        ModelsStage(),
        PreferencesStage(),
        RewardStage(),
        DistillationStage(),
        ExportStage(),
        EvaluationStage(),
    )
}
"""By name. A new stage gets an entry here."""

__all__ = ["STAGES"]
