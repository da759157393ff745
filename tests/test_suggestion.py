import json
import sys

import pytest

from ruie_components import DemonstrationStore, Example
from ruie_components.cli.app import main
from ruie_components.formats import write_examples
from ruie_components.suggestion import suggest


def person(text, name):
    span = {"text": name, "type": "person", "start": text.index(name), "end": text.index(name) + len(name)}
    return Example(task="NER", text=text, labels=["person", "city"], entities=[span])


POOL = [person("ada met bob", "ada"), person("bob met ada", "bob"), person("ada slept", "ada")]
TEXTS = ["ada met bob", "bob slept", "bob slept", "oslo rome task", "oslo rome keyword", "acme works"]


def test_suggestions_are_new_different_and_beside_random_ones(encoder):
    with DemonstrationStore.create(POOL, encoder=encoder, progress=False) as store:
        found = suggest(store, [{"text": text, "id": i} for i, text in enumerate(TEXTS)], 2)
        every = suggest(store, TEXTS, 50)
    assert {each.query.text for each in every.chosen} == set(TEXTS) - {"ada met bob"}
    first, second = found.chosen
    assert first.novelty == max(each.novelty for each in every.chosen)
    assert {first.query.text, second.query.text} != {"oslo rome task", "oslo rome keyword"}
    assert isinstance(first.query.id, int)
    assert len(found.random) == 2
    assert first.doubt == pytest.approx(0)  # all three neighbours have one person


def test_wrong_use(encoder):
    with DemonstrationStore.create(POOL, encoder=encoder, progress=False) as store:
        with pytest.raises(ValueError, match="n must be >= 1"):
            suggest(store, TEXTS, 0)
        assert suggest(store, ["ada slept"]).chosen == []


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_examples("rows.jsonl", POOL)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), "utf-8")
    told = []
    for arguments in (["index", "rows.jsonl", "-s", "s"], ["suggest", "texts.txt", "-s", "s", "-n", "3", "--json"]):
        monkeypatch.setattr(sys, "argv", ["ruie", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        told.append(capsys.readouterr())
        assert not left.value.code, told[-1].err
    rows = json.loads(told[-1].out)
    assert (len(rows["suggested"]), len(rows["random"])) == (3, 3)
    assert all(row["text"] in TEXTS for row in rows["suggested"])
