"""Extraction as a node of a LangGraph graph, with checkpoints: a person confirms, and the pool learns.

The graph extracts, stops for a person, and adds what they confirm to the pool, so that it is a demonstration for the
next text. Each step is a checkpoint: the answer may come days later, in another process if the checkpointer is on disk.

Run it:

    pip install ruie-components langgraph
    python examples/langgraph_node.py
"""

import os
from typing import NotRequired, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from ruie_components import DemonstrationStore, Example
from ruie_components.langchain import create_extraction_chain
from ruie_components.starter import starter_examples


class State(TypedDict):
    """What the checkpoints hold: plain JSON values, which any checkpointer can write."""

    text: str
    entities: NotRequired[list[dict]]
    rejected: NotRequired[list[str]]
    added: NotRequired[str]


def build(store: DemonstrationStore, model: str = "baseline") -> CompiledStateGraph:
    """The graph: extract, ask a person, add to the pool."""
    chain = create_extraction_chain(model, store, task="NER", k=4)

    def extract(state: State) -> State:
        extraction = chain.invoke(state["text"]).extraction
        entities = [entity.model_dump(include={"type", "text", "start", "end"}) for entity in extraction.entities]
        return {"entities": entities, "rejected": [item.answer for item in extraction.rejected]}

    def review(state: State) -> State:
        return {"entities": interrupt({"text": state["text"], "entities": state["entities"]})}

    def learn(state: State) -> State:
        labels = sorted({*store.labels("NER"), *(entity["type"] for entity in state["entities"])})
        example = Example(task="NER", text=state["text"], labels=labels, entities=state["entities"])
        store.add([example])
        return {"added": example.content_id}

    graph = StateGraph(State)
    graph.add_node(extract)
    graph.add_node(review)
    graph.add_node(learn)
    graph.add_edge(START, "extract")
    graph.add_edge("extract", "review")
    graph.add_edge("review", "learn")
    graph.add_edge("learn", END)
    return graph.compile(checkpointer=InMemorySaver())


def main() -> None:
    """One text through the graph; the person keeps the cities only."""
    store = DemonstrationStore.create(starter_examples("NER"))
    graph = build(store, os.environ.get("RUIE_MODEL", "baseline"))
    thread = {"configurable": {"thread_id": "1"}}

    stopped = graph.invoke({"text": "Aurora Air flies from Lisbon to Mexico City."}, thread)
    proposed = stopped["__interrupt__"][0].value["entities"]
    print("proposed:", [(entity["type"], entity["text"]) for entity in proposed])
    print("waits before:", graph.get_state(thread).next)

    confirmed = [entity for entity in proposed if entity["type"] == "city"]
    done = graph.invoke(Command(resume=confirmed), thread)
    print("added to the pool:", store.get([done["added"]])[0].text)
    print("checkpoints:", len(list(graph.get_state_history(thread))))


if __name__ == "__main__":
    main()
