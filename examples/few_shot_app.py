"""An app with a few-shot prompt, before and after: fixed examples become examples chosen for each input.

Run it:

    pip install ruie-components
    python examples/few_shot_app.py "Book me a flight from Oslo to Lima for under 400 euros."
    RUIE_MODEL=ollama:llama3.1:8b python examples/few_shot_app.py "..."     # pip install "ruie-components[ollama]"
"""

import os
import sys

from langchain_core.messages import SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate
from langchain_core.runnables import RunnableParallel

from ruie_components import DemonstrationStore
from ruie_components.langchain import RUIEExampleSelector, UIEOutputParser, load_chat_model
from ruie_components.starter import starter_examples

TEXT = "Aurora Air flies from Oslo to Lima for less than €400."

model = load_chat_model(os.environ.get("RUIE_MODEL", "baseline"))

# Before: the same two examples for every input.
fixed = FewShotChatMessagePromptTemplate(
    examples=[
        {"input": "Two nights in Vienna, please.", "output": "duration: two nights; city: Vienna"},
        {"input": "What is the weather like?", "output": "None"},
    ],
    example_prompt=ChatPromptTemplate.from_messages([("human", "{input}"), ("ai", "{output}")]),
)
before = ChatPromptTemplate.from_messages([("system", "Extract the entities."), fixed, ("human", "{text}")])

# After: the selector takes the place of the list, and the parser reads the answer as spans of the text.
store = DemonstrationStore.create(starter_examples("NER"))  # your labelled examples
selector = RUIEExampleSelector(store, k=4, labels=["city", "airline", "price"])
chosen = FewShotChatMessagePromptTemplate(
    example_selector=selector, example_prompt=selector.chat_example_prompt, input_variables=["text"]
)
after = ChatPromptTemplate.from_messages([SystemMessage(selector.instruction), chosen, selector.input_prompt])
app = RunnableParallel(query=selector.query, answer=after | model) | UIEOutputParser()


def main(text: str = TEXT) -> None:
    """Answer a text with both prompts."""
    print("fixed examples: ", (before | model | StrOutputParser()).invoke({"text": text}))
    extraction = app.invoke({"text": text})
    print("chosen examples:", [example["text"] for example in selector.select_examples({"text": text})])
    for entity in extraction.entities:
        print(f"  {entity.type}: {entity.text} [{entity.start}:{entity.end}]")


if __name__ == "__main__":
    main(*sys.argv[1:2])
