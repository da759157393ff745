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
# # What good demonstrations look like
#
# A prompt has room for a few examples. Which of a pool's are worth showing for a text? This notebook looks at four answers: where they lie in
# the encoder's space, what F1 does with their number, which errors go away, and which labels they teach.
#
# It runs offline. Most of it uses the *baseline*, which is not a language model: it copies from the demonstrations in its prompt and knows
# nothing else. So what it finds says what the demonstrations hold. The last part asks a language model: Ollama where it answers,
# else a very small LLM in this process, if it is installed.
#
# ```
# pip install "ruie-components[notebooks]"                 # add ollama or gguf for an LLM
# ```

# %%
import os

MODEL = os.environ.get("RUIE_MODEL")  # or name one: "ollama:llama3.1:8b"

# %%
import matplotlib.pyplot as plt
import numpy as np

from ruie_components import DemonstrationStore, Extractor, Selector, scoring
from ruie_components.chat import CopyBaseline
from ruie_components.starter import starter_examples

examples = starter_examples("NER")
held_back = examples[::3]  # 30 texts to extract from
pool = [example for example in examples if example not in held_back]
store = DemonstrationStore.create(pool, progress=False)
print(f"{len(pool)} examples in the pool, {len(held_back)} held back")

# %% [markdown]
# ## 1. They lie near
#
# Each dot is an example of the pool, its colour the domain; the star is a text, the rings are what was chosen for it. Similar texts have
# similar vectors. Two axes keep only a part of what tells vectors apart; the titles say how much.

# %%
query = next(
    example for example in held_back if "flight" in example.text.lower() or "airline" in example.annotation_labels
)
vectors = store.encoder.encode_examples(pool)  # (n, d)
(vector,) = store.encoder.encode_queries([query.query])

centre = vectors.mean(axis=0)
_, strengths, directions = np.linalg.svd(vectors - centre, full_matrices=False)
kept = strengths[:2] ** 2 / (strengths**2).sum()
points, star = (vectors - centre) @ directions[:2].T, (vector - centre) @ directions[:2].T

figure, panels = plt.subplots(1, 2, figsize=(11, 4), sharex=True, sharey=True)
domains = np.array([example.dataset.removeprefix("starter-") for example in pool])
for axes, method in zip(panels, ("similarity", "label-vote")):
    for domain, colour in zip(np.unique(domains), plt.get_cmap("tab10").colors):
        axes.scatter(*points[domains == domain].T, s=20, color=colour, label=domain)
    chosen = Selector(method, k=6).select(store, query.query)
    ids = {shown.example.content_id for shown in chosen}
    axes.scatter(
        *points[[example.content_id in ids for example in pool]].T, s=140, facecolors="none", edgecolors="black"
    )
    axes.scatter(*star, s=240, marker="*", color="black")
    axes.set(title=method, xlabel=f"{kept[0]:.0%} of the variance", ylabel=f"{kept[1]:.0%}")
panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
plt.show()
print("the text:", query.text)

# %% [markdown]
# *Similarity* takes the nearest. *Label voting* lets the nearest vote on the labels that the text may have, and takes those that agree with
# the votes and together show these labels: some of its rings may be farther away.

# %% [markdown]
# ## 2. F1 over k
#
# How demonstrations are chosen matters more than how many there are: one chosen example is worth more to the baseline than sixteen random ones.
# With many the baseline copies more that is wrong. The bands are 95% intervals by resampling the texts; with so few texts they are wide, and
# the order of the two upper lines is not certain.

# %%


def extractions(selector):
    """What the baseline extracts from the held-back texts."""
    extractor = Extractor(store, CopyBaseline(), selector=selector)
    return [result.extraction for result in extractor.extract_many([one.query for one in held_back], progress=False)]


def interval(found, draws=200):
    """F1, and the 2.5th and 97.5th percentile of resampled texts."""
    counts = [scoring.score([gold], [one], mode="span") for gold, one in zip(held_back, found)]
    numbers = np.array([(one.tp, one.fn + one.fp) for one in counts])  # (texts, 2)
    drawn = numbers[np.random.default_rng(0).integers(len(numbers), size=(draws, len(numbers)))].sum(1)
    right, wrong = numbers.sum(0)
    return (
        2 * right / (2 * right + wrong),
        *np.percentile(2 * drawn[:, 0] / (2 * drawn[:, 0] + drawn[:, 1]), [2.5, 97.5]),
    )


sizes = (1, 2, 4, 8, 16)
curves = {method: [extractions(Selector(method, k=k)) for k in sizes] for method in ("similarity", "bm25", "random")}
figure, axes = plt.subplots(figsize=(6.5, 3.4))
for method, runs in curves.items():
    middle, low, high = zip(*map(interval, runs))
    (line,) = axes.plot(sizes, middle, marker="o", label=method)
    axes.fill_between(sizes, low, high, color=line.get_color(), alpha=0.12)
axes.set(xlabel="k", ylabel="F1 of the baseline", xscale="log", ylim=(0, None))
axes.set_xticks(sizes, sizes)
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## 3. The errors
#
# Every gold annotation is found, has the wrong label, or is missed; what was extracted beside them is spurious.

