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
# # The training pipeline, step by step
#
# A *demonstration* is a labelled example in the prompt of a language model. Which ones help? RUIE
# ([arXiv 2409.11673](https://arxiv.org/abs/2409.11673)) lets a language model say so, and teaches its answer to a small, fast encoder:
#
# 1. **mine**: BM25, a word search, finds candidates for each training query.
# 2. **preferences**: a language model scores some of them: how likely is the right answer after this demonstration?
# 3. **reward**: a cross-encoder, which reads query and candidate together, learns these scores and gives them to *all* candidates.
# 4. **distil**: a bi-encoder, which reads each text alone, learns the scores of the cross-encoder. It is what a pool uses afterwards.
# 5. **export** and **evaluate**: the encoder becomes a folder that works without torch, and is measured.
#
# This notebook follows one query through all of them. It runs offline, in well under two minutes of one processor core, so its models
# are toys: a language model made on the spot from ninety examples. **Its figures show the mechanism and are no measure of quality.** Those are in
# [the evaluation](../docs/evaluation.md).
#
# ```
# pip install "ruie-components[train,notebooks]"           # with torch
# ```

# %%
import logging
import os
import warnings

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
warnings.filterwarnings("ignore")

import bm25s  # noqa: F401  sets the level of its own notes
import datasets
import transformers

logging.getLogger("bm25s").setLevel(logging.WARNING)
datasets.disable_progress_bars()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

# %% [markdown]
# ## Data and recipe
#
# The data are the starter pool of this package: ninety texts of ten domains with named entities. A fifth of them, chosen by a hash, is
# held back to measure on. What a run does is written in a recipe. This one extends `small`, which makes all models from scratch, and
# makes it smaller still. The bi-encoder starts as token
# vectors without any training.

# %%
from pathlib import Path
from tempfile import mkdtemp

from ruie_components.formats import write_examples
from ruie_components.starter import starter_examples

folder = Path(mkdtemp())
rows = starter_examples("NER")
domain = {example.text: example.dataset.removeprefix("starter-") for example in rows}
write_examples(folder / "rows.jsonl", [example.model_copy(update={"dataset": "starter"}) for example in rows])

(folder / "recipe.toml").write_text("""
extends = "small"
name = "step-by-step"

[mine]
k = 16          # candidates of each query by BM25
random = 8      # and some at random

[models]
vocabulary = 1000

[models.language_model]
hidden = 64
max_length = 512
texts = 400
optimisation = { learning_rate = 5e-3, steps = 90, warmup_steps = 10, batch_size = 2, log_steps = 5 }

[models.cross_encoder]
hidden = 64

[models.encoder]
random = 256    # token vectors: random directions
svd = 32        # and the main directions of the word counts

[preferences]
per_query = 12  # candidates of each query that the language model scores
choose = "spread"

[reward]
max_length = 96
groups = { size = 6, top = 3, bottom = 8 }
optimisation = { learning_rate = 1e-3, steps = 60, warmup_steps = 6, batch_size = 6, log_steps = 5 }

[distil]
groups = { size = 8, top = 3, bottom = 16 }
optimisation = { learning_rate = 1e-3, steps = 60, warmup_steps = 6, batch_size = 16, log_steps = 5 }

[evaluate]
roles = ["held-in"]
""")

from ruie_training.pipeline.context import Context
from ruie_training.pipeline.reading import read_recipe, stages_of
from ruie_training.pipeline.run import run

context = Context(read_recipe(folder / "recipe.toml"), folder / "rows.jsonl", folder / "run", progress=False)
print("stages:", ", ".join(stages_of(context.recipe)))

# %% [markdown]
# `run(context, until=...)` does what `ruie train recipe.toml --data rows.jsonl --out run --until ...` does: stages that are done are
# skipped.
#
# ## 1. mine: candidates by BM25
#
# The score counts words in common; rare ones count more. It knows nothing of labels or of what helps a model. Eight random candidates
# follow, so that the encoder also sees examples without a word in common.

# %%
manifest = run(context, until="mine")
examples = context.material.examples  # every example under its id
mined = {query: dict(zip(ids, scores)) for query, ids, scores in context.candidates("mine")}

QUERY = next(query for query in mined if " mg" in examples[query].text)  # one of the medical texts
query = examples[QUERY]


