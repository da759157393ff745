"""What the documentation names can be imported, and what a public module exports is documented."""

import importlib
import re
from pathlib import Path

import pytest

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
