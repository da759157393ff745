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
# # From labelled examples to spans
#
# This notebook goes through the whole chain once:
#
# labelled examples → a store → the examples chosen for your text → a prompt → a chat model → spans of your text.
#
# It runs offline in about a minute. Where Ollama answers on this machine, one of its models is used; else a small one in this process
# (SmolLM2-135M, if it is installed); else a baseline that only copies from the demonstrations it is shown. To choose yourself, set `MODEL`.
#
# ```
# pip install "ruie-components[notebooks]"          # add ,ollama for Ollama
# ```

# %% [markdown]
# ## 1. Labelled examples
#
# A *pool* is a set of labelled examples. The package brings a small one: four tasks, ten domains, written for this
# project, CC0. Here are three examples of named entity recognition (NER).

# %%
import os
from html import escape

from IPython.display import HTML, display

from ruie_components.report import highlight
from ruie_components.starter import starter_examples

MODEL = os.environ.get("RUIE_MODEL")  # or name one: "ollama:llama3.1:8b"


def highlighted(annotated):
    """The texts of examples or extractions as HTML, with one colour for each label."""
    marks = [highlight.marks_of(one) for one in annotated]
    indices = highlight.label_indices(mark.label for some in marks for mark in some)
    texts = [highlight.to_html(one.text, some, indices) for one, some in zip(annotated, marks)]
    return [text.replace("<small", "&nbsp;<small") for text in texts]  # readable without colours, too


COLOURS = "".join(f".c{index} {{ background: {colour} }}" for index, colour in enumerate(highlight.PALETTE))


def show(*annotated):
    style = "background: #fff; color: #16191d; padding: .4em .8em; line-height: 2"
    texts = "".join(f'<div style="{style}">{text}</div>' for text in highlighted(annotated))
    display(HTML(f"<style>{COLOURS}</style>{texts}"))


examples = starter_examples("NER")
show(*examples[:3])

# %% [markdown]
# ## 2. A store
#
# The store keeps the examples in Chroma, each with its vector. The vectors come from an encoder that is part of the
# package: nothing is downloaded. Without a path the store is in memory.

# %%
from ruie_components.starter import starter_store

store = starter_store()
print(store)
print(f"encoder: {store.encoder.name}, {store.encoder.dimension} dimensions")

# %% [markdown]
# ## 3. The examples for a text
#
# `RUIERetriever` is a LangChain retriever. It returns documents, best first: the example's block as a prompt shows it,
# with the score (cosine) and the example in the metadata. By default the most similar examples are returned.

# %%
from ruie_components import Example
from ruie_components.langchain import RUIERetriever

text = "We flew from Oslo to Lisbon with Aurora Air and spent five days in Portugal."
labels = ["city", "country", "airline", "hotel", "landmark", "duration", "price"]

retriever = RUIERetriever(store=store, task="NER", labels=labels, k=4)
documents = retriever.invoke(text)
print(documents[0].page_content)


# %%
def table(scored):
    """Examples with their scores and the domains they come from."""
    texts = highlighted([one for one, _ in scored])
    cells = [
        (f"{score:.2f}", escape(one.dataset.removeprefix("starter-")), text)
        for (one, score), text in zip(scored, texts)
    ]
    style = "text-align: left; background: #fff; color: #16191d; line-height: 1.8"
    rows = ("".join(f'<td style="{style}">{cell}</td>' for cell in row) for row in cells)
    display(HTML(f"<style>{COLOURS}</style><table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"))


table([(Example.model_validate(document.metadata["example"]), document.metadata["score"]) for document in documents])

# %% [markdown]
# ### Where they lie
#
# Each dot is an example of the pool, each colour a domain. The star is the text above, the rings are the four
# examples chosen for it. Two axes keep only a small part of what tells the vectors apart (the axis titles say how much), so what looks
# near here need not be near. A group of all colours may be the examples with nothing to extract: what the encoder reads
# of them ends in `None`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from ruie_components import Query

