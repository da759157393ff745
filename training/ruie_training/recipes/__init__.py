"""Recipes: what a run trains, from what and how, as TOML files that are checked before anything starts."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ruie_components.errors import explain
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_components.types import Task
from ruie_training.data.catalog import Role
from ruie_training.errors import RecipeError

SCRATCH = "scratch"
"""As a model's name: the one that the stage ``models`` makes."""

MEANS = {
    *("batch_tokens", "checkpoint_steps", "concurrency", "key_variable", "log_steps", "parameters"),
    *("retries", "score_batch", "timeout", "url", "urls"),
}
"""Keys that say by what means something is made: a stage that is done, or half done, stays so when they change."""

Positive = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimisation(_Section):
    """How a model is trained, in optimiser steps (AdamW, linear decay)."""

    learning_rate: float = Field(gt=0)
    steps: Positive
    warmup_steps: int = Field(0, ge=0)
    batch_size: Positive
    """Queries a step and device."""
    accumulation: Positive = 1
    weight_decay: float = Field(0.0, ge=0)
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    checkpoint_steps: Positive = 500
    log_steps: Positive = 50


class Data(_Section):
    """Which sets of the data folder are trained on, and how much of them."""

    sets: tuple[str, ...] | None = None
    """``TASK/NAME`` of each; None: all that the other keys let pass."""
    roles: tuple[Role, ...] = (Role.HELD_IN,)
    permissive: bool | None = None
    tasks: tuple[Task, ...] | None = None
    languages: tuple[str, ...] | None = None
    pool_per_set: Positive | None = None
    """Demonstrations drawn from each set; None: all."""
    queries_per_set: Positive | None = None
    """Training queries drawn from each pool; None: all of it."""
    empty_share: float = Field(0.05, ge=0, le=1)
    """At most this share of a pool has nothing annotated."""


class Mine(_Section):
    """The candidates of every query."""

    k: Positive = 100
    by: Literal["bm25", "embedded"] = "bm25"
    """BM25 (paper), or the nearest by the encoder that comes with the package."""
    random: int = Field(0, ge=0)
    """So many random candidates more, from the query's own set."""


class LocalModel(_Section):
    """Scores pairs by a transformers model on this machine."""

    scorer: Literal["local"]
    model: str
    """A path, a hub name, or ``scratch``."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    batch_tokens: Positive = 8192
    parameters: float | None = None
    """In billions; for the time estimate only."""


class ServedModel(_Section):
    """Scores pairs by a server with OpenAI-style completions that return prompt log-probabilities."""

    scorer: Literal["served"]
    model: str
    urls: tuple[str, ...] = Field(min_length=1)
    """Base URLs; the pairs are shared out among them."""
    concurrency: Positive = 16
    retries: int = Field(6, ge=0)
    """How often a request that failed on its way is tried again."""
    timeout: float = Field(120.0, gt=0)
    """Seconds that a request may take."""
    key_variable: str | None = None
    """The environment variable with the server's API key; a key itself has no place in a recipe."""
    tokenizer: str | None = None
    """Path or hub name of the model's tokenizer: prompts are then sent as tokens."""
    protocol: Literal["echo", "prompt_logprobs"] = "echo"


class Outcome(_Section):
    """Scores pairs by the F1 of the answer that an Ollama model gives with that one demonstration."""

    scorer: Literal["outcome"]
    model: str
    url: str = "http://localhost:11434"
    concurrency: Positive = 4


class NoModel(_Section):
    """Scores pairs without an LLM: by agreement of the labels, or keeps the BM25 score."""

    scorer: Literal["agreement", "bm25"]


Scorer = Annotated[LocalModel | ServedModel | Outcome | NoModel, Field(discriminator="scorer")]


class Preferences(_Section):
    """The LLM's preference for each pair of candidate and query."""

    by: Scorer
    per_query: Positive = 32
    choose: Literal["random", "top", "spread"] = "random"
    keywords: KeywordStrategy = KeywordStrategy.NONE
    """Whether the LLM sees keyword tags. The reference shows them, which gives the answer away."""

    @model_validator(mode="after")
    def _tags_are_seen(self) -> Preferences:
        if self.keywords is not KeywordStrategy.NONE and not isinstance(self.by, LocalModel | ServedModel):
            raise ValueError(
                f'keywords = "{self.keywords}" is for the prompts of scorer = "local" or "served"; '
                f'scorer = "{self.by.scorer}" shows no tags'
            )
        return self


