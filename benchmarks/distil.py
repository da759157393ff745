"""Steps per second of distillation against a plain loop that pads every text of a batch to its longest one.

Both train the same small transformer on the same groups with the same loss; each runs several times, in turn, and the
best time counts. Run: python benchmarks/distil.py [--data FOLDER] [--rows N] [--steps N]
"""

import argparse
import gzip
import json
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import torch
from ruie_training.data.candidates import by_id
from ruie_training.data.groups import GroupRows, Groups
from ruie_training.data.rendering import passage_of, search_query_of
from ruie_training.mining.bm25 import mine_sets
from ruie_training.models.bi_encoder import freeze_positions, load_bi_encoder, train_bi_encoder
from ruie_training.models.from_scratch import encoder_tokenizer, make_transformer_encoder
from ruie_training.models.losses import distillation_loss
from ruie_training.models.settings import Distil, Optimisation, Split, TransformerModel
from ruie_training.preferences import LabelOverlap, prefer

from ruie_components import Example
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout, render_passage

BATCH, SIZE = 16, 4


def read_rows(data, limit):
    """Rows of the starter pool, or of a data folder's sets of all four tasks."""
    if data is None:
        folder = Path(str(files("ruie_components"))) / "assets" / "starter_pool"
        lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
        return [Example.model_validate(json.loads(line)) for line in lines]
    rows = []
    for name in ("NER/mit-movie", "RE/FewRel", "ED/CrudeOilNews", "EAE/RAMS"):
        with gzip.open(data / name / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows += [Example.model_validate(json.loads(line)) for _, line in zip(range(limit), lines, strict=False)]
    return rows


def settings(steps):
    optimisation = Optimisation(
        learning_rate=1e-4, steps=steps, batch_size=BATCH, checkpoint_steps=10**6, log_steps=10**6
    )
    return Distil(model="x", max_length=512, groups=Split(size=SIZE), temperature=0.05, optimisation=optimisation)


def ours(folder, teacher, examples, steps):
    """The trainer of this package: columns are padded each on its own."""
    chosen = settings(steps)
    model = load_bi_encoder(folder, chosen)
    with tempfile.TemporaryDirectory() as out:
        report = train_bi_encoder(model, teacher, examples, chosen, Path(out), progress=False)
    return report["seconds"]


def plain(folder, teacher, examples, steps):
    """What one would write first: all texts of a batch in one tensor."""
    chosen = settings(steps)
    model = load_bi_encoder(folder, chosen).train()
    freeze_positions(model)
    groups = Groups.of(teacher, **chosen.groups.model_dump(), seed=123)
    query = search_query_of(examples, Layout.BLOCK)
    rows = GroupRows(groups, query, passage_of(examples, KeywordStrategy.PLAIN, Layout.BLOCK))
    optimiser = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-4)
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(123)).tolist()
    start = time.monotonic()
    for step in range(steps):
        chosen_rows = [order[(step * BATCH + place) % len(order)] for place in range(BATCH)]
        batch = rows({"row": chosen_rows})
        scores = torch.tensor(batch.pop("label"))
        asked = [f"query: {text}" for text in batch.pop("query")]
        shown = [f"passage: {text}" for group in zip(*batch.values(), strict=True) for text in group]
        vectors = model(model.preprocess(asked + shown))["sentence_embedding"]
        vectors = torch.nn.functional.normalize(vectors, dim=-1)
        passages = vectors[BATCH:].view(BATCH, SIZE, -1)
        loss = distillation_loss(vectors[:BATCH], passages, scores, chosen.temperature, chosen.contrastive_weight)
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a data folder; default: the starter pool")
    parser.add_argument("--rows", type=int, default=300, help="of each of four sets")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows = read_rows(given.data, given.rows)
    examples = by_id(rows)
    candidates = mine_sets(rows, rows, k=30, progress=False)
    teacher = prefer(candidates, examples, LabelOverlap(), per_query=None, progress=False)
    size = TransformerModel(kind="transformer", hidden=128, layers=2, heads=4, max_length=512)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = encoder_tokenizer([render_passage(example) for example in rows], 4000)
        model = make_transformer_encoder(Path(folder) / "model", tokenizer, size)
        times = {"ours": [], "plain": []}
        for _ in range(given.repeats):
            times["ours"].append(ours(model, teacher, examples, given.steps))
            times["plain"].append(plain(model, teacher, examples, given.steps))
    best = {name: given.steps / min(found) for name, found in times.items()}
    print(json.dumps({"steps_per_second": {k: round(v, 2) for k, v in best.items()}, "rows": len(rows)}))
    print(f"ratio ours / plain: {best['ours'] / best['plain']:.2f} (wanted: at least 1.2)")


if __name__ == "__main__":
    main()