encoder = store.encoder
query = Query(task="NER", text=text, labels=labels)
vectors = encoder.encode_examples(examples)  # (n, d)
query_vectors = encoder.encode_queries([query])  # (1, d)

centre = vectors.mean(axis=0)
_, strengths, directions = np.linalg.svd(vectors - centre, full_matrices=False)
kept = strengths[:2] ** 2 / (strengths**2).sum()
points = (vectors - centre) @ directions[:2].T  # (n, 2)
(star,) = (query_vectors - centre) @ directions[:2].T

figure, axes = plt.subplots(figsize=(8, 5))
domains = np.array([one.dataset.removeprefix("starter-") for one in examples])
for domain, colour in zip(np.unique(domains), plt.get_cmap("tab10").colors):
    axes.scatter(*points[domains == domain].T, s=28, color=colour, label=domain)
chosen_ids = {document.id for document in documents}
chosen = points[[one.content_id in chosen_ids for one in examples]]
for point in chosen:
    axes.plot(*zip(star, point), color="0.6", linewidth=0.8, zorder=0)
axes.scatter(*chosen.T, s=150, facecolors="none", edgecolors="black")
axes.scatter(*star, s=260, marker="*", color="black", label="the text")
axes.set(
    xlabel=f"first axis, {kept[0]:.0%} of the variance",
    ylabel=f"second axis, {kept[1]:.0%} of the variance",
    title="The pool's NER examples and the four chosen",
)
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
plt.show()

# %% [markdown]
# ## 4. A chat model
#
# Any LangChain chat model will do. By name you get one from Ollama: `load_chat_model("ollama:llama3.1:8b")`. The cell takes what this
# machine has.

# %%
import warnings

from ruie_components.chat import load_chat_model, local_chat_model
from ruie_components.extraction import AnswerTruncatedWarning

warnings.simplefilter("ignore", AnswerTruncatedWarning)  # a very small model repeats itself now and then
model = load_chat_model(MODEL) if MODEL else local_chat_model()
print(model.name)

# %% [markdown]
# ## 5. Extract
#
# `create_extraction_chain` puts it together as one Runnable, with `invoke`, `batch`, `stream` and their async twins.
# (Without LangChain's Runnables it is `Extractor(store, model).extract(query)`.)
#
# Every span it returns stands in the text, at the offsets it says.

# %%
from ruie_components.langchain import create_extraction_chain

chain = create_extraction_chain(model, store, task="NER", labels=labels, k=8)
result = chain.invoke(text)

show(result.extraction)
for entity in result.extraction.entities:
    print(f"{entity.start:3} {entity.end:3}  {entity.type:10} {entity.text}")

# %% [markdown]
# A model of 135 million parameters, or the baseline, makes mistakes that a larger one doesn't. The steps before and after it are the same.
#
# The result has more than spans: the demonstrations that were shown, what of the answer was left out and why, the tokens.

# %%
table([(shown.example, shown.score) for shown in result.demonstrations])
print("answer:  ", result.extraction.answer)
print("rejected:", [(one.reason.value, one.spans) for one in result.extraction.rejected])
print("usage:   ", result.usage.input_tokens, "tokens in,", result.usage.output_tokens, "out")

# %% [markdown]
# This is the end of the prompt. The most similar demonstration stands last, next to the input.

# %%
print("\n\n".join(result.prompt.text.split("\n\n")[-2:]))

# %% [markdown]
# ## 6. The other three tasks
#
# Relation extraction (RE), event detection (ED), and event argument extraction (EAE), which asks about one event.

# %%
from ruie_components import Extractor

queries = [
    Query(
        task="RE",
        text="Deimos, the smaller of the two moons of Mars, was discovered by Asaph Hall.",
        labels=["discovered by", "orbits", "part of", "named after"],
    ),
    Query(
        task="ED",
        text="Police in Warsaw detained nine people at a protest against the election result.",
        labels=["attack", "protest", "election", "meeting", "arrest"],
    ),
    Query(
        task="EAE",
        text="A fallen tree cut power to 9,000 homes near Hobart for two hours.",
        labels=["place", "cause", "affected", "duration"],
        event={"type": "power outage", "trigger": "cut power"},
    ),
]
results = Extractor(store, model, k=8).extract_many(queries, progress=False)
show(*(one.extraction for one in results))

