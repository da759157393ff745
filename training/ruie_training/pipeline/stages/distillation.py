"""The stage ``distil``: a bi-encoder that learns the teacher's scores (paper, pipeline step 4)."""

from __future__ import annotations

from ruie_components.encoders import EMBEDDED
from ruie_training.data.settings import SCRATCH
from ruie_training.models.settings import Distil, Models, TransformerModel
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.sources import check_groups, check_queries, check_source
from ruie_training.pipeline.speed import TEXT_TOKENS, parameters, trained_queries
from ruie_training.pipeline.stage import Estimate, Report, Stage, Workload
from ruie_training.pipeline.stages.mining import MINED_KEYS, mined_per_query
from ruie_training.pipeline.stages.preferences import SCORED_KEYS, scored_per_query
from ruie_training.recipes import Recipe


class DistillationStage(Stage[Distil]):
    """Distils the scores of the stage reward, or of preferences, into the bi-encoder."""

    name = "distil"
    settings_type = Distil
    reads = ("mine", "models", "preferences", "reward")
    shared = True

    def validate(self, recipe: Recipe) -> None:
        """The teacher must be a stage of the recipe, with enough scores; a model from scratch needs its section."""
        settings, models = self.settings(recipe), recipe.section(Models)
        if getattr(recipe, settings.teacher, None) is None:
            raise ValueError(f'[distil] has teacher = "{settings.teacher}", and there is no such section')
        if settings.model == SCRATCH and (models is None or models.encoder is None):
            raise ValueError(f'[distil] has model = "{SCRATCH}": add a section [models.encoder]')
        start = models.encoder if models and settings.model == SCRATCH else None
        if isinstance(start, TransformerModel) and start.max_length < settings.max_length:
            raise ValueError(
                f"[distil] max_length is {settings.max_length}, and [models.encoder] reads {start.max_length} tokens"
            )
        if settings.teacher == "preferences":
            check_groups(settings.groups, scored_per_query(recipe), self.name, SCORED_KEYS)
        else:
            check_groups(settings.groups, mined_per_query(recipe), self.name, MINED_KEYS)

    def check(self, context: Context) -> None:
        """The starting model must exist, and there must be queries for one step, in a precision of this machine."""
        from ruie_training.models.trainers import check_precision

        settings = self.settings(context.recipe)
        check_precision(settings.optimisation, f"{self.name}.optimisation")
        check_source(settings.model, "[distil] model", own=(SCRATCH, EMBEDDED))
        check_queries(context, self.name, settings.optimisation.batch_size)

    def estimate(self, work: Workload) -> Estimate:
        """The number of processed texts."""
        settings, models = self.settings(work.recipe), work.recipe.section(Models)
        size = parameters(settings.model, settings.parameters, models.encoder if models else None)
        texts = trained_queries(settings.optimisation) * (1 + settings.groups.size)
        return Estimate(texts, "texts", 3 * texts * TEXT_TOKENS * 2 * size / work.speed)

    def run(self, context: Context) -> Report:
        """Train the bi-encoder."""
        from ruie_training.models.bi_encoder import load_bi_encoder, train_bi_encoder

        settings = self.settings(context.recipe)
        model = load_bi_encoder(start_of(context, settings), settings, seed=context.recipe.seed)
        teacher = context.candidates(settings.teacher)
        examples, folder = context.material.examples, context.folder(self.name)
        return train_bi_encoder(model, teacher, examples, settings, folder, **context.training_options())


def start_of(context: Context, settings: Distil) -> str:
    """The folder or name of the encoder before it is trained."""
    return str(context.folder("models") / "encoder") if settings.model == SCRATCH else settings.model