class Split(_Section):
    """How groups are drawn from scored candidates."""

    size: int = Field(ge=2)
    """Passages a group: one positive, the others negatives."""
    top: Positive = 3
    bottom: int = Field(16, ge=-1)
    """How many of the worst are negatives; -1: all that are no positives."""

    @model_validator(mode="after")
    def _negatives_suffice(self) -> Split:
        if self.bottom != -1 and self.bottom < self.size - 1:
            raise ValueError(f"a group of {self.size} takes {self.size - 1} negatives, and bottom is {self.bottom}")
        return self


class Reward(_Section):
    """The cross-encoder that learns the preferences and then scores every candidate."""

    model: str
    keywords: KeywordStrategy = KeywordStrategy.PLAIN
    layout: Layout = Layout.BLOCK
    max_length: Positive = 512
    """Tokens of query and candidate together."""
    groups: Split = Split(size=8)
    optimisation: Optimisation
    score_batch: Positive = 256
    seed: int | None = None
    """None: the recipe's."""
    parameters: float | None = None
    """In billions; for the time estimate only."""


class Distil(_Section):
    """The bi-encoder that learns the teacher's scores."""

    model: str
    teacher: Literal["reward", "preferences"] = "reward"
    teacher_scale: float = Field(1.0, gt=0)
    """The teacher's scores are multiplied by this before their softmax."""
    keywords: KeywordStrategy = KeywordStrategy.PLAIN
    layout: Layout = Layout.BLOCK
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "
    max_length: Positive = 512
    groups: Split = Split(size=4)
    temperature: float = Field(0.01, gt=0)
    contrastive_weight: float = Field(0.2, ge=0)
    divergence_weight: float = Field(1.0, ge=0)
    freeze_positions: bool = True
    """Position embeddings stay as they are (paper); means nothing to a model without them."""
    optimisation: Optimisation
    parameters: float | None = None
    """In billions; for the time estimate only."""


class Export(_Section):
    """The encoder as ONNX, to be used without torch."""

    int8: bool = True
    """Also write it with 8-bit weights."""
    ship: Literal["float32", "int8"] = "float32"
    """Which of the two is ``encoder.onnx`` of the folder ``encoder``."""

    @model_validator(mode="after")
    def _is_written(self) -> Export:
        if self.ship == "int8" and not self.int8:
            raise ValueError('ship = "int8" needs int8 = true')
        return self


class Evaluate(_Section):
    """Retrieval over sets that were not trained on."""

    sets: tuple[str, ...] | None = None
    roles: tuple[Role, ...] = (Role.HELD_OUT,)
    tasks: tuple[Task, ...] | None = None
    k: Positive = 8
    queries: Positive | None = 300
    """Test queries a set."""
    likelihood: bool = False
    """Also measure the likelihood of the gold answers, by the LLM of ``[preferences.by]``."""
    likelihood_queries: Positive | None = 100
    """Of the queries of a set, so many are put to the LLM; None: all."""


class StaticModel(_Section):
    """Token vectors and their mean: random directions beside a singular value decomposition (``static.py``)."""

    kind: Literal["static"]
    random: int = Field(512, ge=1)
    svd: int = Field(64, ge=0)
    svd_weight: float = Field(0.3, ge=0)


class TransformerModel(_Section):
    """A small transformer with random weights."""

    kind: Literal["transformer"]
    hidden: Positive = 128
    layers: Positive = 2
    heads: Positive = 4
    max_length: Positive = 512


class LanguageModel(TransformerModel):
    """A small decoder, trained on prompts with one demonstration each."""

    optimisation: Optimisation
    texts: Positive = 20_000
    """Prompts to train on."""


class Models(_Section):
    """Models made from nothing but the training texts."""

    vocabulary: Positive = 8000
    language_model: LanguageModel | None = None
    cross_encoder: TransformerModel | None = None
    encoder: Annotated[StaticModel | TransformerModel, Field(discriminator="kind")] | None = None


