"""The stage ``export``: the trained encoder as ONNX, for use without torch."""

from __future__ import annotations

import json

from ruie_training.models.settings import Distil, Export
from ruie_training.pipeline.context import ENCODER, UNTRAINED, Context
from ruie_training.pipeline.stage import Report, Stage
from ruie_training.pipeline.stages.distillation import start_of
from ruie_training.recipes import Recipe


class ExportStage(Stage[Export]):
    """Writes the encoder, compares it with the torch model, and writes the untrained one to compare with."""

    name = "export"
    settings_type = Export
    reads = ("distil",)

    def validate(self, recipe: Recipe) -> None:
        """There must be an encoder to export."""
        if recipe.section(Distil) is None:
            raise ValueError("[export] writes what [distil] trains: add a section [distil]")

    def run(self, context: Context) -> Report:
        """Export in each precision."""
        from sentence_transformers import SentenceTransformer

        from ruie_components.encoders.folder import GRAPH, EncoderConfig
        from ruie_training.data.rendering import passage_of
        from ruie_training.models.bi_encoder import load_bi_encoder
        from ruie_training.models.export import export_encoder, smallest_cosine

        recipe, settings = context.recipe, self.settings(context.recipe)
        distil = recipe.section(Distil)
        assert distil is not None
        folder, examples = context.folder(self.name), context.material.examples
        model = SentenceTransformer(str(context.folder("distil") / "model"), device="cpu")
        text = passage_of(examples, distil.keywords, distil.layout)
        sample = [text(name)[: 2 * distil.max_length] for name in list(examples)[:64]]
        config = EncoderConfig(
            name=recipe.name,
            query_prefix=distil.query_prefix,
            passage_prefix=distil.passage_prefix,
            max_tokens=distil.max_length,
            layout=distil.layout,
            keywords=distil.keywords,
            dimension=model.get_embedding_dimension(),
        )
        report: Report = {}
        for precision in ("float32", "int8") if settings.int8 else ("float32",):
            target = folder / (ENCODER if precision == settings.ship else f"{ENCODER}-{precision}")
            export_encoder(model, target, config, card=_card(context, precision), int8=precision == "int8")
            report[f"smallest cosine with torch, {precision}"] = round(smallest_cosine(model, target, sample), 6)
            report[f"bytes, {precision}"] = (target / GRAPH).stat().st_size
        start = load_bi_encoder(start_of(context, distil), distil, seed=recipe.seed).cpu()
        export_encoder(start, folder / UNTRAINED, config, card="The encoder before training.\n")
        return report


def _card(context: Context, precision: str) -> str:
    from ruie_training.models.model_card import write_card

    recipe = context.recipe
    numbers = {name: json.dumps(value) for name, value in recipe.model_dump(mode="json").items() if value is not None}
    return write_card(
        context.sets,
        title=f"Encoder of the recipe {recipe.name} ({precision})",
        recipe={**numbers, "recipe hash": recipe.content_hash(), "hash of the data": context.training_hash},
        command=f"ruie train {recipe.name} --data FOLDER --out RUN",
        how=recipe.description or f"Trained by the recipe {recipe.name}.",
    )
