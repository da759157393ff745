"""The recipes of the package, recipes that extend them, and the page of their keys."""

from pathlib import Path

import pytest
from ruie_training.errors import RecipeError
from ruie_training.pipeline.reading import describe_keys, read_recipe, stages_of
from ruie_training.recipes import built_in


@pytest.mark.parametrize("name", sorted(built_in()))
def test_every_recipe_of_the_package_is_valid_and_bears_its_name(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert stages_of(recipe)[0] == "mine"


def test_paper_has_the_papers_numbers():
    recipe = read_recipe("paper.toml")
    assert (recipe.mine.k, recipe.preferences.per_query, recipe.preferences.choose) == (100, 32, "random")
    assert recipe.reward.groups.model_dump() == {"size": 8, "top": 3, "bottom": 16}
    assert (recipe.reward.optimisation.learning_rate, recipe.reward.optimisation.steps) == (1e-5, 3000)
    assert (recipe.reward.seed, recipe.reward.max_length, recipe.seed) == (987, 512, 123)
    assert recipe.distil.groups.model_dump() == {"size": 4, "top": 3, "bottom": 16}
    assert (recipe.distil.temperature, recipe.distil.contrastive_weight) == (0.01, 0.2)
    assert (recipe.distil.optimisation.learning_rate, recipe.distil.optimisation.steps) == (3e-5, 6000)
    assert recipe.distil.freeze_positions
    assert recipe.preferences.keywords == "none"


@pytest.mark.parametrize(
    ("name", "stages", "teacher"),
    [
        ("bm25", ["mine", "evaluate"], None),
        ("bm25-llm", ["mine", "preferences", "distil", "export", "evaluate"], "preferences"),
        ("bm25-reward", ["mine", "preferences", "reward", "distil", "export", "evaluate"], "reward"),
        ("paper", ["mine", "preferences", "reward", "distil", "export", "evaluate"], "reward"),
        ("no-tags", ["mine", "preferences", "reward", "distil", "export", "evaluate"], "reward"),
        ("llm-target", ["mine", "preferences", "distil", "export", "evaluate"], "preferences"),
    ],
)
def test_an_ablation_is_the_paper_but_for_what_it_takes_away(name, stages, teacher):
    recipe = read_recipe(name)
    assert stages_of(recipe) == stages
    assert recipe.distil is None if teacher is None else recipe.distil.teacher == teacher


def test_ablations_change_what_they_name():
    assert read_recipe("bm25-reward").preferences.scorer.kind == "bm25"
    assert read_recipe("bm25-llm").distil.divergence_weight == 0
    assert read_recipe("llm-target").distil.divergence_weight == 1
    untagged = read_recipe("no-tags")
    assert untagged.reward.keywords == untagged.distil.keywords == "none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nspeed = 3', "speed: unknown key"),
        ('name = "x"\n[mine]\nk = 5\nmethod = "bm25"', "mine.method: unknown key"),
        ('name = "x"\n[mine]\nk = 0', "mine.k"),
        ('extends = "small"\nname = "x"\n[distil]\nteacher = "oracle"', "distil.teacher"),
        ('extends = "small"\nname = "x"\ndrop = ["reward"]', 'teacher = "reward"'),
        ('extends = "small"\nname = "x"\ndrop = ["models"]', r"add a section \[models.language_model\]"),
        ('extends = "small"\nname = "x"\n[reward]\ngroups = {size = 10}', "takes 9 negatives, and bottom is"),
        ('extends = "nowhere"\nname = "x"', "no recipe 'nowhere'"),
        ('extends = "recipe"\nname = "x"', "extends itself"),
        ('extends = "small"\nname = "x"\ndrop = ["rewards"]', "no such section"),
        ('extends = "small"\nname = "x"\ndrop = ["models.lm"]', "drops models.lm"),
        ('extends = "small-labels"\nname = "x"\n[evaluate]\nlikelihood = true', "needs an LLM for log-likelihoods"),
        ('extends = "small-labels"\nname = "x"\n[preferences]\nkeywords = "plain"', '"label-overlap" shows no tags'),
        ("name = ", "not a TOML"),
        ('extends = ["small"]\nname = "x"', "extends must be the name of one recipe"),
        ('extends = "small"\nname = "x"\ndrop = "evaluate"', "drop must be a list of names"),
        ('extends = "small"\nname = "x"\ndrop = [1]', "drop must be a list of names"),
        ('extends = "small"\nname = "x"\ndrop = ["name.x"]', "drops name.x, and small has no such section"),
        ('name = "x"\ndrop = ["evaluate"]', "drops evaluate, but extends no recipe"),
        ('extends = "small"\nname = "x"\nseed = -1', "seed: Input should be greater than or equal to 0"),
        ('extends = "small"\nname = "x"\n[reward]\nseed = 4294967296', "reward.seed: Input should be less than"),
        ('extends = "small"\nname = "x"\n[preferences]\nper_query = 9', r"\[reward\] groups take 10 .* at most 9"),
        ('extends = "small"\nname = "x"\n[mine]\nk = 2\nrandom = 3', r"\[reward\] groups take 10 .* at most 5"),
        ('extends = "small-labels"\nname = "x"\n[preferences]\nper_query = 5', r"\[distil\] groups take 6 .* most 5"),
        ('extends = "small"\nname = "x"\n[reward]\nmax_length = 512', "max_length is 512, and .* reads 256 tokens"),
        (
            'extends = "small"\nname = "x"\n[models.encoder]\nkind = "transformer"\nmax_length = 128',
            r"\[distil\] max_length is 256, and \[models.encoder\] reads 128 tokens",
        ),
        ('extends = "small"\nname = "x"\n[models.cross_encoder]\nhidden = 30', "hidden must be a multiple of heads"),
        (
            'extends = "small"\nname = "x"\n[distil]\ncontrastive_weight = 0\ndivergence_weight = 0',
            "nothing would be learned",
        ),
    ],
)
def test_a_wrong_recipe_names_file_and_key(tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(path)
    assert "recipe" in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('extends = "small"\nname = "x"', "utf-8-sig")
    assert read_recipe(path).name == "x"


def test_a_part_of_a_section_can_be_dropped():
    recipe = read_recipe("small-labels")
    assert recipe.models.language_model is None
    assert recipe.models.encoder == read_recipe("small").models.encoder
    assert stages_of(recipe) == ["mine", "models", "preferences", "distil", "export", "evaluate"]


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(RecipeError, match=r"bm25.*paper.*small.*tiny"):
        read_recipe("big")


def test_another_scorer_replaces_all_keys_of_the_one_below(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('extends = "small"\nname = "own"\n[preferences.scorer]\nkind = "label-overlap"', "utf-8")
    assert read_recipe(path).preferences.scorer.model_dump() == {"kind": "label-overlap"}


def test_every_key_of_a_recipe_is_described():
    keys = describe_keys()
    assert "| `learning_rate` | number | required | The highest, after the warm-up. |" in keys
    assert "### [preferences.scorer]" in keys
    assert [line for line in keys.splitlines() if line.endswith("|  |")] == []
    page = Path(__file__).parents[3] / "docs" / "recipe-keys.md"
    assert page.read_text("utf-8").endswith(f"{keys.rstrip()}\n"), "write the output of ruie train --keys to this page"


def test_the_documentation_lists_every_recipe():
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text("utf-8")
    assert [name for name in built_in() if f"`{name.removeprefix('ablation-')}`" not in page] == []
