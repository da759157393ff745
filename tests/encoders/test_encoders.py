import json
import pickle
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from ruie_components import EncoderError, Example, prompts
from ruie_components.encoders import EmbeddingsEncoder, OnnxEncoder, SentenceTransformersEncoder, load_encoder

TEXTS = ["Ada slept.", "Bob met Cy in Rome. " * 20, "", "at Acme", "北京", "Bob", "x y " * 75]


def lengths(vectors):
    return np.linalg.norm(vectors, axis=1)


def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(encoder):
    vectors = encoder.encode_texts(TEXTS, "query")
    assert vectors.shape == (7, 32)
    assert vectors.dtype == np.float32
    known = [0, 1, 3, 5, 6]
    assert lengths(vectors[known]) == pytest.approx(np.ones(5), abs=1e-6)
    assert np.array_equal(vectors, np.vstack([encoder.encode_texts([text], "query") for text in TEXTS]))
    assert np.array_equal(vectors, encoder.encode_texts(TEXTS[::-1], "query")[::-1])
    assert encoder.encode_texts([], "query").shape == (0, 32)


def test_a_text_without_a_known_word_gets_zeros(encoder):
    assert not encoder.encode_texts(["", "北京"], "query").any()


def test_prefixes_and_truncation_are_those_of_the_folder(tmp_path, make_encoder, encoder):
    folder = make_encoder(tmp_path / "e", query_prefix="ada ", passage_prefix="bob ", max_tokens=3)
    prefixed = load_encoder(folder)
    assert np.array_equal(
        prefixed.encode_texts(["slept in rome"], "query"), encoder.encode_texts(["ada slept in"], "query")
    )
    assert np.array_equal(prefixed.encode_texts(["met"], "passage"), encoder.encode_texts(["bob met"], "passage"))


def test_lone_surrogates_are_no_error(encoder):
    assert lengths(encoder.encode_texts(["Ada \ud800 slept"], "query")) == pytest.approx([1], abs=1e-6)


def test_the_fingerprint_changes_with_whatever_changes_a_vector(tmp_path, make_encoder):
    def fingerprint(name, **options):
        return load_encoder(make_encoder(tmp_path / name, **options)).fingerprint

    first = fingerprint("a")
    assert len(first) >= 16
    assert first == fingerprint("another name")
    changes = [
        {"seed": 1},
        {"query_prefix": "q"},
        {"passage_prefix": "p"},
        {"max_tokens": 9},
        {"layout": "block"},
        {"keywords": "typed"},
    ]
    others = [fingerprint(f"b{number}", **change) for number, change in enumerate(changes)]
    assert len({first, *others}) == 7


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("encoder.json", None, "no folder"),
        ("encoder.onnx", None, r"encoder\.onnx can't be read"),
        ("tokenizer.json", None, r"tokenizer\.json can't be read"),
        ("encoder.json", b"{}", "not the description of an encoder"),
        ("encoder.onnx", b"no graph", r"encoder\.onnx can't be loaded"),
        ("tokenizer.json", b"{}", r"tokenizer\.json is not a tokenizer"),
    ],
)
def test_a_broken_folder_is_an_error_that_names_the_file(tmp_path, make_encoder, name, content, message):
    folder = make_encoder(tmp_path / "e")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    source = tmp_path / "nowhere" if message == "no folder" else folder
    with pytest.raises(EncoderError, match=message):
        load_encoder(source).encode_texts(["Ada"], "query")


def test_a_dimension_that_the_graph_does_not_have_is_an_error(tmp_path, make_encoder):
    folder = make_encoder(tmp_path / "e")
    config = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps(config | {"dimension": 7}))
    with pytest.raises(EncoderError, match="dimension 7"):
        load_encoder(folder).encode_texts(["Ada"], "query")


def test_the_embedded_encoder_loads_without_options():
    encoder = load_encoder()
    vectors = encoder.encode_texts(["Ada slept in Rome.", "Ada slept in Oslo.", "shares fell by a third"], "query")
    assert vectors.shape == (3, encoder.dimension)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert load_encoder("embedded").fingerprint == encoder.fingerprint


class Words:
    """LangChain's interface: each letter's count."""

    model = "letters-1"

    def embed_query(self, text):
        return [text.count(letter) * 2.0 for letter in "abc"]

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


