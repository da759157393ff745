"""The scorer that a recipe names, with the recipe's settings, against real servers and models."""

import math

import pytest
import torch
from ruie_training.errors import TrainingError
from ruie_training.mining.bm25 import mine
from ruie_training.pipeline.context import CANDIDATES, Context
from ruie_training.pipeline.reading import make_recipe
from ruie_training.pipeline.stages import STAGES
from ruie_training.preferences import prompt_and_answer
from ruie_training.preferences.loading import check_scorer, load_scorer
from ruie_training.preferences.settings import Preferences

from ruie_components.types import Example

from ...integration.ollama_server import OllamaServer


def settings_of(**scorer):
    return Preferences.model_validate({"scorer": scorer}).scorer


def scorer_of(keywords="none", **scorer):
    settings = Preferences.model_validate({"scorer": scorer, "keywords": keywords})
    return load_scorer(settings.scorer, settings.keywords)


@pytest.fixture(scope="module")
def language_model_folder(tmp_path_factory, starter_rows):
    """A small decoder of random weights in a folder, as one from the hub."""
    from ruie_training.models.from_scratch import language_model_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    rows = starter_rows("NER")
    texts = ["".join(prompt_and_answer(([rows[0]], row))) for row in rows]
    tokenizer = language_model_tokenizer(texts, 400, 2048)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    folder = tmp_path_factory.mktemp("lm")
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_local_model_sees_the_tags_that_the_recipe_asks_for(language_model_folder, starter_rows, tmp_path):
    pairs = [tuple(starter_rows("NER")[:2])]
    found = {
        keywords: scorer_of(kind="local", model=str(language_model_folder), keywords=keywords).score(pairs)
        for keywords in ("none", "plain")
    }
    assert all(math.isfinite(scores[0]) for scores in found.values())
    assert found["none"] != found["plain"]


def test_a_served_model_has_the_recipe_s_settings(language_model_folder, tmp_path, monkeypatch):
    by = {"kind": "served", "model": "x", "urls": ["http://localhost:1/v1"]}
    given = {"concurrency": 3, "retries": 1, "timeout": 9.0, "protocol": "prompt_logprobs"}
    monkeypatch.setenv("SERVER_KEY", "secret")
    tokenizer = str(language_model_folder)
    scorer = scorer_of(**by, **given, tokenizer=tokenizer, key_variable="SERVER_KEY", keywords="plain")
    assert {name: getattr(scorer, name) for name in given} == given
    assert scorer.keywords == "plain"
    assert scorer._headers == {"Authorization": "Bearer secret"}
    with pytest.raises(TrainingError, match="names NO_KEY, which is not set"):
        scorer_of(**by, key_variable="NO_KEY")
    with pytest.raises(TrainingError, match="no tokenizer can be loaded from no/such"):
        scorer_of(**by, tokenizer="no/such")


def test_ollama_scores_by_outcome_and_never_on_a_cut_prompt(starter_rows, tmp_path):
    rows = starter_rows("NER")[:3]
    text = "Ada slept. " * 2500
    long = Example(task="NER", text=text, labels=rows[0].labels, dataset=rows[0].dataset)
    with OllamaServer({"tiny:1b": 8192, "tiny:small": 1024}) as server:
        by = {"kind": "outcome", "url": server.url}
        scores = scorer_of(**by, model="ollama:tiny:1b").score([(rows[0], rows[1]), (rows[1], rows[2])])
        assert all(0 <= score <= 1 for score in scores)
        assert all(len(server.fitted(body)) == len(body["messages"]) for body in server.chats)
        (score,) = scorer_of(**by, model="ollama:tiny:small").score([(rows[0], long)])
        assert math.isnan(score)


def test_bm25_keeps_its_own_scores(starter_rows, starter_data, tmp_path):
    tables = {"name": "x", "preferences": {"scorer": {"kind": "bm25"}, "per_query": 3}}
    context = Context(make_recipe(tables), starter_data, tmp_path, progress=False)
    mined = mine(starter_rows("NER"), starter_rows("NER"), k=8, progress=False)
    for stage in ("mine", "preferences"):
        context.folder(stage).mkdir()
    mined.save(context.folder("mine") / CANDIDATES)
    STAGES["preferences"].run(context)
    scored = context.candidates("preferences")
    assert scored.kind == "bm25"
    for (_, ids, scores), (_, offered, known) in zip(scored, mined, strict=True):
        assert len(ids) == 3
        assert set(zip(ids, scores, strict=True)) <= set(zip(offered, known, strict=True))


def test_a_scorer_that_cannot_work_is_refused_before_the_run(tmp_path):
    with pytest.raises(TrainingError, match="1 of 1 pairs have no score"):
        check_scorer(settings_of(kind="served", model="x", urls=["http://localhost:1/v1"]))
    with pytest.raises(TrainingError, match="no language model can be loaded from no/such"):
        check_scorer(settings_of(kind="local", model="no/such"))


def test_no_such_model_is_named(tmp_path):
    with pytest.raises(TrainingError, match="no language model can be loaded from no/such"):
        scorer_of(kind="local", model="no/such")
