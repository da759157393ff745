import sys

import pytest

from ruie_components import ChatModelError
from ruie_components.chat import CopyBaseline, load_chat_model


def test_names():
    assert isinstance(load_chat_model("baseline"), CopyBaseline)
    model = load_chat_model("ollama:llama3.1:8b", temperature=0.5)
    assert model.name == "ollama:llama3.1:8b"
    assert model.settings["temperature"] == 0.5


@pytest.mark.parametrize("name", ["", "llama3", "ollama", "ollama:", ":x", "http://"])
def test_what_names_no_model(name):
    with pytest.raises(ValueError, match="is not the name of a chat model: give ollama:MODEL"):
        load_chat_model(name)


@pytest.mark.parametrize("name", ["gguf:model.gguf", "openai-batch:answers", "ollama:llama3", "baseline"])
def test_an_unknown_option_is_named(name):
    with pytest.raises(ValueError, match=r"has no option 'foo'; it has|has no options, got foo"):
        load_chat_model(name, foo=1)


def test_a_missing_extra_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain_ollama", None)
    monkeypatch.delitem(sys.modules, "ruie_components.chat.ollama", raising=False)
    with pytest.raises(ImportError, match=r'pip install "ruie-components\[ollama\]"'):
        load_chat_model("ollama:llama3")


def test_a_model_at_an_address_that_is_none(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] in ("ollama", "langchain_ollama")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "ruie_components.chat.ollama", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "localhost:port")
    with pytest.raises(ChatModelError, match="check OLLAMA_HOST"):
        load_chat_model("ollama:llama3")


@pytest.mark.parametrize("option", ["temprature", "foo"])
def test_an_unknown_option_of_a_server_is_named(option):
    with pytest.raises(ValueError, match=f"has no option '{option}'; it has .*temperature"):
        load_chat_model("openai:m", base_url="http://127.0.0.1:1/v1", **{option: 1})


def test_a_temperature_only_where_it_is_taken(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    assert load_chat_model("openai:o3-mini").settings.get("temperature") is None
    assert load_chat_model("openai:gpt-4.1").settings["temperature"] == 0.0


def test_a_name_without_its_provider_gets_a_hint():
    pytest.importorskip("langchain")
    with pytest.raises(ValueError, match=r"no provider 'llama3\.1'\. For a model of Ollama's give ollama:llama3.1:8b"):
        load_chat_model("llama3.1:8b")
