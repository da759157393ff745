"""Every file of examples/ runs, with what it needs; one whose framework is not installed is skipped."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TESTED = {
    "few_shot_app", "langgraph_node", "fastapi_service", "streamlit_page", "custom_encoder", "custom_chat_model",
    "distillation", "ray_data", "spark",
}  # fmt: skip


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.delenv("RUIE_MODEL", raising=False)
    monkeypatch.delenv("RUIE_STORE", raising=False)
    monkeypatch.delenv("GATEWAY_URL", raising=False)


def test_every_example_is_tested_and_says_how_to_run_it():
    files = {path.stem: path.read_text("utf-8") for path in EXAMPLES.glob("*.py")}
    assert set(files) == TESTED
    for name, text in files.items():
        assert f"[`{name}.py`]({name}.py)" in (EXAMPLES / "README.md").read_text("utf-8")
        header = text.split('"""')[1]
        assert "Run it" in header
        assert "pip install" in header
        assert f"examples/{name}.py" in header or f"{name}:app" in header


def test_the_few_shot_app_finds_spans_with_chosen_examples(capsys):
    load("few_shot_app").main()
    out = capsys.readouterr().out
    assert "fixed examples:  None" in out
    assert "city: Lima [30:34]" in out


def test_the_langgraph_node_waits_for_a_person_and_adds_what_they_confirm(capsys):
    pytest.importorskip("langgraph")
    load("langgraph_node").main()
    out = capsys.readouterr().out
    assert "waits before: ('review',)" in out
    assert "added to the pool: Aurora Air flies from Lisbon to Mexico City." in out
    assert "checkpoints: 5" in out


def test_the_service_answers_streams_and_names_wrong_requests():
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    from fastapi.testclient import TestClient

    ask = {"text": "Fly from Oslo to Lima.", "task": "NER", "labels": ["city"]}
    cities = [("city", "Oslo"), ("city", "Lima")]
    with TestClient(load("fastapi_service").app) as client:
        found = client.post("/extract", json=ask).json()
        assert [(span["type"], span["span"]) for span in found["spans"]] == cities
        lines = [json.loads(line) for line in client.post("/extract/stream", json=ask).text.splitlines()]
        assert lines[-1]["done"]
        assert [(span["type"], span["span"]) for span in lines[-1]["spans"]] == cities
        for path in ("/extract", "/extract/stream"):
            refused = client.post(path, json={"text": "Fly from Oslo."})
            assert refused.status_code == 422
            assert "which task?" in refused.json()["detail"]
            refused = client.post(path, json={**ask, "text": " "})
            assert refused.status_code == 422
            assert "text is empty" in refused.json()["detail"]


def test_the_page_shows_the_chosen_demonstrations(monkeypatch):
    testing = pytest.importorskip("streamlit.testing.v1")
    page = testing.AppTest.from_file(str(EXAMPLES / "streamlit_page.py"), default_timeout=60).run()
    assert not page.exception
    assert len([one for one in page.caption if one.value.startswith("score ")]) == 4
    assert "Aurora Air" in page.dataframe[0].value["span"].tolist()
    page.slider[0].set_value(2)
    page.selectbox[0].set_value("bm25").run()
    assert len([one for one in page.caption if one.value.startswith("score ")]) == 2
    page.text_area[0].set_value(" ").run()
    assert page.info[0].value == "Give a text and at least one label."


def test_the_custom_encoder_finds_examples(capsys):
    load("custom_encoder").main()
    out = capsys.readouterr().out
    assert "trigrams-512" in out
    assert out.count("Find me a flight from Oslo") >= 1


def test_the_custom_chat_model_streams_and_takes_a_schema():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "custom_chat_model.py"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    whole = "[('person', 'Ada'), ('person', 'Grace'), ('person', 'Katherine')]"
    lines = done.stdout.splitlines()
    assert f"linear {whole}" in lines
    assert f"json {whole}" in lines
    assert "linear [('person', 'Ada')]" in lines  # the result grew


CITIES = [
    "0 [('Oslo', 12, 16), ('Lima', 20, 24)]",
    "1 [('Lisbon', 22, 28), ('Rome', 32, 36)]",
    "2 [('Mexico City', 16, 27)]",
]


def run_example(name: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        capture_output=True, text=True, timeout=280, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.slow
def test_ray_extracts_with_actors_on_a_local_cluster():
    pytest.importorskip("ray.data", reason="Ray is not installed", exc_type=ImportError)
    # Ray runs its workers at niceness 15, where a busy machine lets them wait for minutes
    assert run_example("ray_data", RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")[-3:] == CITIES


@pytest.mark.slow
def test_spark_extracts_on_local_workers():
    pytest.importorskip("pyspark", reason="Spark is not installed", exc_type=ImportError)
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    assert run_example("spark")[-3:] == CITIES


def test_the_student_learns_from_the_teacher():
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("datasets")
    code = f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import distillation; distillation.main(epochs=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    figures = done.stdout.splitlines()[-1].partition(": ")[2].split()
    before, after = float(figures[0].rstrip("%")), float(figures[2].rstrip("%"))
    assert after > before
