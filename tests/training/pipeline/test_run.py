"""Recipes, run folders, and tiny.toml from nothing to an exported and evaluated encoder."""

import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ruie_training.cli.train import train_app
from ruie_training.data.candidates import Candidates
from ruie_training.data.catalog import DataError
from ruie_training.errors import RecipeError, RunError, TrainingError
from ruie_training.models.trainers import check_batch, train
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.manifest import read_record
from ruie_training.pipeline.reading import describe_keys, make_recipe, read_recipe, stages_of
from ruie_training.pipeline.run import plan, run
from ruie_training.pipeline.shards import score_in_shards
from ruie_training.pipeline.stage import Workload
from ruie_training.pipeline.stages import STAGES
from ruie_training.processes import Process
from ruie_training.recipes import built_in
from safetensors.torch import load_file
from typer.testing import CliRunner

from ruie_components.encoders import load_encoder
from ruie_components.prompts import Layout

ALL = ["mine", "models", "preferences", "reward", "distil", "export", "evaluate"]


# recipes


@pytest.mark.parametrize("name", sorted(built_in()))
def test_every_recipe_of_the_package_is_valid_and_bears_its_name(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert stages_of(recipe)[0] == "mine"


def test_paper_has_the_papers_numbers():
    recipe = read_recipe("paper.toml")
    assert (recipe.mine.k, recipe.preferences.per_query, recipe.preferences.choose) == (100, 32, "random")
    assert recipe.reward.groups.model_dump() == {"size": 8, "top": 3, "bottom": 16}
    assert (recipe.reward.optimisation.learning_rate, recipe.reward.optimisation.steps) == (1e-5, 3000)
    assert (recipe.reward.seed, recipe.reward.max_length, recipe.seed) == (987, 512, 123)
    assert recipe.distil.groups.model_dump() == {"size": 4, "top": 3, "bottom": 16}
    assert (recipe.distil.temperature, recipe.distil.contrastive_weight) == (0.01, 0.2)
    assert (recipe.distil.optimisation.learning_rate, recipe.distil.optimisation.steps) == (3e-5, 6000)
    assert recipe.distil.freeze_positions
    assert recipe.preferences.keywords == "none"


@pytest.mark.parametrize(
    ("name", "stages", "teacher"),
    [
        ("bm25", ["mine", "evaluate"], None),
        ("bm25-llm", ["mine", "preferences", "distil", "export", "evaluate"], "preferences"),
        ("bm25-reward", ["mine", "preferences", "reward", "distil", "export", "evaluate"], "reward"),
        ("paper", ["mine", "preferences", "reward", "distil", "export", "evaluate"], "reward"),
        ("no-tags", ["mine", "preferences", "reward", "distil", "export", "evaluate"], "reward"),
        ("llm-target", ["mine", "preferences", "distil", "export", "evaluate"], "preferences"),
    ],
)
def test_an_ablation_is_the_paper_but_for_what_it_takes_away(name, stages, teacher):
    recipe = read_recipe(name)
    assert stages_of(recipe) == stages
    assert recipe.distil is None if teacher is None else recipe.distil.teacher == teacher


def test_ablations_change_what_they_name():
    assert read_recipe("bm25-reward").preferences.scorer.kind == "bm25"
    assert read_recipe("bm25-llm").distil.divergence_weight == 0
    assert read_recipe("llm-target").distil.divergence_weight == 1
    untagged = read_recipe("no-tags")
    assert untagged.reward.keywords == untagged.distil.keywords == "none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nspeed = 3', "speed: unknown key"),
        ('name = "x"\n[mine]\nk = 5\nmethod = "bm25"', "mine.method: unknown key"),
        ('name = "x"\n[mine]\nk = 0', "mine.k"),
        ('extends = "small"\nname = "x"\n[distil]\nteacher = "oracle"', "distil.teacher"),
        ('extends = "small"\nname = "x"\ndrop = ["reward"]', 'teacher = "reward"'),
        ('extends = "small"\nname = "x"\ndrop = ["models"]', r"add a section \[models.language_model\]"),
        ('extends = "small"\nname = "x"\n[reward]\ngroups = {size = 10}', "takes 9 negatives, and bottom is"),
        ('extends = "nowhere"\nname = "x"', "no recipe 'nowhere'"),
        ('extends = "recipe"\nname = "x"', "extends itself"),
        ('extends = "small"\nname = "x"\ndrop = ["rewards"]', "no such section"),
        ('extends = "small"\nname = "x"\ndrop = ["models.lm"]', "drops models.lm"),
        ('extends = "small-labels"\nname = "x"\n[evaluate]\nlikelihood = true', "needs an LLM for log-likelihoods"),
        ('extends = "small-labels"\nname = "x"\n[preferences]\nkeywords = "plain"', '"label-overlap" shows no tags'),
        ("name = ", "not a TOML"),
    ],
)
def test_a_wrong_recipe_names_file_and_key(tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(path)
    assert "recipe" in str(caught.value)


def test_a_part_of_a_section_can_be_dropped():
    recipe = read_recipe("small-labels")
    assert recipe.models.language_model is None
    assert recipe.models.encoder == read_recipe("small").models.encoder
    assert stages_of(recipe) == ["mine", "models", "preferences", "distil", "export", "evaluate"]


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(RecipeError, match=r"bm25.*paper.*small.*tiny"):
        read_recipe("big")


def test_another_scorer_replaces_all_keys_of_the_one_below(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('extends = "small"\nname = "own"\n[preferences.scorer]\nkind = "label-overlap"', "utf-8")
    assert read_recipe(path).preferences.scorer.model_dump() == {"kind": "label-overlap"}


# the whole pipeline


@pytest.fixture(scope="module")
def tiny():
    """tiny.toml, but without the export's second file and with its data's names."""
    return read_recipe("tiny").model_copy(update={"description": "Tested."})


@pytest.fixture(scope="module")
def finished(tiny, starter_data, tmp_path_factory):
    """A finished run of tiny.toml, and what it said."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    said = []
    manifest = run(Context(tiny, starter_data, folder, progress=False), say=said.append)
    return folder, manifest, said


def test_tiny_runs_from_nothing_to_an_encoder(finished, starter_rows):
    folder, manifest, _ = finished
    assert list(manifest["stages"]) == ALL
    assert all(record["status"] == "done" for record in manifest["stages"].values())
    encoder = load_encoder(folder / "export" / "encoder")
    vectors = encoder.encode_texts([example.text for example in starter_rows("NER")[:5]], "passage")
    assert vectors.shape == (5, 40)
    assert json.loads((folder / "manifest.json").read_text("utf-8")) == manifest


def test_the_manifest_says_what_was_done_and_what_was_left_out(finished):
    _, manifest, _ = finished
    stages = manifest["stages"]
    assert stages["mine"]["report"]["sets"] == ["NER/starter", "RE/starter"]
    assert stages["mine"]["report"]["pairs"] > 100
    assert stages["preferences"]["report"]["kind"] == "likelihood"
    trained = stages["distil"]["report"]
    assert trained["queries"] + sum(trained["dropped"].values()) == stages["mine"]["report"]["queries"]
    assert stages["reward"]["inputs"] == {name: stages[name]["hash"] for name in ("mine", "models", "preferences")}
    assert 0 <= stages["reward"]["report"]["pairs cut"] < stages["reward"]["report"]["pairs"]
    assert stages["export"]["report"]["smallest cosine with torch, float32"] > 0.9999
    assert manifest["versions"]["torch"]
    assert manifest["seed"] == 123
    assert all(record["seconds"] > 0 for record in stages.values())


def test_a_stage_that_takes_next_to_no_time_has_its_seconds(tiny, starter_data, tmp_path, monkeypatch):
    monkeypatch.setattr(STAGES["mine"], "run", lambda context: {})
    manifest = run(Context(tiny, starter_data, tmp_path / "quick", progress=False), only=["mine"])
    assert 0 < manifest["stages"]["mine"]["seconds"] < 60


def test_a_run_that_stops_has_its_finished_stages_in_the_manifest(tiny, starter_data, tmp_path, monkeypatch):
    def fail(context):
        raise TrainingError("stopped on purpose")

    context = Context(tiny, starter_data, tmp_path / "stopped", progress=False)
    monkeypatch.setattr(STAGES["models"], "run", fail)
    for _ in range(2):  # the second time the finished stage is skipped
        with pytest.raises(TrainingError, match="on purpose"):
            run(context)
        stages = json.loads((context.run / "manifest.json").read_text("utf-8"))["stages"]
        assert stages["mine"]["status"] == "done"


def test_the_evaluation_stands_in_results_and_model_card(finished):
    folder, manifest, _ = finished
    methods = [row["method"] for row in manifest["stages"]["evaluate"]["report"]["averages"]]
    assert methods == [
        "random",
        "BM25",
        "untrained",
        "untrained, label-vote",
        "trained",
        "trained, label-vote",
        "oracle",
    ]
    assert manifest["stages"]["evaluate"]["report"]["sets"] == ["ED/starter"]
    card = (folder / "export" / "encoder" / "README.md").read_text("utf-8")
    assert "| ED/starter |" in card
    assert "NER/starter" in card
    assert "CC0-1.0" in card
    assert "| ED/starter |" in (folder / "evaluate" / "results.md").read_text("utf-8")
    assert (folder / "evaluate" / "results.png").read_bytes().startswith(b"\x89PNG")


def test_the_recipe_s_llm_says_how_likely_the_gold_answers_are(finished):
    folder, manifest, _ = finished
    averages = manifest["stages"]["evaluate"]["report"]["averages"]
    assert all(row["likelihood"] < 0 for row in averages)
    assert {row["likelihood_queries"] for row in averages} == {8}
    assert "likelihood@2" in (folder / "evaluate" / "results.md").read_text("utf-8")


def test_metrics_are_json_lines_of_every_stage_that_trains(finished):
    folder, *_ = finished
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert {line["stage"] for line in lines} == {"language model", "reward", "distil"}
    assert any("kl" in line and "contrastive" in line for line in lines)


def test_what_is_done_and_unchanged_is_skipped(finished, tiny, starter_data):
    folder, *_ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.parent != folder}
    said = []
    run(Context(tiny, starter_data, folder, progress=False), say=said.append)
    assert said == [f"{stage}: done already" for stage in ALL]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.parent != folder} == before


def actions(context, **options):
    return {at.stage.name: at.action for at in plan(context, **options)}


def changed(recipe, section, **values):
    settings = getattr(recipe, section).model_copy(update=values)
    return recipe.model_copy(update={section: settings})


def test_a_changed_number_does_again_what_depends_on_it(finished, tiny, starter_data):
    folder, *_ = finished
    again = actions(Context(changed(tiny, "distil", temperature=0.1), starter_data, folder))
    assert [name for name, action in again.items() if action == "rerun"] == ["distil", "export", "evaluate"]
    assert again["reward"] == "skip"
    assert set(actions(Context(tiny.model_copy(update={"seed": 5}), starter_data, folder)).values()) == {"rerun"}


def test_what_was_not_done_again_is_outdated_in_the_manifest(finished, tiny, starter_data, tmp_path):
    copy = tmp_path / "changed"
    shutil.copytree(finished[0], copy)
    other = changed(tiny, "distil", temperature=0.1).model_copy(update={"evaluate": None})
    stages = run(Context(other, starter_data, copy, progress=False), until="distil")["stages"]
    assert {name: record["status"] for name, record in stages.items()} == {
        **dict.fromkeys(["mine", "models", "preferences", "reward", "distil"], "done"),
        "export": "outdated",
    }


def test_other_means_to_the_same_result_keep_what_is_done(finished, tiny, starter_data):
    folder, *_ = finished
    scorer = tiny.preferences.scorer.model_copy(update={"batch_tokens": 77})
    other = changed(changed(tiny, "preferences", scorer=scorer), "reward", score_batch=3, parameters=0.2)
    assert other.content_hash() != tiny.content_hash()
    assert set(actions(Context(other, starter_data, folder)).values()) == {"skip"}


def test_a_server_that_moved_keeps_the_scores_that_are_done():
    def settings(**scorer):
        preferences = {"scorer": {"kind": "served", "model": "x", "urls": ["http://one/v1"], **scorer}}
        return STAGES["preferences"].content(make_recipe({"name": "x", "preferences": preferences}))

    assert settings() == settings(urls=["http://two/v1", "http://three/v1"], concurrency=2, retries=20, timeout=5)
    assert settings() != settings(model="y")


def test_what_reads_another_layout_is_made_again(finished, tiny, starter_data):
    """The stage ``models`` makes tokenizer and vectors of texts in the encoder's layout."""
    folder, *_ = finished
    again = actions(Context(changed(tiny, "distil", layout=Layout.BLOCK), starter_data, folder))
    assert (again["mine"], again["models"]) == ("skip", "rerun")


def test_an_encoder_from_elsewhere_is_measured_untrained_too(starter_data, static_folder, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        f"""extends = "small-labels"
name = "own"
drop = ["models"]
[preferences]
per_query = 12
[distil]
model = "{static_folder}"
optimisation = {{ steps = 2, warmup_steps = 0, batch_size = 4 }}
[evaluate]
queries = 5
""",
        "utf-8",
    )
    context = Context(read_recipe(path), starter_data, tmp_path / "run", progress=False)
    report = run(context)["stages"]["evaluate"]["report"]
    assert "untrained" in [row["method"] for row in report["averages"]]
    assert load_encoder(context.run / "export" / "untrained").dimension == 32


def test_changed_data_do_everything_again(finished, tiny, starter_data, tmp_path):
    folder, *_ = finished
    other = tmp_path / "data"
    shutil.copytree(starter_data, other)
    path = other / "NER" / "starter" / "train.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[1:])))
    assert set(actions(Context(tiny, other, folder)).values()) == {"rerun"}


def test_a_killed_run_goes_on_within_the_stage(finished, tiny, starter_data, tmp_path):
    folder, *_ = finished
    copy = tmp_path / "killed"
    shutil.copytree(folder, copy)
    record = read_record(copy / "distil")
    record.model_copy(update={"status": "running", "report": {}}).write(copy / "distil")
    weights = copy / "distil" / "model" / "model.safetensors"
    expected = weights.read_bytes()
    shutil.rmtree(copy / "distil" / "model")
    shutil.rmtree(copy / "distil" / "checkpoints" / "checkpoint-6")
    context = Context(tiny, starter_data, copy, progress=False)
    assert actions(context)["distil"] == "resume"
    run(context, until="distil")
    assert read_record(copy / "distil").report["steps"] == 6
    assert weights.read_bytes() == expected
    steps = [step for (stage, step), _ in _steps(copy / "metrics.jsonl") if stage == "distil"]
    assert steps == [1, 2, 3, 4, 5, 6, 5, 6]  # on from the checkpoint of step 4, not from the start


@pytest.mark.parametrize("stage", ["models", "reward", "distil"])
def test_a_run_killed_after_the_last_step_of_a_stage_has_its_weights(finished, tiny, starter_data, tmp_path, stage):
    folder, *_ = finished
    copy = tmp_path / "killed"
    shutil.copytree(folder, copy)
    record = read_record(copy / stage)
    record.model_copy(update={"status": "running", "report": {}}).write(copy / stage)
    weights = copy / stage / ("language_model/model" if stage == "models" else "model") / "model.safetensors"
    expected = load_file(weights)
    shutil.rmtree(weights.parent)
    (copy / stage / "training.json").unlink(missing_ok=True)
    manifest = run(Context(tiny, starter_data, copy, progress=False), only=[stage])
    found = load_file(weights)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    report = manifest["stages"][stage]["report"]
    assert report.get("language_model", report)["loss"] > 0


def test_a_stage_alone_needs_what_it_reads(tiny, starter_data, tmp_path):
    context = Context(tiny, starter_data, tmp_path / "new", progress=False)
    with pytest.raises(RunError, match="reads mine, models, not done yet"):
        run(context, only=["preferences"])
    manifest = run(context, only=["mine"])
    assert list(manifest["stages"]) == ["mine"]
    assert actions(context, until="models") == {"mine": "skip", "models": "run"}
    with pytest.raises(RecipeError, match="no stage 'train'"):
        plan(context, until="train")
    with pytest.raises(RecipeError, match="distil comes after mine"):
        plan(context, only=["distil"], until="mine")


def test_a_folder_of_another_recipe_is_refused(finished, tiny, starter_data):
    folder, *_ = finished
    other = tiny.model_copy(update={"name": "other"})
    with pytest.raises(RunError, match="run of the recipe 'tiny', not of 'other'"):
        run(Context(other, starter_data, folder, progress=False))


def test_a_folder_that_is_no_run_is_refused(tiny, starter_data, tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch", "utf-8")
    with pytest.raises(RunError, match="not a run folder"):
        run(Context(tiny, starter_data, tmp_path, progress=False))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_whose_manifest_is_just_being_written_is_taken(tiny, starter_data, tmp_path):
    """Of several processes the first one may be at it while another one looks."""
    (tmp_path / "manifest.json.123.part").write_text("{", "utf-8")
    assert actions(Context(tiny, starter_data, tmp_path))["mine"] == "run"


def test_a_disk_that_takes_no_more_is_told_and_the_run_goes_on_later(tiny, starter_data, tmp_path):
    context = Context(tiny, starter_data, tmp_path / "full", progress=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # room for the manifest, not for the candidates
    try:
        with pytest.raises(RunError, match="can't be written"):
            run(context, only=["mine"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_record(tmp_path / "full" / "mine").status == "running"
    assert not list((tmp_path / "full" / "mine").glob("*.part"))
    run(context, only=["mine"])
    assert read_record(tmp_path / "full" / "mine").status == "done"


# shards


def scored_candidates(count):
    return Candidates(
        tuple(f"q{row}" for row in range(count)), (("a", "b"),) * count, ((1.0, 0.0),) * count, dropped={"early": 1}
    )


def test_shards_that_are_done_are_not_scored_again(tmp_path):
    asked = []

    def score(part):
        asked.append(part.query_ids)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return part

    candidates = scored_candidates(7)
    with pytest.raises(KeyboardInterrupt):
        score_in_shards(candidates, score, tmp_path, size=2)
    assert score_in_shards(candidates, score, tmp_path, size=2, label="scores") == candidates
    assert asked == [("q0", "q1"), ("q2", "q3"), ("q4", "q5"), ("q4", "q5"), ("q6",)]


def test_processes_share_the_shards(tmp_path):
    candidates = scored_candidates(6)
    with pytest.raises(RunError, match="did not appear"):
        score_in_shards(candidates, lambda part: part, tmp_path, size=2, process=Process(1, 2), timeout=0)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00001.jsonl.gz"]
    assert score_in_shards(candidates, lambda part: part, tmp_path, size=2, process=Process(0, 2)) == candidates


# several processes


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


# command line


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


def test_estimates_grow_with_the_work(starter_data):
    recipe = read_recipe("tiny")

    def seconds(recipe):
        return STAGES["preferences"].estimate(Workload(Context(recipe, starter_data, starter_data), speed=1e10)).seconds

    more = changed(recipe, "data", queries_per_set=48)
    assert seconds(more) == pytest.approx(2 * seconds(recipe))
    settings = recipe.model_dump()
    settings["preferences"]["scorer"] = {"kind": "served", "model": "x", "urls": ["http://localhost:1"]}
    assert seconds(make_recipe(settings)) is None


def test_a_static_start_is_estimated_in_minutes(starter_data):
    work = Workload(Context(read_recipe("from-embedded"), starter_data, starter_data), speed=1e10)
    assert 10 < STAGES["distil"].estimate(work).seconds < 1000


def test_every_key_of_a_recipe_is_described():
    keys = describe_keys()
    assert "| `learning_rate` | number | required | The highest, after the warm-up. |" in keys
    assert "### [preferences.scorer]" in keys
    assert [line for line in keys.splitlines() if line.endswith("|  |")] == []
    page = Path(__file__).parents[3] / "docs" / "recipe-keys.md"
    assert page.read_text("utf-8").endswith(f"{keys.rstrip()}\n"), "write the output of ruie train --keys to this page"


def test_the_documentation_lists_every_recipe():
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text("utf-8")
    assert [name for name in built_in() if f"`{name.removeprefix('ablation-')}`" not in page] == []


def test_a_catalog_without_a_set_to_measure_names_section_and_condition(tiny, starter_data, tmp_path):
    shutil.copytree(starter_data, tmp_path / "data")
    path = tmp_path / "data" / "catalog.json"
    rows = [{**each, "role": "held-in"} for each in json.loads(path.read_text("utf-8"))]
    path.write_text(json.dumps(rows), "utf-8")
    with pytest.raises(DataError, match=r"section \[evaluate\] of the recipe: no set has role held-out"):
        plan(Context(tiny, tmp_path / "data", tmp_path / "run", progress=False))


def test_too_few_rows_for_one_step_are_refused_before_anything_runs(starter_data, tmp_path):
    with gzip.open(starter_data / "NER" / "starter" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [{**json.loads(line), "dataset": "own"} for line in lines][:30]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    context = Context(read_recipe("from-embedded"), tmp_path / "rows.jsonl", tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=r"stage distil can't run: the data have at most \d+ queries.*\[distil.opt"):
        run(context)
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
