"""The command ``ruie train``."""

import json

import pytest
from ruie_training.cli.train import train_app
from typer.testing import CliRunner

from ruie_components.encoders import load_encoder

ALL = ["mine", "models", "preferences", "reward", "distil", "export", "evaluate"]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(starter_data, tmp_path):
    out = tmp_path / "run"
    options = ["tiny", "--data", str(starter_data), "--out", str(out), "--dry-run"]
    result = CliRunner().invoke(train_app, [*options, "--json"])
    assert result.exit_code == 0, result.output
    stages = {row["stage"]: row for row in json.loads(result.stdout)["stages"]}
    assert list(stages) == ALL
    assert stages["preferences"]["amount"] == 48 * 12
    assert stages["preferences"]["seconds"] > 0
    assert not out.exists()
    shown = CliRunner().invoke(train_app, options)
    assert "preferences" in shown.output
    assert "576 pairs" in shown.output
    assert all(sum(line.startswith(f"{stage} ") for line in shown.output.splitlines()) == 1 for stage in ALL)
    assert len(shown.output.splitlines()) == 1 + len(ALL)  # a stage a line, however narrow the terminal


@pytest.mark.parametrize(
    ("options", "message"),
    [(["nowhere"], "no recipe 'nowhere'"), (["tiny", "--until", "lunch"], "no stage 'lunch'")],
)
def test_wrong_use_has_exit_status_2(starter_data, tmp_path, options, message):
    result = CliRunner().invoke(train_app, [*options, "--data", str(starter_data), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_plain_rows_and_the_encoder_of_the_package_are_enough(starter_data, tmp_path):
    """One file of rows, no catalog: trained on its train split, measured on its dev split, ended with how to use it."""
    (tmp_path / "own.toml").write_text(
        """extends = "from-embedded"
name = "own"
[mine]
k = 16
[preferences]
per_query = 12
[distil]
groups = { size = 4, top = 2, bottom = 6 }
optimisation = { steps = 2, warmup_steps = 0, batch_size = 4 }
""",
        "utf-8",
    )
    rows, out = starter_data / "NER" / "starter" / "train.jsonl.gz", tmp_path / "run"
    options = [str(tmp_path / "own.toml"), "--data", str(rows), "--out", str(out), "--no-progress"]
    result = CliRunner().invoke(train_app, options)
    assert result.exit_code == 0, result.output
    assert f"encoder: {out / 'export' / 'encoder'}" in result.stdout
    assert "--encoder" in result.stdout
    assert "| NER/" in result.stdout
    assert load_encoder(out / "export" / "encoder").dimension == load_encoder().dimension
