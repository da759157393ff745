"""Run folders, and tiny.toml from nothing to an exported and evaluated encoder."""

import errno
import gzip
import json
import math
import resource
import shutil

import pytest
import torch
from ruie_training.data.catalog import DataError
from ruie_training.errors import RecipeError, RunError, TrainingError
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.manifest import read_record
from ruie_training.pipeline.reading import make_recipe, read_recipe
from ruie_training.pipeline.run import plan, run
from ruie_training.pipeline.stages import STAGES, preferences
from safetensors.torch import load_file

from ruie_components.encoders import load_encoder
from ruie_components.files import atomic_path
from ruie_components.prompts import Layout

ALL = ["mine", "models", "preferences", "reward", "distil", "export", "evaluate"]


@pytest.fixture(scope="module")
def tiny():
    """tiny.toml, but without the export's second file and with its data's names."""
    return read_recipe("tiny").model_copy(update={"description": "Tested."})


@pytest.fixture(scope="module")
def finished(tiny, starter_data, tmp_path_factory):
    """A finished run of tiny.toml, and what it said."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preferences, "SHARD_PAIRS", 240)
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


def test_preferences_are_kept_in_shards_of_few_pairs(finished):
    folder, manifest, _ = finished
    shards = list((folder / "preferences" / "shards").iterdir())
    assert len(shards) == math.ceil(manifest["stages"]["mine"]["report"]["queries"] / 20)  # 12 pairs a query


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
    logged = [json.loads(line) for line in (copy / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [line["step"] for line in logged if line["stage"] == "distil" and "loss" in line]
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
    with atomic_path(tmp_path / "manifest.json") as part:
        part.write_text("{", "utf-8")
        assert actions(Context(tiny, starter_data, tmp_path))["mine"] == "run"


@pytest.mark.parametrize(
    ("function", "what"),
    [("pathlib.Path.mkdir", "created"), ("ruie_training.pipeline.manifest.atomic_write", "written")],
)
def test_a_folder_without_permission_is_told(function, what, tiny, starter_data, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(function, refuse)
    with pytest.raises(RunError, match=f"run can't be {what}: Permission denied; .*--out"):
        run(Context(tiny, starter_data, tmp_path / "run", progress=False), until="mine")


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


def test_a_catalog_without_a_set_to_measure_names_section_and_condition(tiny, starter_data, tmp_path):
    shutil.copytree(starter_data, tmp_path / "data")
    path = tmp_path / "data" / "catalog.json"
    rows = [{**each, "role": "held-in"} for each in json.loads(path.read_text("utf-8"))]
    path.write_text(json.dumps(rows), "utf-8")
    with pytest.raises(DataError, match=r"section \[evaluate\] of the recipe: no set has role held-out"):
        plan(Context(tiny, tmp_path / "data", tmp_path / "run", progress=False))


@pytest.mark.parametrize("section", ["distil", "reward", "models.language_model"])
def test_fp16_is_refused_without_a_gpu_before_anything_runs(starter_data, tmp_path, monkeypatch, section):
    monkeypatch.setattr("ruie_training.models.trainers._uses_cpu", lambda: True)
    path = tmp_path / "own.toml"
    path.write_text(f'extends = "tiny"\nname = "own"\n[{section}.optimisation]\nprecision = "fp16"\n', "utf-8")
    context = Context(read_recipe(path), starter_data, tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=rf'can\'t run: \[{section}.optimisation\] precision = "fp16" needs a GPU'):
        run(context)
    assert not (tmp_path / "run").exists()


def test_too_few_rows_for_one_step_are_refused_before_anything_runs(starter_data, tmp_path):
    with gzip.open(starter_data / "NER" / "starter" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [{**json.loads(line), "dataset": "own"} for line in lines][:30]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    context = Context(read_recipe("from-embedded"), tmp_path / "rows.jsonl", tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=r"stage distil can't run: the data have at most \d+ queries.*\[distil.opt"):
        run(context)
    assert not (tmp_path / "run").exists()
