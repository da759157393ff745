"""What a cluster engine sends to its workers: picklable, opened there, the same results as in one process."""

import json
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from ruie_components.chat import MessageList
from ruie_components.extraction import Chunking, Extractor
from ruie_components.extraction.distributed import BatchExtractor
from ruie_components.store import DemonstrationStore

from ..pool import EXAMPLES

TEXTS = ["Ada slept in Rome.", "Bob met Ada in Oslo. Cy met Bob. " * 6]
OPTIONS = {"task": "NER", "labels": ["person", "place"], "k": 2}


@pytest.fixture(scope="module")
def path(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores") / "pool"
    DemonstrationStore.create(EXAMPLES, folder, progress=False).close()
    return str(folder)


def test_prompts_go_out_answers_come_in_and_give_what_an_extractor_gives(path):
    from ruie_components.chat.baseline import copy_answer

    batches = BatchExtractor(path, options=OPTIONS, chunking=Chunking(30))
    requests = batches.prompts_for(TEXTS)
    assert Counter(request["document"] for request in requests)[1] > 1
    assert batches.extractor is batches.extractor  # opened once
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as worker:  # to which an open store can't travel
        assert worker.submit(BatchExtractor.prompts_for, batches, TEXTS).result() == requests
    roles = {"system": "system", "user": "human", "assistant": "ai"}
    answers = {
        request["id"]: copy_answer(
            MessageList([(roles[one["role"]], one["content"]) for one in request["messages"]]).text
        )
        for request in requests
    }
    with batches.extractor.store as store:
        results = batches.parse(answers, TEXTS)
        alone = Extractor(store, "baseline", **OPTIONS).extract_documents(TEXTS, Chunking(30))
        assert [result.extraction for result in results] == [result.extraction for result in alone]
        assert results[1].extraction.entities
        del answers[requests[0]["id"]]
        assert "there is no answer to request" in batches.parse(answers, TEXTS)[0].error
        with pytest.raises(ValueError, match="has no model"):
            batches.extract(TEXTS[:1])
    batches.close()


def test_columns_come_back_with_results(path):
    batches = BatchExtractor(path, model="baseline", options=OPTIONS)
    columns = batches({"id": [7, 8], "text": TEXTS})
    assert columns["id"] == [7, 8]
    assert [json.loads(row)["extraction"]["text"] for row in columns["result"]] == TEXTS
    batches.close()
