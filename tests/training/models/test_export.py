"""Exported encoders against the torch models they come from, through the loader that users have."""

import json
import resource
from contextlib import contextmanager

import numpy as np
import onnxruntime
import pytest
from ruie_training.data.catalog import Role, read_catalog
from ruie_training.errors import RunError, TrainingError
from ruie_training.models.bi_encoder import load_bi_encoder
from ruie_training.models.export import export_encoder, smallest_cosine
from ruie_training.models.model_card import write_card
from ruie_training.models.settings import Distil, Optimisation
from sentence_transformers import SentenceTransformer

from ruie_components.encoders import load_encoder
from ruie_components.encoders.folder import EncoderConfig
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout


def config_of(model):
    return EncoderConfig(
        name="tested",
        query_prefix="query: ",
        passage_prefix="passage: ",
        max_tokens=64,
        layout=Layout.INPUT,
        keywords=KeywordStrategy.TYPED,
        dimension=model.get_embedding_dimension(),
    )


def model_of(folder):
    model = SentenceTransformer(str(folder), device="cpu")
    model.prompts = {"query": "query: ", "document": "passage: "}
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory, static_folder, transformer_folder):
    """Folders of exported encoders, and their models, by kind."""
    found = {}
    for kind, source in (("static", static_folder), ("transformer", transformer_folder)):
        for int8 in (False, True):
            folder = tmp_path_factory.mktemp("exported") / kind
            model = model_of(source)
            export_encoder(model, folder, config_of(model), card="# A card\n", int8=int8)
            found[kind, int8] = folder, model
    return found


@pytest.mark.parametrize(("int8", "smallest"), [(False, 1 - 1e-5), (True, 0.98)], ids=["float32", "int8"])
@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_vectors_are_the_torch_models(exported, passages, kind, int8, smallest):
    folder, model = exported[kind, int8]
    texts = [text[:100] for text in passages[:20]]  # some padding, none cut off
    assert smallest_cosine(model, folder, texts) > smallest
    ours = model.encode_query(texts, normalize_embeddings=True, show_progress_bar=False)
    theirs = load_encoder(folder).encode_texts(texts, "query")
    assert np.einsum("nd,nd->n", ours, theirs).min() > smallest
    assert np.allclose(np.linalg.norm(theirs, axis=1), 1, atol=1e-5)


def test_prefixes_matter(exported):
    encoder = load_encoder(exported["transformer", False][0])
    text = ["Ada met Bob."]
    assert not np.allclose(encoder.encode_texts(text, "query"), encoder.encode_texts(text, "passage"), atol=1e-4)


@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_int8_is_smaller(exported, kind):
    sizes = [(exported[kind, int8][0] / "encoder.onnx").stat().st_size for int8 in (False, True)]
    assert sizes[1] < 0.7 * sizes[0]


def test_the_folder_has_the_agreed_form(exported):
    folder, model = exported["transformer", False]
    assert {path.name for path in folder.iterdir()} == {"encoder.onnx", "tokenizer.json", "encoder.json", "README.md"}
    assert json.loads((folder / "encoder.json").read_text("utf-8")) == {
        "name": "tested",
        "query_prefix": "query: ",
        "passage_prefix": "passage: ",
        "max_tokens": 64,
        "layout": "input",
        "keywords": "typed",
        "dimension": model.get_embedding_dimension(),
    }
    session = onnxruntime.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    assert {value.name: value.type for value in session.get_inputs()} == {
        "input_ids": "tensor(int64)",
        "attention_mask": "tensor(int64)",
    }
    assert [value.name for value in session.get_outputs()] == ["embedding"]
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert tokenizer["truncation"] is None
    assert tokenizer["padding"] is None


@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_long_texts_are_cut_as_in_training(kind, static_folder, transformer_folder, passages, tmp_path):
    source = {"static": static_folder, "transformer": transformer_folder}[kind]
    optimisation = Optimisation(learning_rate=1e-3, steps=1, batch_size=2)
    chosen = Distil(model="x", max_length=64, optimisation=optimisation)
    model = load_bi_encoder(source, chosen).cpu()
    model.prompts = {"query": "query: ", "document": "passage: "}
    long = " ".join(passages[:5])
    export_encoder(model, tmp_path / kind, config_of(model), card="")
    assert smallest_cosine(model, tmp_path / kind, [long]) > 1 - 1e-5
    cut = " ".join([*passages[:5], "Zanzibar " * 50])  # what is cut off does not count
    assert np.allclose(*model.encode_document([long, cut], show_progress_bar=False), atol=1e-6)


def test_another_kind_of_model_is_refused(tmp_path):
    from sentence_transformers.sentence_transformer.modules import BoW

    model = SentenceTransformer(modules=[BoW(vocab=["a", "b"])], device="cpu")
    with pytest.raises(TrainingError, match="BoW"):
        export_encoder(model, tmp_path, config_of(model), card="")


@contextmanager
def files_of_at_most(size):
    """As if the disk were full: writing beyond ``size`` bytes fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_is_told(static_folder, tmp_path):
    model = model_of(static_folder)
    with files_of_at_most(1000), pytest.raises(RunError, match="can't be written"):
        export_encoder(model, tmp_path / "full", config_of(model), card="")
    assert not (tmp_path / "full" / "encoder.json").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "All permit passing on these weights by their stated licence. None is held out."),
        ({"permissive": False}, "for measurement only: NER/starter"),
        ({"role": Role.OWN, "permissive": None}, "their owner decides who may use these weights"),
        ({"role": Role.HELD_OUT}, "Held out, and trained on all the same: NER/starter"),
    ],
)
def test_the_card_says_what_the_data_allow(starter_data, changes, said):
    dataset = read_catalog(starter_data)[0].model_copy(update=changes)
    assert said in write_card([dataset], title="T", recipe={}, command="c", how="h")