def test_langchain_embeddings_are_normalised():
    encoder = load_encoder(Words(), layout="input", keywords="none")
    assert isinstance(encoder, EmbeddingsEncoder)
    assert encoder.encode_texts(["aab", "zzz"], "query").tolist() == [
        pytest.approx([2 / 5**0.5, 1 / 5**0.5, 0]),
        [0, 0, 0],
    ]
    assert encoder.encode_texts(["c"], "passage").tolist() == [[0, 0, 1]]
    assert encoder.encode_texts([], "passage").shape == (0, 3)
    assert (encoder.name, encoder.dimension, encoder.layout) == ("Words model=letters-1", 3, "input")


def test_the_fingerprint_of_embeddings_is_their_class_and_model():
    other = Words()
    other.model = "letters-2"
    assert load_encoder(Words()).fingerprint == load_encoder(Words()).fingerprint
    assert load_encoder(Words()).fingerprint != load_encoder(other).fingerprint
    assert load_encoder(Words()).fingerprint != load_encoder(Words(), layout="input").fingerprint


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[float("nan"), 1.0]], "NaN or infinity for 'Ada'"),
        ([[float("inf"), 1.0]], "NaN or infinity for 'Ada'"),
        ([[1.0], [1.0]], r"shape \(2, 1\) for 1 texts"),
        ([[]], r"shape \(1, 0\)"),
        ([1.0], r"shape \(1,\)"),
        ([["a"]], "no numbers"),
    ],
)
def test_vectors_that_are_none_are_refused(vectors, message):
    class Broken(Words):
        def embed_documents(self, texts):
            return vectors

    with pytest.raises(EncoderError, match=message):
        load_encoder(Broken()).encode_texts(["Ada"], "passage")


