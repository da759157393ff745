"""Builds the encoder of static token vectors that ships with the package, with or without a pre-trained teacher.

A text's vector is the weighted sum of its tokens' vectors. A token's weight is its inverse document
frequency. Its vector joins a random direction, which distinguishes words as BM25 does, and its coordinates in a
singular value decomposition of TF-IDF, which brings together words of the same texts. Both are then trained on labels
(``distillation``).

With ``--teacher`` a pre-trained sentence encoder replaces the decomposition: its vectors of single tokens bring words
together (``models.vocabulary_teacher``).

``python -m ruie_training.static.build --data FOLDER --out FOLDER`` reads the permissive sets that are not held out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components import prompts
from ruie_components.adaptation.token_bags import token_bags
from ruie_components.encoders.folder import EncoderConfig
from ruie_components.encoders.static import TokenVectors, write_static_encoder
from ruie_components.keywords import KeywordStrategy
from ruie_components.labels import count_matrices
from ruie_components.prompts import Layout
from ruie_components.types import Example
from ruie_training.data.catalog import training_sets
from ruie_training.models.model_card import rows_of, write_card
from ruie_training.models.settings import VocabularyTeacher
from ruie_training.models.token_vectors import (
    SPECIAL_TOKENS,
    inverse_document_frequency,
    token_vectors,
    train_tokenizer,
)
from ruie_training.models.vocabulary_teacher import join_teacher
from ruie_training.static.distillation import StaticDistillation, TrainingSet, distil

HOW = """\
A text's vector is the unit vector along the sum of its tokens' vectors. A token's vector starts as a random direction
joined with the token's coordinates in a singular value decomposition of TF-IDF, and its weight as its inverse document
frequency. The table holds small integers with a step for each token. No pre-trained weights were used."""
HOW_TAUGHT = """\
A text's vector is the unit vector along the sum of its tokens' vectors. A token's vector starts as a random direction,
weighted by its inverse document frequency, joined with the token's vector by a pre-trained sentence encoder (its
principal components without the first ones), weighted by smooth inverse frequency. The table holds small integers with
a step for each token."""
HOW_DISTILLED = """\
Vectors and weights were then trained so that the cosines of a query with the passages of its batch follow a teacher:
the F1 of the gold labels, and the exact TF-IDF cosine."""
HOW_NOT_DISTILLED = "Nothing was fitted to labels."

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class StaticRecipe:
    """The numbers of a static encoder."""

    vocabulary: int = 30_000
    random: int = 960
    """Dimensions of the random directions."""
    svd: int = 64
    """Dimensions of the singular value decomposition. 0: none."""
    svd_weight: float = 0.3
    """The length of a token's vector in that part, relative to the random one."""
    teacher: VocabularyTeacher | None = None
    """A pre-trained sentence encoder that gives the vectors a third part."""
    count_exponent: float = 0.7
    """A token that occurs c times in a text counts ``c ** count_exponent`` times."""
    bits: int = 4
    """Bits of each number in the table: 4 or 8."""
    layout: Layout = Layout.INPUT
    keywords: KeywordStrategy = KeywordStrategy.PLAIN
    max_tokens: int = 512
    seed: int = 0
    distillation: StaticDistillation | None = field(default_factory=StaticDistillation)


def passages(examples: Sequence[Example], recipe: StaticRecipe, keywords: KeywordStrategy | None = None) -> list[str]:
    """The passages of demonstrations, by default with the keyword tags of the recipe."""
    strategy = recipe.keywords if keywords is None else keywords
    return [prompts.render_passage(example, strategy, recipe.layout) for example in examples]


def training_set(tokenizer: Any, examples: Sequence[Example], recipe: StaticRecipe) -> TrainingSet:
    """A set's examples as queries and passages, for ``distil``."""
    queries = [prompts.render_search_query(example.query, recipe.layout) for example in examples]
    _, text = np.unique([example.text for example in examples], return_inverse=True)
    return TrainingSet(
        token_bags(tokenizer, queries, recipe.max_tokens),
        token_bags(tokenizer, passages(examples, recipe), recipe.max_tokens),
        count_matrices(examples, [])[0],
        text.astype(np.int64),
    )


