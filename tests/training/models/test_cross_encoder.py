"""Groups of candidates, and the cross-encoder that learns them."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from ruie_training.data.candidates import Candidates
from ruie_training.data.groups import GroupRows, Groups
from ruie_training.data.rendering import passage_of
from ruie_training.errors import TrainingError
from ruie_training.models.bi_encoder import load_bi_encoder, train_bi_encoder
from ruie_training.models.cross_encoder import (
    count_cut_pairs,
    load_cross_encoder,
    score_candidates,
    split_by_score,
    train_reward,
)
from ruie_training.models.settings import Distil, Optimisation, Reward, Split
from sentence_transformers.cross_encoder import CrossEncoder
from transformers import BertModel

from ruie_components.keywords import KeywordStrategy


def settings(**changes):
    optimisation = {"learning_rate": 5e-3, "steps": 4, "batch_size": 8, "checkpoint_steps": 2, "log_steps": 1}
    values = {
        "model": "x",
        "max_length": 256,
        "groups": Split(size=4, top=2, bottom=8),
        "optimisation": Optimisation(**{**optimisation, **changes.pop("optimisation", {})}),
    }
    return Reward(**{**values, **changes})


def first(scored, count):
    return Candidates(scored.query_ids[:count], scored.candidate_ids[:count], scored.scores[:count])


def test_golden_selection(golden):
    cases = golden("selection.json")
    assert cases
    for case in cases:
        positives, negatives = split_by_score(
            case["doc_ids"], case["scores"], case["topk_as_positive"], case["bottomk_as_negative"]
        )
        assert set(positives) == set(case["positives"])
        assert set(negatives) == set(case["negatives"])


def test_a_positive_is_never_a_negative():
    positives, negatives = split_by_score(["a", "b", "c"], [1.0, 1.0, 0.0], top=2, bottom=16)
    assert (positives, negatives) == (["a", "b"], ["c"])


@pytest.mark.parametrize(("top", "bottom"), [(0, 1), (1, -2)])
def test_numbers_out_of_range_are_refused(top, bottom):
    with pytest.raises(ValueError, match="top must be"):
        split_by_score(["a"], [1.0], top, bottom)


def candidates(scores):
    ids = tuple(f"d{place}" for place in range(len(scores)))
    return Candidates(("q",), (ids,), (tuple(scores),))


def test_groups_are_drawn_anew_each_epoch_and_the_same_for_the_same_seed():
    scored = candidates(range(40))
    groups = Groups.of(scored, top=3, bottom=16, size=4, seed=1)
    draws = [tuple(name for name, _ in groups.draw(0, epoch)) for epoch in range(20)]
    assert draws == [tuple(name for name, _ in Groups.of(scored, size=4, seed=1).draw(0, epoch)) for epoch in range(20)]
    assert len(set(draws)) > 15
    assert {draw[0] for draw in draws} == {"d37", "d38", "d39"}
    assert {name for draw in draws for name in draw[1:]} <= {f"d{place}" for place in range(16)}
    assert all(len(set(draw)) == 4 for draw in draws)


def test_a_group_carries_the_scores_of_its_passages():
    assert all(score == float(name[1:]) for name, score in Groups.of(candidates(range(40)), size=4).draw(0, 3))


def test_what_can_not_fill_a_group_is_counted_not_lost():
    full, short, flat = range(20), range(5), [1.0] * 20
    ids = tuple(tuple(f"d{place}" for place in range(len(scores))) for scores in (full, short, flat))
    scored = Candidates(("a", "b", "c"), ids, tuple(tuple(map(float, row)) for row in (full, short, flat)))
    groups = Groups.of(scored, top=3, bottom=16, size=8)
    assert groups.queries == ("a",)
    assert groups.dropped == {"fewer candidates than a group needs": 1, "all candidates score alike": 1}


def test_no_query_left_says_what_to_do():
    with pytest.raises(TrainingError, match=r"fewer candidates than a group needs: 1.*make the groups smaller"):
        Groups.of(candidates(range(4)), size=8)


def test_a_score_that_is_no_number_names_query_and_candidate():
    with pytest.raises(TrainingError, match="candidate d1 of query q"):
        Groups.of(candidates([0.0, math.nan, 1.0]), size=2)


def test_a_positive_scores_better_than_its_negatives_where_that_is_possible():
    scored = candidates([1.0] + [0.0] * 30)  # the second and third positive are no better than any negative
    groups = Groups.of(scored, top=3, bottom=16, size=4)
    assert all(groups.draw(0, epoch)[0] == ("d0", 1.0) for epoch in range(20))


def test_rows_for_the_cross_encoder_have_the_positive_first_and_a_hard_label(agreed):
    preferences, examples = agreed
    text = passage_of(examples, KeywordStrategy.PLAIN, "block")
    groups = Groups.of(preferences, size=4, top=2, bottom=8)
    rows = GroupRows(groups, text, text, hard=True)({"row": [0, 1]})
    assert rows["labels"] == [[100.0, 0.0, 0.0, 0.0]] * 2
    assert rows["query"][0] == text(groups.queries[0])
    assert "<Keyword>" in rows["query"][0]
    assert rows["passages"][0] == [text(name) for name, _ in groups.draw(0, 0)]


@pytest.mark.parametrize(("keywords", "new"), [(KeywordStrategy.PLAIN, 2), (KeywordStrategy.NONE, 0)])
def test_tags_become_tokens_and_survive_saving(cross_encoder_folder, tmp_path, keywords, new):
    plain = CrossEncoder(str(cross_encoder_folder))
    removed = _without_tags(plain, tmp_path / "plain")
    before = len(CrossEncoder(str(removed)).tokenizer)
    model = load_cross_encoder(removed, keywords=keywords)
    assert len(model.tokenizer) == before + new
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    again = CrossEncoder(str(tmp_path / "saved"))
    assert len(again.tokenizer) == before + new
    assert again.transformers_model.get_input_embeddings().weight.shape[0] >= before + new
    pieces = again.tokenizer.tokenize("<Keyword> Ada </Keyword>")
    assert ("<Keyword>" in pieces) == bool(new)


def test_the_same_seed_makes_the_same_head_and_new_tokens(tmp_path):
    """A checkpoint of the hub has neither: what is made for them belongs to the run's seed too."""
    source = _without_tags(None, tmp_path / "plain")
    BertModel.from_pretrained(source).save_pretrained(source)  # without the head

    def made(seed):
        torch.rand(seed)  # whatever was drawn before
        model = load_cross_encoder(source, keywords=KeywordStrategy.PLAIN, seed=seed).transformers_model
        return model.classifier.weight, model.get_input_embeddings().weight[-2:]

    one, same, other = made(1), made(1), made(2)
    assert all(torch.equal(*pair) for pair in zip(one, same, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(one, other, strict=True))


def _without_tags(model, folder):
    """The model with a tokenizer that knows no keyword tags, as one from the hub."""
    from ruie_training.models.from_scratch import language_model_tokenizer
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = language_model_tokenizer(["Ada met Bob in Paris."] * 3, 300, 128)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=1
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(TrainingError, match="no/such/model"):
        load_cross_encoder("./no/such/model", keywords=KeywordStrategy.NONE)


def test_training_learns_what_is_preferred(cross_encoder_folder, agreed, tmp_path):
    labelled, examples = agreed
    rows = labelled.candidate_ids  # preferred are short texts: something that one layer can learn
    preferences = replace(labelled, scores=tuple(tuple(-float(len(examples[x].text)) for x in ids) for ids in rows))
    chosen = settings(optimisation={"steps": 30, "checkpoint_steps": 1000, "log_steps": 10})
    model = load_cross_encoder(cross_encoder_folder, keywords=chosen.keywords, max_length=256)
    before = _accuracy(model, preferences, examples, chosen)
    report = train_reward(model, preferences, examples, chosen, tmp_path, metrics=tmp_path / "m.jsonl", progress=False)
    assert report["steps"] == 30
    assert report["queries"] + sum(report["dropped"].values()) == len(preferences)
    after = _accuracy(model, preferences, examples, chosen)
    assert after > max(before, 0.25) + 0.4, (before, after)
    lines = (tmp_path / "m.jsonl").read_text("utf-8").splitlines()
    assert len(lines) >= 3
    assert '"stage": "reward"' in lines[0]


@pytest.mark.parametrize("kind", ["reward", "distil"])
def test_each_epoch_draws_other_groups(kind, cross_encoder_folder, static_folder, agreed, tmp_path, monkeypatch):
    """Through the trainers' own data loaders: the reference never connected it for the reward model."""
    drawn, draw = Counter(), Groups.draw

    def counted(groups, row, epoch):
        drawn[epoch] += 1
        return draw(groups, row, epoch)

    monkeypatch.setattr(Groups, "draw", counted)
    chosen = settings(optimisation={"steps": 25, "checkpoint_steps": 1000}, max_length=64)
    if kind == "reward":
        model = load_cross_encoder(cross_encoder_folder, keywords=chosen.keywords, max_length=64)
        report = train_reward(model, *agreed, chosen, tmp_path, progress=False)
    else:
        chosen = Distil(**{name: value for name, value in chosen if name in Distil.model_fields})
        report = train_bi_encoder(load_bi_encoder(static_folder, chosen), *agreed, chosen, tmp_path, progress=False)
    assert drawn.keys() == {0, 1, 2}
    assert drawn[0] == drawn[1] == report["queries"] // 8 * 8


def _accuracy(model, preferences, examples, chosen):
    """How often the positive of a group scores best."""
    groups = Groups.of(preferences, size=4, top=2, bottom=8, seed=5)
    drawn = [[name for name, _ in groups.draw(row, 0)] for row in range(len(groups))]
    asked = Candidates(groups.queries, tuple(map(tuple, drawn)), tuple((0.0,) * 4 for _ in drawn))
    scored = score_candidates(model, asked, examples, chosen)
    return np.mean([ids[0] == group[0] for ids, group in zip(scored.candidate_ids, drawn, strict=True)])


def test_scores_are_the_raw_logits_best_first(cross_encoder_folder, agreed):
    preferences, examples = agreed
    few = replace(first(preferences, 3), dropped={"kept": 1})
    chosen = settings(score_batch=5)
    model = load_cross_encoder(cross_encoder_folder, keywords=chosen.keywords, max_length=256)
    scored = score_candidates(model, few, examples, chosen)
    assert scored.kind == "reward"
    assert scored.dropped == {"kept": 1}
    assert [set(ids) for ids in scored.candidate_ids] == [set(ids) for ids in few.candidate_ids]
    assert all(list(row) == sorted(row, reverse=True) for row in scored.scores)
    text = passage_of(examples, chosen.keywords, chosen.layout)
    tokens = model.tokenizer(
        text(few.query_ids[0]), text(scored.candidate_ids[0][0]), truncation=True, max_length=256, return_tensors="pt"
    )
    with torch.no_grad():
        logit = model.transformers_model(**tokens).logits.item()
    assert scored.scores[0][0] == pytest.approx(logit, abs=1e-5)


def test_pairs_that_are_cut_are_counted(cross_encoder_folder, agreed):
    preferences, examples = agreed
    few = first(preferences, 4)
    model = load_cross_encoder(cross_encoder_folder, keywords=KeywordStrategy.PLAIN, max_length=256)
    text = passage_of(examples, KeywordStrategy.PLAIN, "block")
    lengths = [
        len(model.tokenizer(text(query), text(name))["input_ids"])
        for query, ids, _ in few
        for name in ids  # with the tokens around both
    ]
    for limit in (min(lengths) - 1, sorted(lengths)[len(lengths) // 2], max(lengths)):
        expected = sum(length > limit for length in lengths)
        assert count_cut_pairs(model, few, examples, settings(max_length=limit)) == expected
    assert count_cut_pairs(model, few, examples, settings(max_length=max(lengths))) == 0


def test_weights_that_are_no_numbers_are_an_error(cross_encoder_folder, agreed):
    preferences, examples = agreed
    model = load_cross_encoder(cross_encoder_folder, keywords=KeywordStrategy.PLAIN, max_length=256)
    with torch.no_grad():
        model.transformers_model.classifier.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match="not finite"):
        score_candidates(model, first(preferences, 2), examples, settings())


def test_a_loss_that_is_no_number_stops_the_training(cross_encoder_folder, agreed, tmp_path):
    preferences, examples = agreed
    model = load_cross_encoder(cross_encoder_folder, keywords=KeywordStrategy.PLAIN, max_length=256)
    with torch.no_grad():
        model.transformers_model.classifier.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match="step 1 of stage reward"):
        train_reward(
            model, preferences, examples, settings(), tmp_path, metrics=tmp_path / "metrics.jsonl", progress=False
        )


def test_too_few_queries_for_a_batch(cross_encoder_folder, agreed, tmp_path):
    preferences, examples = agreed
    model = load_cross_encoder(cross_encoder_folder, keywords=KeywordStrategy.PLAIN, max_length=256)
    with pytest.raises(TrainingError, match="one step takes 8"):
        train_reward(model, first(preferences, 4), examples, settings(), tmp_path, progress=False)
