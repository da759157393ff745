"""Training by several processes gives what one gives."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from ruie_training.errors import TrainingError
from ruie_training.models.trainers import check_batch, train
from safetensors.torch import load_file


@pytest.mark.slow
def test_two_processes_train_what_one_trains_with_the_joined_batch(starter_data, tmp_path):
    """The whole command under torchrun: batches of 2 on both processes, and of 4 on one, end with the same weights."""
    runs = {}
    for processes, launch in ((1, []), (2, ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"])):
        recipe = tmp_path / f"joined-{processes}.toml"
        batch = f"optimisation = {{ batch_size = {4 // processes} }}\n"
        parts = "".join(f"[{part}]\n{batch}" for part in ("models.language_model", "reward", "distil"))
        recipe.write_text(f'extends = "tiny"\nname = "joined"\n[evaluate]\nlikelihood = false\n{parts}', "utf-8")
        runs[processes] = tmp_path / f"run-{processes}"
        options = ["--data", str(starter_data), "--out", str(runs[processes]), "--until", "distil", "--no-progress"]
        result = subprocess.run(
            [sys.executable, *launch, "-m", "ruie_training", str(recipe), *options],
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-3000:]
    for model in ("models/language_model/model", "reward/model", "distil/model"):
        one, two = (load_file(folder / model / "model.safetensors") for folder in runs.values())
        # the softmax over a group knows no constant, so the bias of its logits has no gradient but rounding, which Adam
        # makes steps of
        names = one.keys() - {"classifier.bias"}
        assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in names), model
    one, two = (_steps(folder / "metrics.jsonl") for folder in runs.values())
    assert [step for step, _ in one] == [step for step, _ in two]  # each logged once
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in one], abs=1e-3)


def _steps(path):
    """Stage and step of every logged loss, and the loss."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [((line["stage"], line["step"]), line["loss"]) for line in lines if "loss" in line]


def test_processes_that_do_not_find_each_other_are_an_error(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    alone = SimpleNamespace(args=SimpleNamespace(world_size=1))
    with pytest.raises(TrainingError, match="2 processes were started, but 1 train together"):
        train(alone)


def test_a_batch_is_needed_on_every_process(monkeypatch):
    check_batch(4, "queries", 4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match=r"4 queries are left .* takes 8 \(a batch of 4 on each of 2 processes\)"):
        check_batch(4, "queries", 4)