def weigh(
    tokenizer: Any, read: Mapping[str, Sequence[Example]], recipe: StaticRecipe, *, progress: bool = True
) -> TokenVectors:
    """The token vectors of an encoder, from the examples of the training sets by name."""
    tokenizer.enable_truncation(recipe.max_tokens)
    texts = sorted({example.text for examples in read.values() for example in examples})
    counts = token_bags(tokenizer, texts, recipe.max_tokens)
    weights = inverse_document_frequency(counts)
    vectors = token_vectors(
        counts, weights, random=recipe.random, svd=recipe.svd, svd_weight=recipe.svd_weight, seed=recipe.seed
    )
    if recipe.teacher:
        vectors = join_teacher(vectors, weights, counts, tokenizer, recipe.teacher, progress=progress)
    if recipe.distillation:
        special = slice(SPECIAL_TOKENS.index("[CLS]"), len(SPECIAL_TOKENS))
        vectors[: special.stop], weights[special] = 0, 1  # they start at zero, and can be learned
        sets = {name: training_set(tokenizer, examples, recipe) for name, examples in read.items() if examples}
        vectors, weights = distil(
            vectors,
            weights,
            sets,
            recipe.distillation,
            count_exponent=recipe.count_exponent,
            progress=progress,
        )
    return TokenVectors.quantize(vectors * weights[:, None], recipe.bits, recipe.count_exponent)


def build(data: str | Path, out: str | Path, recipe: StaticRecipe | None = None, *, progress: bool = True) -> Path:
    """Build the encoder from the permissive sets of a data folder that are not held out.

    Args:
        data: The data folder.
        out: The folder for the encoder's four files.
        recipe: The numbers of the recipe.
        progress: Show a bar on stderr.

    Returns:
        The folder ``out``.

    Raises:
        DataError: The data folder has no catalog or no such set.
    """
    recipe = recipe or StaticRecipe()
    sets = training_sets(data)
    read = {dataset.name: dataset.examples("train") for dataset in sets}
    untagged = [text for examples in read.values() for text in passages(examples, recipe, KeywordStrategy.NONE)]
    tokenizer = train_tokenizer(untagged, recipe.vocabulary)
    weights = weigh(tokenizer, read, recipe, progress=progress)
    card = write_card(
        sets,
        title="Encoder of static token vectors",
        recipe=numbers(recipe) | {"data": rows_of(sets)},
        command=command_of(recipe),
        how=f"{HOW_TAUGHT if recipe.teacher else HOW}\n\n{HOW_DISTILLED if recipe.distillation else HOW_NOT_DISTILLED}",
    )
    config = EncoderConfig(
        name="embedded",
        layout=recipe.layout,
        keywords=recipe.keywords,
        max_tokens=recipe.max_tokens,
        dimension=weights.dimension,
    )
    return write_static_encoder(out, config, tokenizer, weights, card=card)


def numbers(recipe: StaticRecipe) -> dict[str, object]:
    """Every number of a recipe by name, with prefixes for those of teacher and distillation."""
    flat = {name: value for name, value in asdict(recipe).items() if name not in ("distillation", "teacher")}
    parts = {
        "teacher": recipe.teacher.model_dump() if recipe.teacher else {},
        "distillation": asdict(recipe.distillation) if recipe.distillation else {},
    }
    return flat | {f"{part}: {name}": value for part, inner in parts.items() for name, value in inner.items()}


def command_of(recipe: StaticRecipe) -> str:
    """The command that builds it."""
    teacher = " --teacher TEACHER" if recipe.teacher else ""
    untaught = "" if recipe.distillation else " --no-distillation"
    return f"python -m ruie_training.static.build --data FOLDER{teacher}{untaught} --out FOLDER"


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the embedded encoder from the sets of a data folder."""
    parser = argparse.ArgumentParser(prog="python -m ruie_training.static.build", description=main.__doc__)
    parser.add_argument("--data", required=True, type=Path, help="a folder of data sets with catalog.json")
    parser.add_argument("--out", required=True, type=Path, help="where the encoder's files go")
    parser.add_argument("--no-distillation", action="store_true", help="do not train on labels")
    parser.add_argument(
        "--teacher",
        help="a pre-trained sentence encoder, folder or hub name, such as sentence-transformers/all-MiniLM-L6-v2",
    )
    given = parser.parse_args(arguments)
    recipe = StaticRecipe()
    if given.teacher:
        recipe = replace(recipe, random=768, svd=0, teacher=VocabularyTeacher(model=given.teacher))
    if given.no_distillation:
        recipe = replace(recipe, distillation=None)
    build(given.data, given.out, recipe)


if __name__ == "__main__":
    main()