def test_an_encoder_is_returned_as_it_is_and_other_things_are_refused(encoder):
    assert load_encoder(encoder) is encoder
    with pytest.raises(EncoderError, match="loaded encoder"):
        load_encoder(encoder, layout="block")
    with pytest.raises(EncoderError, match="got int"):
        load_encoder(3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny BERT with mean pooling and prompts, saved by sentence-transformers."""
    pytest.importorskip("sentence_transformers", reason="needs the extra [train]")
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("checkpoint")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "bob", "slept", "met", ".", "query", "passage", ":"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder / "bert")
    model = SentenceTransformer(str(folder / "bert"), device="cpu")
    model.prompts = {"query": "query: ", "passage": "passage: "}
    model.save(str(folder / "model"))
    return folder / "model"


def test_a_sentence_transformers_folder_is_encoded_with_its_prompts(checkpoint):
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(checkpoint, device="cpu")
    assert isinstance(encoder, SentenceTransformersEncoder)
    model = SentenceTransformer(str(checkpoint), device="cpu")
    texts = ["Ada slept.", "Bob met Ada. " * 3, "Bob"]
    for prefix, role in (("query: ", "query"), ("passage: ", "passage")):
        expected = model.encode([prefix + text for text in texts], prompt="", normalize_embeddings=True)
        assert encoder.encode_texts(texts, role) == pytest.approx(expected, abs=1e-5)
    assert encoder.dimension == 16
    assert encoder.encode_texts([], "query").shape == (0, 16)


def test_prefixes_pooling_and_length_can_be_set_and_change_the_fingerprint(checkpoint):
    plain = load_encoder(checkpoint, device="cpu")
    again = load_encoder(str(checkpoint), device="cpu")
    assert plain.fingerprint == again.fingerprint
    changed = [
        load_encoder(checkpoint, device="cpu", **options)
        for options in ({"query_prefix": ""}, {"pooling": "cls"}, {"max_tokens": 4}, {"layout": "input"})
    ]
    assert len({plain.fingerprint, *(each.fingerprint for each in changed)}) == 5
    vectors = [each.encode_texts(["Ada met Bob. Bob slept."], "query")[0] for each in [plain, *changed[:3]]]
    assert all(not np.allclose(vectors[0], other, atol=1e-3) for other in vectors[1:])


def test_checkpoints_of_known_families_get_their_prefixes_unless_they_have_their_own(checkpoint, tmp_path):
    for name, prefixes in {
        "e5-base-v2": ("query: ", "passage: "),
        "bge-small-en-v1.5": ("Represent this sentence for searching relevant passages: ", ""),
        "e5-mistral": ("", ""),
    }.items():
        shutil.copytree(checkpoint, tmp_path / name)
        settings = tmp_path / name / "config_sentence_transformers.json"
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"prompts": {}}))
        encoder = load_encoder(tmp_path / name, device="cpu")
        assert (encoder.query_prefix, encoder.passage_prefix) == prefixes
        assert load_encoder(tmp_path / name, device="cpu", query_prefix="").query_prefix == ""
    shutil.copytree(checkpoint, tmp_path / "bge-base-en")
    assert load_encoder(tmp_path / "bge-base-en", device="cpu").passage_prefix == "passage: "


def test_a_name_that_is_nowhere_is_an_error_that_says_what_it_could_be(monkeypatch, tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs the extra [train]")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EncoderError, match=r"neither an exported encoder .* nor the name of a model"):
        load_encoder(str(tmp_path / "nothing"))


def test_without_the_extra_the_error_names_the_pip_line(tmp_path):
    code = """
import sys
from contextlib import suppress
sys.modules["sentence_transformers"] = None
from ruie_components import load_encoder
try:
    load_encoder("some/model")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'ruie-components[train]'" in done.stdout


def test_onnx_threads_can_be_limited(encoder_folder, encoder):
    assert np.array_equal(
        OnnxEncoder(encoder_folder, threads=1).encode_texts(TEXTS, "query"), encoder.encode_texts(TEXTS, "query")
    )


def test_queries_and_examples_are_written_by_the_encoder(encoder):
    ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    for each in (encoder, load_encoder(Words())):
        texts = [prompts.render_search_query(example.query, each.layout)]
        assert np.array_equal(each.encode_queries([example.query]), each.encode_texts(texts, "query"))
        passages = [prompts.render_passage(example, each.keywords, each.layout)]
        assert np.array_equal(each.encode_examples([example]), each.encode_texts(passages, "passage"))
        assert each.encode_queries([]).shape == each.encode_examples([]).shape == (0, each.dimension)


def test_a_checkpoint_with_modules_of_others_is_refused_before_anything_is_imported(checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "foreign"
    shutil.copytree(checkpoint, folder)
    (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Module: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "stranger.Module"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncoderError, match=r"modules\.json names 'stranger\.Module'"):
        load_encoder(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_with_code_of_its_own_does_not_run_it(checkpoint, tmp_path):
    folder = tmp_path / "remote"
    shutil.copytree(checkpoint, folder)
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import BertModel, BertConfig\n"
    for home in (folder, *(path.parent for path in folder.rglob("config.json"))):
        (home / "evil.py").write_text(code)
    for path in folder.rglob("config.json"):
        config = json.loads(path.read_text())
        if "hidden_size" not in config:
            continue
        config["auto_map"] = {"AutoModel": "evil.BertModel", "AutoConfig": "evil.BertConfig"}
        path.write_text(json.dumps(config))
    with suppress(EncoderError):  # to refuse it, or to load it with the library's own class, is both safe
        load_encoder(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_weights_run_nothing(checkpoint, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(checkpoint, folder)
    for path in folder.rglob("model.safetensors"):
        path.with_name("pytorch_model.bin").write_bytes(pickle.dumps({"weight": _Bomb(tmp_path / "ran")}, protocol=2))
        path.unlink()
    with pytest.raises(EncoderError):
        load_encoder(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("location", ["/etc/hostname", "../outside"])
def test_weights_outside_an_encoders_folder_are_not_read(tmp_path, make_encoder, location):
    onnx = pytest.importorskip("onnx", reason="needs the extra [train]")
    folder = make_encoder(tmp_path / "e")
    (tmp_path / "outside").write_bytes(b"\0" * 100_000)
    model = onnx.load(folder / "encoder.onnx")
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
    (folder / "encoder.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EncoderError, match="can't be loaded"):
        load_encoder(folder).encode_texts(["Ada"], "query")


def test_telemetry_is_off_and_nothing_is_looked_up_for_local_folders(checkpoint, encoder_folder, monkeypatch):
    import onnxruntime

    called, addresses = [], []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: called.append(True))
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: addresses.append(host) or [])
    load_encoder(encoder_folder).encode_texts(["Ada"], "query")
    assert called
    load_encoder(checkpoint, device="cpu").encode_texts(["Ada"], "query")
    assert not addresses
