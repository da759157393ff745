"""The public name of the distillation loss (paper, pipeline step 4)."""

from ruie_training.models.losses import RUIEDistillationLoss, distillation_loss

__all__ = ["RUIEDistillationLoss", "distillation_loss"]
