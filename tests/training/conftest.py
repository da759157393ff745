"""A small data folder made of the starter pool, and small models made of it."""

import gzip
import json
from importlib.resources import files

import pytest

from ruie_components import Example

ROLES = {"NER": "held-in", "RE": "held-in", "ED": "held-out", "EAE": "extra"}


def _rows(task):
    path = files("ruie_components").joinpath("assets", "starter_pool", f"{task}.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def starter_rows():
    """The starter pool's examples of a task."""
    return lambda task: [Example.model_validate(row) for row in _rows(task)]


@pytest.fixture(scope="session")
def starter_data(tmp_path_factory):
    """A data folder: four sets of the starter pool, each with a train and a test split."""
    folder = tmp_path_factory.mktemp("data")
    catalog = []
    for task, role in ROLES.items():
        rows = _rows(task)
        splits = {"train": rows[:-10], "test": rows[-10:], "dev": rows[-10:]}
        place = folder / task / "starter"
        place.mkdir(parents=True)
        for split, part in splits.items():
            with gzip.open(place / f"{split}.jsonl.gz", "wt", encoding="utf-8") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in part)
        catalog.append(
            {
                "task": task,
                "dataset": "starter",
                "role": role,
                "language": "en",
                "permissive": True,
                "licence": "CC0-1.0",
                "source": "starter pool",
                "rows": {split: len(part) for split, part in splits.items()},
            }
        )
    (folder / "catalog.json").write_text(json.dumps(catalog), "utf-8")
    return folder


@pytest.fixture(scope="session")
def passages(starter_rows):
    """Passages with keyword tags, of NER."""
    from ruie_components.prompts import render_passage

    return [render_passage(example) for example in starter_rows("NER")]


@pytest.fixture(scope="session")
def tokenizer(passages):
    """A tokenizer made of the passages."""
    from ruie_training.models.from_scratch import encoder_tokenizer

    return encoder_tokenizer(passages, 600)


@pytest.fixture(scope="session")
def cross_encoder_folder(tmp_path_factory, tokenizer):
    """A cross-encoder of one layer."""
    from ruie_training.models.from_scratch import make_cross_encoder
    from ruie_training.models.settings import TransformerModel

    size = TransformerModel(kind="transformer", hidden=32, layers=1, heads=2, max_length=256)
    return make_cross_encoder(tmp_path_factory.mktemp("cross") / "model", tokenizer, size)


@pytest.fixture(scope="session")
def transformer_folder(tmp_path_factory, tokenizer):
    """A bi-encoder of one layer."""
    from ruie_training.models.from_scratch import make_transformer_encoder
    from ruie_training.models.settings import TransformerModel

    size = TransformerModel(kind="transformer", hidden=32, layers=1, heads=2, max_length=256)
    return make_transformer_encoder(tmp_path_factory.mktemp("bi") / "model", tokenizer, size)


@pytest.fixture(scope="session")
def static_folder(tmp_path_factory, tokenizer, passages):
    """A bi-encoder of token vectors."""
    from ruie_training.models.from_scratch import make_static_encoder, static_vectors
    from ruie_training.models.settings import StaticModel

    vectors = static_vectors(tokenizer, passages, StaticModel(kind="static", random=24, svd=8))
    return make_static_encoder(tmp_path_factory.mktemp("static") / "model", tokenizer, vectors)


@pytest.fixture(scope="session")
def agreed(starter_rows):
    """Candidates of every NER example, scored by how well the labels agree, and the examples by id."""
    from ruie_training.data.candidates import by_id
    from ruie_training.mining.bm25 import mine
    from ruie_training.preferences import LabelOverlap, prefer

    rows = starter_rows("NER")
    examples = by_id(rows)
    candidates = mine(rows, rows, k=20, progress=False)
    return prefer(candidates, examples, LabelOverlap(), per_query=None, progress=False), examples
