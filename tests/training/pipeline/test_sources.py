"""The models that a recipe names are there before anything runs."""

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError
from ruie_training.errors import RunError, TrainingError
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.reading import read_recipe
from ruie_training.pipeline.run import run
from ruie_training.pipeline.sources import check_source


@pytest.fixture
def hub(monkeypatch):
    """A hub with one model, which has the files that the test names."""

    def has(*files):
        def download(model, file):
            if (model, file) not in {("some/model", name) for name in files}:
                raise EntryNotFoundError(f"no {file} in {model}")

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)

    return has


@pytest.mark.parametrize("file", ["config.json", "modules.json"])
def test_transformers_and_static_vectors_of_the_hub_are_found(hub, file):
    hub(file)
    check_source("some/model", "[distil] model")
    with pytest.raises(TrainingError, match=r"\[distil\] model = 'other/model': neither a folder nor"):
        check_source("other/model", "[distil] model")


def test_the_encoder_of_the_package_is_no_reward_model(starter_data, tmp_path):
    recipe = tmp_path / "own.toml"
    recipe.write_text('extends = "tiny"\nname = "own"\n[reward]\nmodel = "embedded"', "utf-8")
    context = Context(read_recipe(recipe), starter_data, tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=r"reward can't run: \[reward\] model can't be 'embedded': give scratch"):
        run(context)
    assert not (tmp_path / "run").exists()
