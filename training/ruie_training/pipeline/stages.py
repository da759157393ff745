"""The stages of a run. Each reads the folders of the stages before it and writes its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ruie_training.data.candidates import Candidates, whole_file
from ruie_training.data.catalog import DataSet, choose, read_catalog
from ruie_training.data.sampling import Material, chosen_sets, read_material
from ruie_training.pipeline.manifest import hash_files
from ruie_training.pipeline.shards import Worker, score_in_parts
from ruie_training.recipes import SCRATCH, Distil, Recipe, without_means

CANDIDATES = "candidates.jsonl.gz"
"""What mine, preferences and reward write."""
ENCODER, UNTRAINED = "encoder", "untrained"
"""The folders of the exported encoder that ships, and of the one it started as, in the export stage's folder."""

Report = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """What every stage may use."""

    recipe: Recipe
    data: Path
    run: Path
    worker: Worker = field(default_factory=Worker)
    progress: bool = True
    tensorboard: bool = False

    @property
    def metrics(self) -> Path:
        """The JSONL file that all stages append to."""
        return self.run / "metrics.jsonl"

    @cached_property
    def sets(self) -> list[DataSet]:
        """The sets trained on."""
        return chosen_sets(self.data, self.recipe.data)

    @cached_property
    def evaluation_sets(self) -> list[DataSet]:
        """The sets measured on."""
        settings = self.recipe.evaluate
        if settings is None:
            return []
        roles = None if settings.sets else settings.roles
        return choose(read_catalog(self.data), names=settings.sets, roles=roles, tasks=settings.tasks)

    @cached_property
    def material(self) -> Material:
        """The examples trained on."""
        return read_material(self.sets, self.recipe.data, self.recipe.seed)

    @cached_property
    def data_hash(self) -> str:
        """A hash over the files trained on."""
        return hash_files(dataset.folder / "train.jsonl.gz" for dataset in self.sets)

    @cached_property
    def evaluation_hash(self) -> str:
        """A hash over the files measured on."""
        return hash_files(path for found in self.evaluation_sets for path in sorted(found.folder.glob("*.jsonl.gz")))

    def folder(self, stage: str) -> Path:
        """The folder of a stage."""
        return self.run / stage

    def candidates(self, stage: str) -> Candidates:
        """What mine, preferences or reward wrote."""
        return Candidates.load(self.folder(stage) / CANDIDATES)

    def training_options(self) -> dict[str, Any]:
        """Keyword options of every stage that trains."""
        return {
            "seed": self.recipe.seed,
            "metrics": self.metrics,
            "progress": self.progress,
            "tensorboard": self.tensorboard,
        }


def mine(context: Context) -> Report:
    """The candidates of every query over the pool of its set."""
    from ruie_components.encoders import load_encoder
    from ruie_training.mining.bm25 import mine_sets
    from ruie_training.mining.dense import add_random, by_set, mine_dense

    material, settings = context.material, context.recipe.mine
    if settings.by == "bm25":
        found = mine_sets(material.queries, material.pool, k=settings.k, progress=context.progress)
    else:
        found = mine_dense(material.queries, material.pool, load_encoder(), k=settings.k, progress=context.progress)
    if settings.random:
        pools = by_set(material.pool).values()
        found = add_random(found, material.examples, pools, settings.random, context.recipe.seed)
    found.save(context.folder("mine") / CANDIDATES)
    sets = [dataset.name for dataset in context.sets]
    dropped = {**material.dropped, **found.dropped}
    return {"sets": sets, "pool": len(material.pool), "queries": len(found), "pairs": found.pairs, "dropped": dropped}


def models(context: Context) -> Report:
    """Tokenizers and small models from nothing but the training texts."""
    from ruie_training.pipeline.from_scratch import make_models

    return make_models(context)


def preferences(context: Context) -> Report:
    """The LLM's score of each pair, in parts that a killed run need not do again."""
    from ruie_training.pipeline.scorers import make_judge
    from ruie_training.preferences import agreement_of_ends, check_scored

    settings = context.recipe.preferences
    assert settings is not None
    folder = context.folder("preferences")
    judge = make_judge(context, settings)
    scored = score_in_parts(context.candidates("mine"), judge, folder / "parts", worker=context.worker)
    check_scored(scored)
    if context.worker.is_first:
        scored.save(folder / CANDIDATES)
    report = {"queries": len(scored), "pairs": scored.pairs, "kind": scored.kind, "dropped": dict(scored.dropped)}
    return {**report, **agreement_of_ends(scored, context.material.examples)}


