"""What the documentation names can be imported, and what a public module exports is documented."""

import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import ruie_components

ROOT = Path(__file__).parents[1]
REFERENCE = re.compile(r"^::: (\S+)", re.MULTILINE)
NAMED = sorted({name for page in (ROOT / "docs").rglob("*.md") for name in REFERENCE.findall(page.read_text("utf-8"))})
SURFACE = {
    "ruie_components": [
        "Example", "Query", "Extraction", "Task", "DemonstrationStore", "DemonstrationRetriever", "Selector",
        "Extractor", "__version__",
    ],
    "ruie_components.langchain": [
        "RUIERetriever", "RUIEExampleSelector", "UIEOutputParser", "create_extraction_chain", "load_chat_model",
    ],
    "ruie_components.llama_index": ["RUIERetriever", "UIEOutputParser"],
    "ruie_components.prompts": ["render_query", "render_demonstration", "render_answer", "build_prompt"],
    "ruie_components.answers": ["parse", "json_schema"],
    "ruie_components.scoring": ["score", "score_answers"],
    "ruie_components.keywords": ["mark"],
    "ruie_training.losses": ["distillation_loss"],
    "ruie_training.reward": ["split_by_score"],
}  # fmt: skip


def load(name: str) -> object:
    """A module, or an attribute of one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


def skip_without_its_package(name: str) -> None:
    """Skip what belongs to an extra that is not installed."""
    if name.startswith("ruie_training"):
        pytest.importorskip("torch")
    if name.startswith("ruie_components.llama_index"):
        pytest.importorskip("llama_index.core")
    if name.startswith("ruie_components.mcp"):
        pytest.importorskip("mcp")


def test_the_documentation_names_modules():
    assert len(NAMED) >= 15


@pytest.mark.parametrize("name", NAMED)
def test_what_the_reference_names_exists_and_is_documented(name):
    skip_without_its_package(name)
    documented = load(name)
    assert documented.__doc__


@pytest.mark.parametrize(("module", "names"), SURFACE.items(), ids=SURFACE)
def test_the_public_surface(module, names):
    skip_without_its_package(module)
    loaded = importlib.import_module(module)
    for name in names:
        assert hasattr(loaded, name), f"{module}.{name}"
    exported = getattr(loaded, "__all__", names)
    assert set(names) <= set(exported)
    assert all(hasattr(loaded, name) for name in exported)


def test_a_process_that_retrieves_does_not_import_extraction():
    code = (
        "import sys, ruie_components as r; print('ruie_components.extraction' in sys.modules, 'httpx' in sys.modules);"
        "print(r.Extractor.__name__, hasattr(r, 'Nothing'), set(r.__all__) <= set(dir(r)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", "Extractor", "False", "True"]


EXPORTED = [getattr(ruie_components, name) for name in ruie_components.__all__]
MODELS = [each for each in EXPORTED if hasattr(each, "model_fields")]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("each", [*MODELS, *filter(is_dataclass, EXPORTED)], ids=lambda each: each.__name__)
def test_the_signature_of_a_data_class_shows_no_addresses(each):
    assert not re.search(r" at 0x|<function", str(inspect.signature(each)))


def test_a_type_checker_without_pydantic_s_plugin_accepts_the_readme_and_finds_mistakes(tmp_path):
    pytest.importorskip("mypy")
    configuration = tmp_path / "mypy.ini"
    configuration.write_text(
        # only what the types stand on: to follow all imports would take minutes
        f"[mypy]\nmypy_path = {ROOT}\nstrict = True\nfollow_imports = skip\nignore_missing_imports = True\n"
        "[mypy-ruie_components.*,pydantic.*]\nfollow_imports = silent\n",
        "utf-8",
    )
    first, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    script = tmp_path / "script.py"
    lines = [
        "from ruie_components import Example, Query",
        'Query(task="NER", text="Ada", labels=["person"])',
        'Example(task="NER", text="Ada", labels=["person"], entities=[])',
        "Query(task=3, text='Ada', labels=['person'])  # wrong",
        "Query(task='NER', text='Ada', label=['person'])  # wrong",
    ]
    script.write_text("\n".join([*lines, first]), "utf-8")
    command = [sys.executable, "-m", "mypy", f"--config-file={configuration}", f"--cache-dir={tmp_path}", str(script)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280)
    wrong = re.findall(r"script\.py:(\d+): error: (.*?) {2}\[", ended.stdout)
    assert [line for line, _ in wrong] == ["4", "5"], ended.stdout + ended.stderr
    assert "int" in wrong[0][1]
    assert "label" in wrong[1][1]
