"""A web service: POST /extract answers at once, POST /extract/stream sends spans while the model is writing.

Run it:

    pip install ruie-components fastapi uvicorn
    RUIE_STORE=pool RUIE_MODEL=ollama:llama3.1:8b uvicorn --app-dir examples fastapi_service:app

    curl localhost:8000/extract --json '{"text": "Fly me to Rome", "task": "NER"}'
    curl --no-buffer localhost:8000/extract/stream --json '{"text": "Fly me to Rome", "task": "NER"}'
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ruie_components import DemonstrationStore, Extractor, Task
from ruie_components.errors import ChatModelError, RuieError
from ruie_components.extraction import ExtractionResult
from ruie_components.starter import starter_store


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the store and the model once; both are safe to share between requests."""
    path = os.environ.get("RUIE_STORE")
    with DemonstrationStore.open(path) if path else starter_store() as store:
        app.state.extractor = Extractor(store, os.environ.get("RUIE_MODEL", "baseline"))
        yield


app = FastAPI(title="Extraction", lifespan=lifespan)


class Ask(BaseModel):
    """A request: a text; task and labels where the pool has several."""

    text: str
    task: Task | None = None
    labels: list[str] | None = None

    def fields(self) -> dict[str, object]:
        """What was given."""
        return self.model_dump(exclude_none=True)


def spans(result: ExtractionResult) -> list[dict[str, object]]:
    """One flat row per span."""
    return [{name: row[name] for name in ("type", "role", "span", "start", "end")} for row in result.to_rows()]


@app.post("/extract")
async def extract(ask: Ask, request: Request) -> dict[str, object]:
    """All spans at once."""
    try:
        result = await request.app.state.extractor.aextract(ask.fields())
    except ChatModelError as error:  # the model's server is down: not the caller's fault
        raise HTTPException(503, str(error)) from error
    except (RuieError, ValueError) as error:
        raise HTTPException(422, str(error)) from error
    return {"spans": spans(result), "rejected": [item.model_dump() for item in result.extraction.rejected]}


@app.post("/extract/stream")
async def stream(ask: Ask, request: Request) -> StreamingResponse:
    """One JSON line for each new state of the result; the last one has ``"done": true``."""
    extractor: Extractor = request.app.state.extractor
    try:
        query = extractor.retriever.query(ask.fields())  # a wrong request is an error before the stream begins
    except (RuieError, ValueError) as error:
        raise HTTPException(422, str(error)) from error

    async def lines() -> AsyncIterator[str]:
        result = None
        try:
            async for result in extractor.astream(query):
                yield json.dumps({"spans": spans(result)}) + "\n"
        except RuieError as error:  # the status line has been sent
            yield json.dumps({"error": str(error)}) + "\n"
        else:
            yield json.dumps({"spans": spans(result) if result else [], "done": True}) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")