def reward(context: Context) -> Report:
    """Train the cross-encoder, then score every candidate with it."""
    from ruie_training.models.cross_encoder import count_cut_pairs, load_cross_encoder, score_candidates, train_reward
    from ruie_training.preferences import agreement_of_ends

    settings = context.recipe.reward
    assert settings is not None
    folder, examples = context.folder("reward"), context.material.examples
    report: Report = _saved_report(folder)
    if not report:
        source = context.folder("models") / "cross_encoder" if settings.model == SCRATCH else settings.model
        options = context.training_options() | ({} if settings.seed is None else {"seed": settings.seed})
        seed = options["seed"]
        model = load_cross_encoder(source, keywords=settings.keywords, max_length=settings.max_length, seed=seed)
        report = train_reward(model, context.candidates("preferences"), examples, settings, folder, **options)
        _save_report(context, folder, report)
    else:
        model = load_cross_encoder(folder / "model", keywords=settings.keywords, max_length=settings.max_length)
    mined = context.candidates("mine")
    scored = score_in_parts(
        mined,
        lambda part: score_candidates(model, part, examples, settings),
        folder / "parts",
        worker=context.worker,
        label="reward scores" if context.progress else None,
    )
    if context.worker.is_first:
        scored.save(folder / CANDIDATES)
        report["pairs cut"] = count_cut_pairs(model, mined, examples, settings)
    return {**report, "pairs": scored.pairs, **agreement_of_ends(scored, examples)}


def _saved_report(folder: Path) -> Report:
    """What the training of a stage reported, where it was done before the run was killed."""
    path = folder / "training.json"
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def _save_report(context: Context, folder: Path, report: Report) -> None:
    if context.worker.is_first:
        with whole_file(folder / "training.json") as file:
            file.write(json.dumps(report))


def distil(context: Context) -> Report:
    """Distil the teacher's scores into the bi-encoder."""
    from ruie_training.models.bi_encoder import train_bi_encoder

    settings = context.recipe.distil
    assert settings is not None
    model = _start(context, settings)
    teacher = context.candidates(settings.teacher)
    examples, folder = context.material.examples, context.folder("distil")
    return train_bi_encoder(model, teacher, examples, settings, folder, **context.training_options())


def _start(context: Context, settings: Distil) -> Any:
    """The encoder before it is trained."""
    from ruie_training.models.bi_encoder import load_bi_encoder

    source = context.folder("models") / "encoder" if settings.model == SCRATCH else settings.model
    return load_bi_encoder(source, settings, seed=context.recipe.seed)


def export(context: Context) -> Report:
    """Write the trained encoder as ONNX, compare it with the torch model, and write the untrained one to measure by."""
    from sentence_transformers import SentenceTransformer

    from ruie_training.data.rendering import passage_of
    from ruie_training.models.export import export_encoder, vector_agreement

    settings, distilled = context.recipe.export, context.recipe.distil
    assert settings is not None
    assert distilled is not None
    folder, examples = context.folder("export"), context.material.examples
    model = SentenceTransformer(str(context.folder("distil") / "model"), device="cpu")
    text = passage_of(examples, distilled.keywords, distilled.layout)
    sample = [text(name)[: 2 * distilled.max_length] for name in list(examples)[:64]]
    written = encoder_settings(context.recipe, distilled)
    report: Report = {}
    for kind in ("float32", "int8") if settings.int8 else ("float32",):
        target = folder / (ENCODER if kind == settings.ship else f"{ENCODER}-{kind}")
        card = _card(context, kind)
        export_encoder(model, target, written, card=card, int8=kind == "int8")
        report[f"smallest cosine with torch, {kind}"] = round(vector_agreement(model, target, sample), 6)
        report[f"bytes, {kind}"] = (target / "encoder.onnx").stat().st_size
    if context.recipe.evaluate:
        start = _start(context, distilled).cpu()
        export_encoder(start, folder / UNTRAINED, written, card="The encoder before training.\n")
    return report


