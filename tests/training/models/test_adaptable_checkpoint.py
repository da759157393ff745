"""Adapting sentence-transformers checkpoints, and the gradient of the numpy training beside torch's."""

import json
import math

import numpy as np
import pytest
import torch
from ruie_training.models.adaptable_checkpoint import AdaptableCheckpoint
from scipy.sparse import random_array
from torch.nn import functional

from ruie_components import DemonstrationStore
from ruie_components.adaptation import Pool
from ruie_components.adaptation.adam import LazyAdam
from ruie_components.adaptation.training import divergence
from ruie_components.encoders import load_encoder
from ruie_components.errors import AdaptationError


@pytest.mark.parametrize("kind", ["static_folder", "transformer_folder"])
def test_a_checkpoint_is_trained_by_the_same_call(kind, request, starter_rows, tmp_path):
    pool = starter_rows("NER")
    source = load_encoder(str(request.getfixturevalue(kind)))
    path = tmp_path / "store"
    with DemonstrationStore.create(pool, path, encoder=source, progress=False) as store:
        found = store.adapt(steps=30, out=tmp_path / "out")
        assert found.gains[0].queries == len(pool) // 5
        fingerprint = store.encoder.fingerprint
        assert found.replaced == (fingerprint != source.fingerprint)
    if found.replaced:
        with DemonstrationStore.open(path) as store:
            assert store.encoder.fingerprint == fingerprint
            assert json.loads((tmp_path / "out" / "encoder.json").read_text())["adapted_from"] == source.name


def test_a_pool_that_is_too_small_for_a_checkpoint_is_told_by_its_rows(transformer_folder, starter_rows, tmp_path):
    source = load_encoder(str(transformer_folder))
    for count in (10, 12):
        told = rf"the pool has {count} NER rows, and at least 13 rows of one task, with different texts, are needed"
        with DemonstrationStore.create(starter_rows("NER")[:count], encoder=source, progress=False) as store:
            with pytest.raises(AdaptationError, match=told) as caught:
                store.adapt(steps=1, out=tmp_path / "out")
            assert "recipe" not in str(caught.value)
    with DemonstrationStore.create(starter_rows("NER")[:13], encoder=source, progress=False) as store:
        assert store.adapt(steps=1, measure_only=True).gains


def test_a_teacher_with_few_scores_is_told_by_its_candidates(transformer_folder, starter_rows):
    pool = starter_rows("NER")[:40]
    ids = [example.content_id for example in pool]
    rows = [(query, [name for name in ids if name != query][:4], [1.0, 2.0, 3.0, 4.0]) for query in ids]
    encoder = AdaptableCheckpoint(load_encoder(str(transformer_folder)), Pool(pool), rows, steps=1)
    with pytest.raises(AdaptationError, match=r"more than 4 candidates with a score .* and 10 are needed"):
        encoder.train(np.arange(40), lambda _: None)


def test_a_checkpoint_reads_the_teacher_s_files_that_static_vectors_read(transformer_folder, starter_rows, tmp_path):
    pool = starter_rows("NER")[:40]
    ids = [example.content_id for example in pool]
    rows = [
        {"query": query, "ids": [name for name in ids if name != query], "scores": [math.nan, *range(38)]}
        for query in ids
    ]
    path = tmp_path / "scores.jsonl"  # without a header, and twice the same rows
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *rows]), "utf-8")
    encoder = AdaptableCheckpoint(load_encoder(str(transformer_folder)), Pool(pool), path, steps=1)
    assert [len(names) for names in encoder._scored.candidate_ids] == [38] * 40
    assert encoder._scored.scores[0] == tuple(range(37, -1, -1))
    encoder.train(np.arange(40), lambda _: None)


def bags(rows, tokens, seed):
    draw = np.random.default_rng(seed)
    made = random_array((rows, tokens), density=0.3, format="csr", dtype=np.float32, rng=draw)
    made.data = draw.integers(1, 4, len(made.data)).astype(np.float32) ** np.float32(0.7)
    return made


def test_the_gradient_is_that_of_torch():
    draw = np.random.default_rng(0)
    queries, passages = bags(7, 30, 1), bags(11, 30, 2)
    vectors = draw.standard_normal((30, 16)).astype(np.float32)
    teacher = (10 * draw.random((7, 11))).astype(np.float32)
    teacher[draw.random((7, 11)) < 0.3] = np.nan
    loss, gradient = divergence(queries, passages, vectors, teacher, 0.05)

    table = torch.tensor(vectors, dtype=torch.float64, requires_grad=True)
    x, y = (functional.normalize(torch.tensor(part.toarray()).double() @ table) for part in (queries, passages))
    wanted = torch.tensor(teacher).double()
    unknown = wanted.isnan()
    student = (x @ y.T / 0.05).masked_fill(unknown, -torch.inf).log_softmax(1)
    target = wanted.masked_fill(unknown, -torch.inf).log_softmax(1)
    expected = (target.exp() * (target - student)).nan_to_num(0).sum() / len(wanted)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    np.testing.assert_allclose(gradient, table.grad.numpy(), atol=1e-5 * float(table.grad.abs().max()) + 1e-6)


@pytest.mark.parametrize("count", [25, 1000])
def test_lazy_adam_ends_where_adam_does(count):
    draw = np.random.default_rng(0)
    start = draw.standard_normal((12, 5)).astype(np.float32)
    steps = [(np.sort(draw.choice(12, 4, replace=False)), draw.standard_normal((4, 5))) for _ in range(count)]
    rates = 0.1 * (1 - np.arange(count) / count)
    values = start.copy()
    lazy = LazyAdam(values, rates)
    table = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    adam = torch.optim.Adam([table], lr=1.0, betas=(0.9, 0.99))
    for step, (rows, gradient) in enumerate(steps):
        current = lazy.rows(rows, step)
        np.testing.assert_allclose(current, table.detach().numpy()[rows], atol=1e-4)
        lazy.step(rows, current, gradient.astype(np.float32), step)
        table.grad = torch.zeros_like(table)
        table.grad[rows] = torch.tensor(gradient)
        adam.param_groups[0]["lr"] = rates[step]
        adam.step()
    lazy.finish()
    np.testing.assert_allclose(values, table.detach().numpy(), atol=1e-4)