def show(scores, number=5):
    """The best candidates of the query."""
    for name, score in sorted(scores.items(), key=lambda each: -each[1])[:number]:
        example = examples[name]
        labels = ", ".join(sorted(set(example.annotation_labels))) or "nothing annotated"
        print(f"{score:8.3f}  {domain[example.text]:12} {example.text[:58]:58}  [{labels}]")


print("the query:", query.text)
print("its answer:", "; ".join(f"{entity.type}: {entity.text}" for entity in query.entities), "\n")
show(mined[QUERY])

# %% [markdown]
# ## 2. preferences: what the language model prefers
#
# For each of twelve candidates the language model reads this prompt, and the score is how likely it finds the right answer: the mean
# log-likelihood of its tokens. No text is generated.

# %%
from ruie_training.preferences.scorer import prompt_and_answer

prompt, answer = prompt_and_answer(([examples[max(mined[QUERY], key=mined[QUERY].get)]], query))
print(prompt + ">>>" + answer + "<<<")

# %% [markdown]
# The toy language model is trained on such prompts first (the stage `models`). In earnest this is an LLM that exists: a folder, a GGUF
# file or a server, named in `[preferences.scorer]`.

# %%
manifest = run(context, until="preferences")
preferred = {query: dict(zip(ids, scores)) for query, ids, scores in context.candidates("preferences")}
size = manifest["stages"]["models"]["report"]["language_model"]["parameters"]
print(
    f"a language model of {size / 1000:,.0f} thousand parameters; {sum(map(len, preferred.values())):,} pairs scored\n"
)
show(preferred[QUERY])
print("...")
show(dict(sorted(preferred[QUERY].items(), key=lambda each: each[1])[:3]))

# %% [markdown]
# ## 3. reward: the preferences learned
#
# An LLM is slow, so it scored half of the candidates. The cross-encoder learns to tell those that it liked from those that it did not, and scores
# all. It may read what an encoder can't: the annotated spans, marked by `<Keyword>` tags on both sides.

# %%
import matplotlib.pyplot as plt
import numpy as np

manifest = run(context, until="reward")
rewarded = {query: dict(zip(ids, scores)) for query, ids, scores in context.candidates("reward")}
show(rewarded[QUERY])

pairs = [(q, name) for q in preferred for name in preferred[q] if name in rewarded.get(q, {})]
spread = {
    q: np.subtract(list(preferred[q].values()), np.mean(list(preferred[q].values()))).std() or 1 for q in preferred
}
across = [(preferred[q][name] - np.mean(list(preferred[q].values()))) / spread[q] for q, name in pairs]
up = [rewarded[q][name] - np.mean([rewarded[q][other] for other in preferred[q]]) for q, name in pairs]
figure, axes = plt.subplots(figsize=(5.5, 3.4))
axes.scatter(across, up, s=8, color="#b8c4d4", label="all training queries")
here = [i for i, (q, _) in enumerate(pairs) if q == QUERY]
axes.scatter(np.take(across, here), np.take(up, here), s=40, color="#a4262c", label="this query")
axes.set(
    xlabel="the language model's preference (standardised by query)",
    ylabel="reward score, centred",
)
axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
axes.spines[["top", "right"]].set_visible(False)
plt.show()
print(f"correlation over {len(pairs):,} pairs: {np.corrcoef(across, up)[0, 1]:.2f}")

# %% [markdown]
# Points along a rising line say that the cross-encoder reproduces the preferences. These are the pairs that it was trained on; on others it
# does worse. The preferences themselves are close together: this language model hardly cares which demonstration it reads.
#
# ## 4. distil: from two texts at once to one at a time
#
# The cross-encoder has to read each pair, so it can't search a pool. The bi-encoder gives each text a vector, and a search compares vectors.
# Its loss is `KL(teacher || student) + 0.2 * contrastive`: its similarities should be distributed as the reward scores are. `export` then writes it to a folder
# that `ruie_components` loads without torch, and beside it the encoder that it started from.

# %%
from ruie_components.encoders import load_encoder

manifest = run(context, until="export")


def similarities(encoder):
    """The query's similarity to each of its candidates."""
    names = list(mined[QUERY])
    vectors = encoder.encode_examples([examples[name] for name in names])  # (n, d)
    return dict(zip(names, (vectors @ encoder.encode_queries([query.query])[0]).tolist()))