def encoder_settings(recipe: Recipe, settings: Distil) -> Any:
    """What an encoder of this recipe says in its ``encoder.json``."""
    from ruie_training.models.export import EncoderSettings

    return EncoderSettings(
        name=recipe.name,
        query_prefix=settings.query_prefix,
        passage_prefix=settings.passage_prefix,
        max_tokens=settings.max_length,
        layout=settings.layout,
        keywords=settings.keywords,
    )


def _card(context: Context, kind: str) -> str:
    from ruie_training.models.model_card import write_card

    recipe = context.recipe
    numbers = {name: json.dumps(value) for name, value in recipe.model_dump(mode="json").items() if value is not None}
    return write_card(
        context.sets,
        title=f"Encoder of the recipe {recipe.name} ({kind})",
        recipe={**numbers, "recipe hash": recipe.content_hash(), "hash of the data": context.data_hash},
        command=f"ruie train {recipe.name} --data FOLDER --out RUN",
        how=recipe.description or f"Trained by the recipe {recipe.name}.",
    )


def evaluate(context: Context) -> Report:
    """Agreement, coverage and, if asked for, likelihood of the encoder beside random, BM25 and the oracle."""
    from ruie_training.evaluation.retrieval import evaluate as measure
    from ruie_training.evaluation.tables import table, write_results
    from ruie_training.models.model_card import add_figures
    from ruie_training.pipeline.scorers import make_evaluator

    settings = context.recipe.evaluate
    assert settings is not None
    queries = settings.queries if settings.queries is not None else 1_000_000
    figures = measure(
        context.evaluation_sets,
        _retrievers(context),
        (settings.k,),
        queries=queries,
        seed=context.recipe.seed,
        llm=make_evaluator(context),
        llm_queries=settings.likelihood_queries,
        progress=context.progress,
    )
    write_results(figures, context.folder("evaluate"))
    if context.recipe.export:
        add_figures(context.folder("export") / ENCODER, table(figures, settings.k))
    averages = [asdict(figure) for figure in figures if figure.dataset == "average"]
    return {"sets": [dataset.name for dataset in context.evaluation_sets], "averages": averages}


def _retrievers(context: Context) -> Mapping[str, Any]:
    from ruie_components.encoders import load_encoder
    from ruie_training.evaluation.rankers import by_each_method, in_every_table, rank_by_encoder

    found: dict[str, Any] = {}
    if context.recipe.export:
        for name, folder in (("untrained", UNTRAINED), ("trained", ENCODER)):
            found |= by_each_method(name, rank_by_encoder(load_encoder(context.folder("export") / folder)))
    return in_every_table(found, seed=context.recipe.seed)


@dataclass(frozen=True)
class Stage:
    """A stage: what it does, which sections of the recipe it depends on, and which stages it reads."""

    name: str
    work: Callable[[Context], Report]
    sections: Sequence[str]
    """Names of sections, or of a key of one, such as ``distil.layout``."""
    shared: bool = False
    """Whether all processes take part; otherwise the first one works and the others wait."""

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        """The stages whose folders it reads."""
        return tuple(name for name in _READS[self.name] if name in stages_of(recipe))

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """What of a recipe its result depends on; None for what the recipe does not have."""
        content = without_means(recipe.model_dump(mode="json"))
        return {name: _part(content, name) for name in self.sections}


def _part(content: dict[str, Any], name: str) -> Any:
    section, _, key = name.partition(".")
    return (content[section] or {}).get(key) if key else content[section]


_READS: Mapping[str, tuple[str, ...]] = {
    "mine": (),
    "models": ("mine",),
    "preferences": ("mine", "models"),
    "reward": ("mine", "models", "preferences"),
    "distil": ("mine", "models", "preferences", "reward"),
    "export": ("distil",),
    "evaluate": ("export", "models"),
}

STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("mine", mine, ("data", "mine")),
        Stage("models", models, ("models", "distil.layout"), shared=True),
        Stage("preferences", preferences, ("preferences",), shared=True),
        Stage("reward", reward, ("reward",), shared=True),
        Stage("distil", distil, ("distil",), shared=True),
        Stage("export", export, ("export",)),
        Stage("evaluate", evaluate, ("evaluate", "preferences")),
    )
}


def stages_of(recipe: Recipe) -> list[str]:
    """The stages of a recipe, in order: mine, and those that it has a section for."""
    return [name for name in STAGES if name == "mine" or getattr(recipe, name) is not None]