# %%


def kinds(found):
    """How often each kind of outcome occurs."""
    counts = dict.fromkeys(("found", "wrong label", "missed", "spurious"), 0)
    for gold, extraction in zip(held_back, found):
        truth = {entity.offsets: entity.type for entity in gold.entities}
        given = {entity.offsets: entity.type for entity in extraction.entities}
        for offsets, label in truth.items():
            kind = "missed" if offsets not in given else "found" if given[offsets] == label else "wrong label"
            counts[kind] += 1
        counts["spurious"] += len(given.keys() - truth.keys())
    return counts


table = {f"{method}, k = {k}": kinds(curves[method][sizes.index(k)]) for method in curves for k in (2, 8)}
figure, axes = plt.subplots(figsize=(7, 2.8))
left = np.zeros(len(table))
for kind, colour in zip(("found", "wrong label", "missed", "spurious"), ("#4c956c", "#e0a458", "#c9d4e2", "#a4262c")):
    widths = np.array([counts[kind] for counts in table.values()])
    axes.barh(list(table), widths, left=left, color=colour, label=kind)
    left += widths
axes.invert_yaxis()
axes.set(xlabel="annotations")
axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## 4. Which labels teach
#
# For every gold annotation: does a demonstration show its label? Recall where one does, and where none does. A label that no demonstration
# shows is never extracted by copying. An LLM knows more than its prompt, and needs a label less to be shown: label voting
# shows the most labels, and yet the language model that we measured extracts more with the most similar examples, which is the default
# (see the evaluation page of the documentation).

# %%
rows = []
for selector in (Selector("random", k=4), Selector(k=4), Selector("label-vote", k=4)):
    extractor = Extractor(store, CopyBaseline(), selector=selector)
    results = extractor.extract_many([one.query for one in held_back], progress=False)
    outcomes = {True: [], False: []}
    for gold, result in zip(held_back, results):
        shown = {label for one in result.demonstrations for label in one.example.annotation_labels}
        found = {(entity.type, entity.offsets) for entity in result.extraction.entities}
        for entity in gold.entities:
            outcomes[entity.type in shown].append((entity.type, entity.offsets) in found)
    total = sum(map(len, outcomes.values()))
    rows.append(
        (str(selector.method), len(outcomes[True]) / total, np.mean(outcomes[True]), np.mean(outcomes[False] or [0]))
    )
print(f"{'':12}  label shown  recall if shown  recall if not")
for name, share, with_label, without in rows:
    print(f"{name:12}  {share:11.0%}  {with_label:15.0%}  {without:13.0%}")

# %% [markdown]
# Labels differ. Some are learned from one example, others from none of eight: their spans have no form of their own.

# %%
from collections import defaultdict

by_label = defaultdict(lambda: [0, 0])
for gold, extraction in zip(held_back, curves["similarity"][sizes.index(8)]):
    found = {(entity.type, entity.offsets) for entity in extraction.entities}
    for entity in gold.entities:
        by_label[entity.type][0] += (entity.type, entity.offsets) in found
        by_label[entity.type][1] += 1
frequent = sorted(
    (label for label in by_label if by_label[label][1] >= 3), key=lambda label: -by_label[label][0] / by_label[label][1]
)
figure, axes = plt.subplots(figsize=(8, 2.6))
bars = axes.bar(frequent, [by_label[label][0] / by_label[label][1] for label in frequent], color="#3b76af")
axes.bar_label(bars, labels=[f"{by_label[label][0]}/{by_label[label][1]}" for label in frequent], fontsize=7)
axes.set(ylabel="recall", ylim=(0, 1.15), title="Similarity, k = 8: labels with three annotations or more")
axes.tick_params(axis="x", rotation=60)
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## 5. With a language model
#
# One text, three prompts: no demonstrations, two random ones, two chosen ones. Where the first line names the baseline, no language model was
# at hand when this was run.

# %%
import warnings

from ruie_components.chat import load_chat_model, local_chat_model
from ruie_components.extraction import AnswerTruncatedWarning

warnings.simplefilter("ignore", AnswerTruncatedWarning)  # a very small model repeats itself now and then
model = load_chat_model(MODEL) if MODEL else local_chat_model()
print(model.name, "\n\n" + query.text, "\n")
for name, selector in {
    "none": Selector(k=0),
    "random": Selector("random", k=2),
    "chosen": Selector(k=2),
}.items():
    result = Extractor(store, model, selector=selector).extract(query)
    print(f"{name:7} {result.extraction.answer.strip()[:150]!r}")
    print("        ->", [(entity.type, entity.text) for entity in result.extraction.entities])
print("\ngold   ", [(entity.type, entity.text) for entity in query.entities])

# %% [markdown]
# ## What to take from it
#
# - Chosen beats random by far, at any number. Which choice and which k is best depends on pool and model: measure it with
#   `ruie evaluate extraction --store pool`.
# - Each label that a text may have should be shown once. Labels without examples are the first thing to annotate more of.
# - Examples with nothing to extract belong in a pool, too.