class Recipe(_Section):
    """A whole run. A section that is absent is a stage that is left out."""

    name: str = Field(min_length=1)
    description: str = ""
    seed: int = 123
    data: Data = Data()
    models: Models | None = None
    mine: Mine = Mine()
    preferences: Preferences | None = None
    reward: Reward | None = None
    distil: Distil | None = None
    export: Export | None = None
    evaluate: Evaluate | None = None

    @model_validator(mode="after")
    def _stages_fit(self) -> Recipe:
        if self.reward and not self.preferences:
            raise ValueError("[reward] learns from preferences: add a section [preferences]")
        if self.distil and getattr(self, self.distil.teacher) is None:
            raise ValueError(f'[distil] has teacher = "{self.distil.teacher}", and there is no such section')
        if self.export and not self.distil:
            raise ValueError("[export] writes what [distil] trains: add a section [distil]")
        if self.evaluate and self.evaluate.likelihood and not self._has_likelihoods():
            raise ValueError(
                "[evaluate] likelihood = true asks an LLM for log-likelihoods: add [preferences.by] with "
                'scorer = "local" or "served"'
            )
        for section, part in (("preferences", "language_model"), ("reward", "cross_encoder"), ("distil", "encoder")):
            if self._is_scratch(section) and (self.models is None or getattr(self.models, part) is None):
                raise ValueError(f'[{section}] has model = "{SCRATCH}": add a section [models.{part}]')
        return self

    def _is_scratch(self, section: str) -> bool:
        settings = getattr(self, section)
        if section == "preferences" and settings:
            settings = settings.by
        return getattr(settings, "model", None) == SCRATCH

    def _has_likelihoods(self) -> bool:
        return self.preferences is not None and isinstance(self.preferences.by, LocalModel | ServedModel)

    def content_hash(self) -> str:
        """A hash of everything but the description: 16 hexadecimal digits."""
        return hash_of(self.model_dump(mode="json", exclude={"description"}))


def hash_of(value: object) -> str:
    """A hash of a JSON value: 16 hexadecimal digits, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]


def without_means(value: Any) -> Any:
    """A part of a recipe as JSON without the keys of ``MEANS``, at any depth.

    >>> without_means({"by": {"model": "x", "urls": ["http://localhost"]}})
    {'by': {'model': 'x'}}
    """
    if not isinstance(value, Mapping):
        return value
    return {key: without_means(part) for key, part in value.items() if key not in MEANS}


def built_in() -> dict[str, Path]:
    """The recipes that come with this package, by name."""
    folder = Path(str(files("ruie_training").joinpath("recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name: A TOML file, or the name of a recipe of this package, with or without ``.toml``.

    Raises:
        RecipeError: No such recipe, no TOML, an unknown key, a value out of range. The message names file and key.
    """
    path = _find(name)
    try:
        return Recipe.model_validate(_read(path, ()))
    except ValidationError as error:
        raise RecipeError(f"{path} can't be used as a recipe: {explain(error, most=20)}") from error


def _find(name: str | Path, beside: Path | None = None) -> Path:
    candidates = [Path(name)] if beside is None else [beside / f"{str(name).removesuffix('.toml')}.toml"]
    found = next((path for path in candidates if path.is_file()), built_in().get(str(name).removesuffix(".toml")))
    if found is None:
        raise RecipeError(f"no recipe {str(name)!r}: give a TOML file, or one of {', '.join(built_in())}")
    return found


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """A recipe's tables, with what it extends below them and without the sections that it drops."""
    if path in above:
        raise RecipeError(f"{path} extends itself, by way of {' and '.join(str(found) for found in above)}")
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML file: {error}") from error
    base, dropped = content.pop("extends", None), content.pop("drop", [])
    if base is None:
        return content
    below = _read(_find(base, path.parent), (*above, path))
    for name in dropped:
        if not _drop(below, name.split(".")):
            raise RecipeError(f"{path} drops {name}, and {base} has no such section")
    return _merge(below, content)


def _drop(table: dict[str, Any], name: list[str]) -> bool:
    """Take out a table by its dotted name; False where there is none."""
    *parents, last = name
    for parent in parents:
        table = table.get(parent, {})
    return table.pop(last, None) is not None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known: Any = merged.get(key)
        # another scorer has other keys: its table replaces the one below
        extends = isinstance(known, dict) and isinstance(value, dict) and "scorer" not in value
        merged[key] = _merge(known, value) if extends else value
    return merged