export = context.folder("export")
before, after = similarities(load_encoder(export / "untrained")), similarities(load_encoder(export / "encoder"))
print("before")
show(before)
print("after")
show(after)

# %% [markdown]
# ## The query's way
#
# The twelve candidates that the language model scored, best on top, after each stage. Red: of the query's own domain, so with labels that it has
# too. A line that crosses others is a stage that changed its mind.

# %%
stages = {
    "BM25": mined[QUERY],
    "language\nmodel": preferred[QUERY],
    "reward": rewarded[QUERY],
    "encoder\nbefore": before,
    "encoder\nafter": after,
}
names = list(preferred[QUERY])
ranks = {
    stage: {name: i for i, name in enumerate(sorted(names, key=lambda name: -scores[name]), 1)}
    for stage, scores in stages.items()
}
figure, axes = plt.subplots(figsize=(9, 4))
for name in names:
    same = domain[examples[name].text] == domain[query.text]
    line = [ranks[stage][name] for stage in stages]
    axes.plot(list(stages), line, marker="o", color="#a4262c" if same else "#b8c4d4", zorder=2 if same else 1)
    axes.text(4.1, line[-1], f"{domain[examples[name].text]}: {examples[name].text[:40]}", va="center", fontsize=7)
axes.invert_yaxis()
axes.set(ylabel="rank", xlim=(-0.2, 6.6))
axes.set_yticks(range(1, len(names) + 1))
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## What each stage learned
#
# The losses. The language model's is in nats a token. Chance for the reward model is the logarithm of the group's size, 1.79.

# %%
import json

lines = [json.loads(line) for line in context.metrics.read_text("utf-8").splitlines()]
curves = {}
for line in lines:
    if "loss" in line:
        curves.setdefault(line["stage"], []).append((line["step"], line["loss"]))
figure, panels = plt.subplots(1, len(curves), figsize=(10, 2.4))
for axes, (stage, points) in zip(panels, curves.items()):
    axes.plot(*zip(*points), color="#3b76af")
    axes.set(title=stage, xlabel="step", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel("loss")
plt.show()

# %% [markdown]
# Does a teacher teach? If it does, its three best candidates share more labels with the query than all of its candidates do. Label F1 says how
# well the labels of two examples agree, 0 to 1. The last line is BM25's choice among the same candidates: in this small pool, texts of one domain
# share words, and the toys learn nothing as good.

# %%
for stage in ("preferences", "reward"):
    report = manifest["stages"][stage]["report"]
    best, every = (report[f"label F1 of {which}"] for which in ("the 3 best", "all candidates"))
    print(f"{stage:12} label F1 of the 3 best {best:.3f}, of all candidates {every:.3f}")
print(f"{'BM25':12} label F1 of the 3 best {report['label F1 of the 3 best by mining']:.3f}")

# %% [markdown]
# ## 5. evaluate
#
# On the texts that were held back: label F1 and label recall of the first eight demonstrations, beside random ones, BM25, the encoder
# before training, and the best that can be chosen (oracle). With eighteen texts the intervals are wide. Training by a weak teacher does not help:
# the trained encoder is no better than the untrained one, and BM25 is above both.

# %%
manifest = run(context)
print((context.folder("evaluate") / "results.md").read_text("utf-8").split("\n\n")[0])

# %% [markdown]
# ## 6. Use it
#
# A pool takes the folder of the encoder. On the command line: `ruie index rows.jsonl --store pool --encoder run/export/encoder`.

# %%
from ruie_components import DemonstrationRetriever, DemonstrationStore

store = DemonstrationStore.create(rows, encoder=export / "encoder", progress=False)
for shown in DemonstrationRetriever(store, k=3).retrieve("He was given ibuprofen 400 mg for a headache."):
    print(shown.example.text)

# %%
import shutil

store.close()
shutil.rmtree(folder)

# %% [markdown]
# ## Where to go from here
#
# - A toy's preferences are weak. What they become with a real LLM, and what did and didn't help, is in [the evaluation](../docs/evaluation.md).
# - [Training](../docs/training.md): your own data, recipes, several GPUs. `ruie train --keys` prints every key.
# - Try `ruie adapt` first: it trains the encoder on your pool in about a minute, without torch.
