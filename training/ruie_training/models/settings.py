"""The sections ``[models]``, ``[reward]``, ``[distil]`` and ``[export]`` of a recipe."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_training.data.settings import Positive, Section, Seed


class Optimisation(Section):
    """How a model is trained, in optimiser steps (AdamW, linear decay)."""

    operational: ClassVar[frozenset[str]] = frozenset({"checkpoint_steps", "log_steps"})

    learning_rate: float = Field(gt=0)
    """The highest, after the warm-up."""
    steps: Positive
    """Optimiser steps."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the learning rate rises from 0."""
    batch_size: Positive
    """Queries per step and device."""
    accumulation: Positive = 1
    """Batches per optimiser step."""
    weight_decay: float = Field(0.0, ge=0)
    """Of AdamW."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """Of the computation. ``fp16`` needs a GPU."""
    checkpoint_steps: Positive = 500
    """Steps between two checkpoints."""
    log_steps: Positive = 50
    """Steps between two lines of ``metrics.jsonl``."""


class Split(Section):
    """How groups are drawn from scored candidates."""

    size: int = Field(ge=2)
    """Passages per group: one positive, the others negatives."""
    top: Positive = 3
    """How many of the best candidates are positives."""
    bottom: int = Field(16, ge=-1)
    """How many of the worst candidates are negatives. -1: all that are not positives."""

    @model_validator(mode="after")
    def _negatives_suffice(self) -> Split:
        if self.bottom != -1 and self.bottom < self.size - 1:
            raise ValueError(f"a group of {self.size} takes {self.size - 1} negatives, and bottom is {self.bottom}")
        return self


class Reward(Section):
    """The cross-encoder that learns the preferences and then scores every candidate."""

    operational: ClassVar[frozenset[str]] = frozenset({"score_batch", "parameters"})

    model: str
    """A folder, a hub name, or ``scratch``."""
    keywords: KeywordStrategy = KeywordStrategy.PLAIN
    """How annotated spans are tagged on both sides: ``none``, ``plain`` (paper), ``typed``, ``heads``."""
    layout: Layout = Layout.BLOCK
    """What is read of an example: ``block`` (paper), the whole block, or ``input``, the text alone."""
    max_length: Positive = 512
    """Tokens of query and candidate together."""
    groups: Split = Split(size=8)
    """How groups are drawn from the scored candidates."""
    optimisation: Optimisation
    """Steps, batch size, learning rate."""
    score_batch: Positive = 256
    """Pairs scored at a time."""
    seed: Seed | None = None
    """None: the recipe's."""
    parameters: float | None = None
    """In billions, for the time estimate only."""


class Distil(Section):
    """The bi-encoder that learns the teacher's scores."""

    operational: ClassVar[frozenset[str]] = frozenset({"parameters"})

    model: str
    """A folder, a hub name, ``scratch``, or ``embedded``: the token vectors of the encoder in the package."""
    teacher: Literal["reward", "preferences"] = "reward"
    """The stage whose scores are distilled."""
    teacher_scale: float = Field(1.0, gt=0)
    """The teacher's scores are multiplied by this before their softmax."""
    keywords: KeywordStrategy = KeywordStrategy.PLAIN
    """How annotated spans of passages are tagged: ``none``, ``plain`` (paper), ``typed``, ``heads``."""
    layout: Layout = Layout.BLOCK
    """What is read of an example: ``block`` (paper), the whole block, or ``input``, the text alone."""
    query_prefix: str = "query: "
    """Put before every query."""
    passage_prefix: str = "passage: "
    """Put before every passage."""
    max_length: Positive = 512
    """Tokens of a text; longer texts are truncated."""
    groups: Split = Split(size=4)
    """How groups are drawn from the teacher's scores."""
    temperature: float = Field(0.01, gt=0)
    """The cosines are divided by this."""
    contrastive_weight: float = Field(0.2, ge=0)
    """Of the contrastive loss."""
    divergence_weight: float = Field(1.0, ge=0)
    """Of the divergence from the teacher."""
    freeze_positions: bool = True
    """Position embeddings keep their values (paper); no effect on models without them."""
    optimisation: Optimisation
    """Steps, batch size, learning rate."""
    parameters: float | None = None
    """In billions, for the time estimate only."""

    @model_validator(mode="after")
    def _has_a_loss(self) -> Distil:
        if not self.contrastive_weight and not self.divergence_weight:
            raise ValueError("contrastive_weight and divergence_weight are both 0, so nothing would be learned")
        return self


class Export(Section):
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


class VocabularyTeacher(Section):
    """A pre-trained sentence encoder whose vectors of single tokens become a part of the token vectors."""

    model: str
    """A folder or a hub name."""
    dimensions: Positive = 256
    """Principal components of the teacher's vectors that are kept."""
    dropped: int = Field(4, ge=0)
    """The number of leading principal components that are left out: they hold what all tokens share."""
    weight: float = Field(0.42, ge=0)
    """Length of a rare token's vector in this part, relative to the random part."""
    smoothing: float = Field(1e-3, gt=0)
    """A token of relative frequency p counts ``smoothing / (smoothing + p)``."""


class StaticModel(Section):
    """Token vectors and their mean: random directions, a singular value decomposition, a pre-trained teacher."""

    kind: Literal["static"]
    """Always ``static``."""
    random: int = Field(512, ge=1)
    """Dimensions of the random directions."""
    svd: int = Field(64, ge=0)
    """Dimensions of the singular value decomposition. 0: none."""
    svd_weight: float = Field(0.3, ge=0)
    """Length of a token's vector in the second part, relative to the first."""
    teacher: VocabularyTeacher | None = None
    """A pre-trained encoder that gives the vectors a third part. None: they are made from the training texts alone."""


class TransformerModel(Section):
    """A small transformer with random weights."""

    kind: Literal["transformer"]
    """Always ``transformer``."""
    hidden: Positive = 128
    """Width of a layer."""
    layers: Positive = 2
    """Number of layers."""
    heads: Positive = 4
    """Attention heads of a layer."""
    max_length: Positive = 512
    """The longest input, in tokens."""

    @model_validator(mode="after")
    def _heads_divide_a_layer(self) -> TransformerModel:
        if self.hidden % self.heads:
            raise ValueError(f"hidden must be a multiple of heads, got {self.hidden} and {self.heads}")
        return self


class LanguageModel(TransformerModel):
    """A small decoder, trained on prompts with one demonstration each."""

    optimisation: Optimisation
    """Steps, batch size, learning rate."""
    texts: Positive = 20_000
    """Prompts to train on."""


class Models(Section):
    """Models trained from scratch on the training texts."""

    vocabulary: Positive = 8000
    """Tokens of each tokenizer."""
    language_model: LanguageModel | None = None
    """The LLM whose preferences are learned."""
    cross_encoder: TransformerModel | None = None
    """The reward model."""
    encoder: Annotated[StaticModel | TransformerModel, Field(discriminator="kind")] | None = None
    """The bi-encoder."""
