"""Distillation into a bi-encoder: rows, prefixes, frozen positions, resuming, several processes."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruie_training.data.groups import GroupRows, Groups
from ruie_training.data.rendering import passage_of, search_query_of
from ruie_training.errors import TrainingError
from ruie_training.models import losses, trainers
from ruie_training.models.bi_encoder import freeze_positions, load_bi_encoder, prefixes, train_bi_encoder
from ruie_training.models.cross_encoder import check_positions, load_cross_encoder
from ruie_training.models.losses import distillation_loss
from ruie_training.models.settings import Distil, Optimisation, Split
from ruie_training.models.trainers import last_checkpoint

from ruie_components.encoders import load_encoder
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout

SCRIPT = Path(__file__).parent / "joined_loss.py"


def settings(**changes):
    optimisation = {"learning_rate": 1e-2, "steps": 4, "batch_size": 8, "checkpoint_steps": 2, "log_steps": 1}
    values = {
        "model": "x",
        "max_length": 128,
        "groups": Split(size=4, top=2, bottom=8),
        "temperature": 0.05,
        "optimisation": Optimisation(**{**optimisation, **changes.pop("optimisation", {})}),
    }
    return Distil(**{**values, **changes})


def trained(source, agreed, folder, chosen, seed=7, metrics=None):
    model = load_bi_encoder(source, chosen)
    report = train_bi_encoder(model, *agreed, chosen, folder, seed=seed, metrics=metrics, progress=False)
    return {name: value.detach().clone() for name, value in model.named_parameters()}, report


def test_rows_hold_query_positive_negatives_and_the_teachers_scores(agreed):
    teacher, examples = agreed
    groups = Groups.of(teacher, size=4, top=2, bottom=8)
    query, passage = search_query_of(examples, Layout.BLOCK), passage_of(examples, KeywordStrategy.PLAIN, Layout.BLOCK)
    rows = GroupRows(groups, query, passage)({"row": [3]})
    assert list(rows) == ["query", "positive", "negative_1", "negative_2", "negative_3", "label"]
    drawn = groups.draw(3, 0)
    assert rows["label"] == [[score for _, score in drawn]]
    assert rows["positive"] == [passage(drawn[0][0])]
    assert rows["negative_3"] == [passage(drawn[3][0])]
    assert rows["query"][0].endswith("Output:")
    assert "<Keyword>" not in rows["query"][0]
    assert "<Keyword>" in rows["positive"][0]


def test_a_longest_text_beyond_the_positions_is_refused(transformer_folder, cross_encoder_folder):
    message = "reads at most 256 tokens, and max_length is 257: lower max_length"
    with pytest.raises(TrainingError, match=message):
        load_bi_encoder(transformer_folder, settings(max_length=257))
    with pytest.raises(TrainingError, match=message):
        load_cross_encoder(cross_encoder_folder, keywords=KeywordStrategy.PLAIN, max_length=257)


def test_positions_count_from_the_padding_on_where_the_model_does():
    body = torch.nn.ModuleDict({"position_embeddings": torch.nn.Embedding(514, 2, padding_idx=1)})  # RoBERTa's
    check_positions(body, 512, "roberta")
    with pytest.raises(TrainingError, match="roberta reads at most 512 tokens"):
        check_positions(body, 513, "roberta")


def test_bf16_trains_without_a_gpu_and_its_loss_is_exact(transformer_folder, agreed, tmp_path, monkeypatch):
    """Scores are divided by a small temperature, which cosines of 8 significant bits would not survive."""
    scores = []

    def seen(queries, passages, *rest):
        scores.append(queries @ passages[:, 0].T)
        return distillation_loss(queries, passages, *rest)

    monkeypatch.setattr(losses, "distillation_loss", seen)
    trained(transformer_folder, agreed, tmp_path, settings(optimisation={"precision": "bf16", "steps": 1}))
    assert {each.dtype for each in scores} == {torch.float32}


def test_fp16_without_a_gpu_is_refused(transformer_folder, agreed, tmp_path, monkeypatch):
    monkeypatch.setattr(trainers, "_uses_cpu", lambda: True)
    chosen = settings(optimisation={"precision": "fp16"})
    with pytest.raises(TrainingError, match=r'precision = "fp16" needs a GPU, and none is available: give "bf16"'):
        trained(transformer_folder, agreed, tmp_path, chosen)


def test_every_column_gets_its_prefix():
    assert prefixes(settings(groups=Split(size=3))) == {
        "query": "query: ",
        "document": "passage: ",
        "positive": "passage: ",
        "negative_1": "passage: ",
        "negative_2": "passage: ",
    }
    assert prefixes(settings(query_prefix="", passage_prefix="")) == {}


def test_prefixes_reach_the_model(static_folder, agreed, tmp_path, monkeypatch):
    seen = []
    chosen = settings(optimisation={"steps": 1})
    model = load_bi_encoder(static_folder, chosen)
    plain = model[0].preprocess

    def watched(inputs, prompt=None, **options):
        seen.append((prompt, len(inputs)))
        return plain(inputs, prompt=prompt, **options)

    monkeypatch.setattr(model[0], "preprocess", watched)
    train_bi_encoder(model, *agreed, chosen, tmp_path, progress=False)
    assert seen[:5] == [("query: ", 8)] + [("passage: ", 8)] * 4


def test_positions_stay_frozen_and_all_else_learns(transformer_folder, agreed, tmp_path):
    before, _ = dict(load_bi_encoder(transformer_folder, settings()).named_parameters()), None
    after, report = trained(transformer_folder, agreed, tmp_path, settings())
    positions = [name for name in after if "position_embeddings" in name]
    assert len(positions) == 1
    assert torch.equal(after[positions[0]], before[positions[0]])
    assert report["frozen"] == after[positions[0]].numel()
    words = next(name for name in after if "word_embeddings" in name)
    assert not torch.equal(after[words], before[words])


def test_positions_may_learn_too(transformer_folder):
    model = load_bi_encoder(transformer_folder, settings())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert freeze_positions(model) > 0


def test_the_loss_falls(static_folder, agreed, tmp_path):
    chosen = settings(optimisation={"steps": 40, "checkpoint_steps": 1000})
    model = load_bi_encoder(static_folder, chosen)
    metrics = tmp_path / "metrics.jsonl"
    train_bi_encoder(model, *agreed, chosen, tmp_path, metrics=metrics, progress=False)
    losses = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    values = [line["loss"] for line in losses if "loss" in line]
    assert sum(values[-8:]) < 0.8 * sum(values[:8])
    assert {"kl", "contrastive", "learning_rate", "step", "stage"} <= losses[0].keys()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(static_folder, agreed, tmp_path):
    one, _ = trained(static_folder, agreed, tmp_path / "one", settings())
    same, _ = trained(static_folder, agreed, tmp_path / "same", settings())
    other, _ = trained(static_folder, agreed, tmp_path / "other", settings(), seed=8)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_run_goes_on_to_the_same_weights(static_folder, agreed, tmp_path):
    chosen = settings(optimisation={"steps": 14, "checkpoint_steps": 11})  # an epoch has 10 or 11 steps
    whole, _ = trained(static_folder, agreed, tmp_path / "whole", chosen)
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "checkpoint-11", killed / "checkpoints" / "checkpoint-11")
    (killed / "checkpoints" / "checkpoint-13").mkdir()  # half written: it holds no state yet
    again, report = trained(static_folder, agreed, killed, chosen, metrics=tmp_path / "metrics.jsonl")
    assert report["steps"] == 14
    assert logged_steps(tmp_path / "metrics.jsonl") == [12, 13, 14]  # not from the start again
    assert all(torch.allclose(whole[name], again[name], atol=1e-6) for name in whole)
    assert not (killed / "checkpoints" / "checkpoint-13").exists()


def logged_steps(metrics):
    lines = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    return [line["step"] for line in lines if "loss" in line]


def test_a_run_killed_after_its_last_step_reports_its_last_loss(static_folder, agreed, tmp_path):
    chosen = settings(optimisation={"steps": 4, "checkpoint_steps": 4})
    one, _ = trained(static_folder, agreed, tmp_path, chosen, metrics=tmp_path / "metrics.jsonl")
    last = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()][-2]
    again, report = trained(static_folder, agreed, tmp_path, chosen)
    assert (report["steps"], report["loss"]) == (4, last["loss"])
    assert all(torch.equal(one[name], again[name]) for name in one)


def test_a_loss_that_is_no_number_stops_at_its_step(static_folder, agreed, tmp_path):
    chosen = settings(optimisation={"learning_rate": 1e38})
    with pytest.raises(TrainingError, match=r"at step [1-4]: the distillation loss is nan .*lower the learning rate"):
        trained(static_folder, agreed, tmp_path, chosen)


def test_the_last_whole_checkpoint_is_found(tmp_path):
    for step, state in ((2, "{}"), (10, "{}"), (12, "{half")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state, "utf-8")
    assert last_checkpoint(tmp_path).name == "checkpoint-10"
    assert last_checkpoint(tmp_path / "none") is None


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(TrainingError, match="no/such/model"):
        load_bi_encoder("./no/such/model", settings())


def test_two_processes_give_the_loss_and_gradients_of_one_with_the_joined_batch(transformer_folder, agreed, tmp_path):
    teacher, examples = agreed
    groups = Groups.of(teacher, size=3, top=2, bottom=8)
    query, passage = search_query_of(examples, Layout.INPUT), passage_of(examples, KeywordStrategy.PLAIN, Layout.INPUT)
    rows = GroupRows(groups, query, passage)({"row": list(range(6))})
    scores = rows.pop("label")
    given = tmp_path / "given.json"
    given.write_text(
        json.dumps({"folder": str(transformer_folder), "batch": list(rows.values()), "teacher": scores}), "utf-8"
    )
    spec = importlib.util.spec_from_file_location("joined_loss", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    joined = script.loss_and_gradients(str(transformer_folder), list(rows.values()), scores)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(given)]
    result = subprocess.run(
        [sys.executable, *launch],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for rank in range(2):
        found = json.loads(Path(f"{given}.{rank}").read_text("utf-8"))
        assert found["loss"] == pytest.approx(joined["loss"], abs=1e-5)
        assert found["gradients"].keys() >= joined["gradients"].keys()
        for name, sums in joined["gradients"].items():
            assert found["gradients"][name] == pytest.approx(sums, rel=1e-3, abs=1e-4), name


def test_the_encoder_of_the_package_can_be_the_start():
    model = load_bi_encoder("embedded", settings())
    texts = ["Ada flew to Lisbon.", "The pump failed."]
    found, wanted = model.encode(texts), load_encoder().encode_texts(texts, "query")
    assert (found * wanted).sum(1).min() > 0.99