# %% [markdown]
# ## 7. Measure
#
# Every fifth NER example is held back, the others are the pool. Precision (P), recall (R) and F1 count spans with the right
# type at the right offsets (`mode="span"`). The model is the baseline, so these are not results of a language model:
# they say how much can be had by copying alone. Without demonstrations (k = 0) it has nothing to copy. Eighteen texts
# are few: a difference of one or two spans means nothing.
#
# For an LLM's figures put `model` in the place of `CopyBaseline()`; `ruie evaluate extraction` adds intervals and keeps the answers.

# %%
from ruie_components import DemonstrationStore, Selector, scoring
from ruie_components.chat import CopyBaseline

held_back = examples[::5]
pool = DemonstrationStore.create([one for one in examples if one not in held_back], progress=False)


def measure(selector):
    extractor = Extractor(pool, CopyBaseline(), selector=selector)
    results = extractor.extract_many([one.query for one in held_back], progress=False)
    return scoring.score(held_back, [one.extraction for one in results], mode="span")


ways = {f"similar {k}": Selector(k=k) for k in (0, 1, 2, 4, 8)}
ways |= {"by vote 8": Selector("label-vote", k=8), "random 8": Selector("random", k=8)}
scores = {name: measure(selector) for name, selector in ways.items()}
for name, score in scores.items():
    print(f"{name:10} P {score.precision:.2f}  R {score.recall:.2f}  F1 {score.f1:.2f}  ({score.tp} right)")

# %%
figure, axes = plt.subplots(figsize=(7, 3))
bars = axes.bar(scores.keys(), [score.f1 for score in scores.values()], color=["#3b76af"] * 5 + ["#9aa5b1"] * 2)
axes.bar_label(bars, fmt="%.2f")
axes.set(ylabel="F1", ylim=(0, 0.4), title=f"Copying alone, on {len(held_back)} held-back examples")
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## 8. Your own examples
#
# An example has a task, a text, the labels to look for, and its spans with offsets (code points, the end exclusive). An
# offset that doesn't fit the text is an error that says so. `read_examples("pool.jsonl")` reads a file of them, one a
# line.

# %%
leeks = {"type": "ingredient", "text": "leeks", "start": 9, "end": 14}
eggs = {"type": "ingredient", "text": "eggs", "start": 10, "end": 14}
bowl = {"type": "tool", "text": "bowl", "start": 20, "end": 24}
own = [
    Example(task="NER", text="Boil the leeks in stock.", labels=["ingredient", "tool"], entities=[leeks]),
    Example(task="NER", text="Whisk the eggs in a bowl.", labels=["ingredient", "tool"], entities=[eggs, bowl]),
]
show(*own)

# %% [markdown]
# With a path the store is on disk. Any later process opens it; nothing is encoded again.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

with TemporaryDirectory() as folder:
    path = Path(folder) / "recipes"
    DemonstrationStore.create(own, path=path, pool="recipes", progress=False).close()

    with DemonstrationStore.open(path, pool="recipes") as recipes:
        print(f"{recipes.count()} examples of the labels {recipes.labels('NER')}")
        show(create_extraction_chain(model, recipes).invoke("Wash the leeks in a bowl.").extraction)

# %% [markdown]
# ## Where to go from here
#
# - `ruie --help`: the same steps on the command line.
# - `quickstart_llama_index.ipynb`: the same in LlamaIndex, over the same store.
# - `own_annotations.ipynb`: from an annotation tool's export to an adapted pool.
# - `Selector`: other ways to choose demonstrations, such as `Selector("mmr", k=8)`.
# - `DemonstrationStore.create(examples, path="http://localhost:8000")`: on a Chroma server.
