"""A corpus over many machines with Ray Data: actors that hold a store, rows with spans out.

Each actor opens the store once. Where the store is a folder, every machine needs a copy of it or a shared file system;
or run Chroma's server and give its URL (``chroma run --path STORE``). Ray retries the batches of a worker that dies.

Run it on this machine, or on a cluster with ``RAY_ADDRESS`` set:

    pip install ruie-components "ray[data]"
    python examples/ray_data.py

Where the language model runs on the cluster's own GPUs, leave the requests to ``ray.data.llm``, which keeps vLLM
engines busy: ``prompts_for`` makes the rows that it reads, ``parse`` reads what it writes. See ``with_engine``.
"""

import json
import os
from typing import Any

import ray

from ruie_components.extraction.distributed import BatchExtractor

TEXTS = ["Fly me from Oslo to Lima.", "Is there a train from Lisbon to Rome?", "Book a table in Mexico City."]


def with_actors(texts: list[str], *, store: str | None, model: str, actors: int = 2) -> list[dict[str, Any]]:
    """Extract with a model that every actor reaches: a server, or one in the process."""
    documents = ray.data.from_items([{"id": i, "text": text} for i, text in enumerate(texts)])
    results = documents.map_batches(
        BatchExtractor,
        fn_constructor_kwargs={
            "store": store,
            "model": model,
            "options": {"task": "NER", "labels": ["city"], "k": 4},
        },
        compute=ray.data.ActorPoolStrategy(size=actors),
        batch_size=2,
    )
    return sorted(results.take_all(), key=lambda row: row["id"])


def with_engine(documents: Any, *, store: str | None, model: str, concurrency: int = 1) -> Any:
    """The same with vLLM engines on the cluster's GPUs (``pip install "ray[llm]"``); nothing here runs it."""
    from ray.data.llm import build_llm_processor, vLLMEngineProcessorConfig

    batches = BatchExtractor(store, options={"task": "NER", "labels": ["city"], "k": 8})

    def requests(row: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {**request, "document": row["id"], "text": row["text"]} for request in batches.prompts_for([row["text"]])
        ]

    def result(rows: dict[str, Any]) -> dict[str, Any]:
        answers = dict(zip(rows["id"], rows["generated_text"], strict=True))
        text = str(rows["text"][0])
        return {"id": [rows["document"][0]], "result": [json.dumps(batches.parse(answers, [text])[0].to_row())]}

    engine = build_llm_processor(
        vLLMEngineProcessorConfig(model_source=model, concurrency=concurrency),
        preprocess=lambda row: {**row, "sampling_params": {"temperature": 0.0, "max_tokens": 512}},
        postprocess=lambda row: {name: row[name] for name in ("id", "document", "text", "generated_text")},
    )
    return engine(documents.flat_map(requests)).groupby("document").map_groups(result)


def main() -> None:
    """Extract cities from three texts with two actors."""
    model = os.environ.get("RUIE_MODEL", "baseline")
    for row in with_actors(TEXTS, store=os.environ.get("RUIE_STORE"), model=model):
        entities = json.loads(row["result"])["extraction"].get("entities", [])
        print(row["id"], [(entity["text"], entity["start"], entity["end"]) for entity in entities])


if __name__ == "__main__":
    main()
