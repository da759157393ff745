import sys

import pytest

from ruie_components import ChatModelError
from ruie_components.langchain import CopyBaseline, load_chat_model, ollama_is_up, ollama_models
from ruie_components.langchain.chat_models import ollama_url


def test_names():
    assert isinstance(load_chat_model("baseline"), CopyBaseline)
    model = load_chat_model("ollama:llama3.1:8b", temperature=0.5)
    assert (model.model, model.temperature, model.num_ctx) == ("llama3.1:8b", 0.5, None)


@pytest.mark.parametrize("name", ["", "llama3", "ollama", "ollama:", "gpt:4", "baseline:x"])
def test_what_names_no_model(name):
    with pytest.raises(ValueError, match="say ollama:<model>"):
        load_chat_model(name)


def test_a_missing_extra_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain_ollama", None)
    monkeypatch.delitem(sys.modules, "ruie_components.langchain.ollama", raising=False)
    with pytest.raises(ImportError, match=r'pip install "ruie-components\[ollama\]"'):
        load_chat_model("ollama:llama3")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("[::]:8000", "http://[::1]:8000"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        (":8000", "http://127.0.0.1:8000"),
        ("gpu.lan", "http://gpu.lan:11434"),
        ("http://gpu.lan", "http://gpu.lan:80"),
        ("https://gpu.lan/ollama/", "https://gpu.lan:443/ollama"),
    ],
)
def test_the_address_as_ollama_reads_it(monkeypatch, host, url):
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert ollama_url(host) == url
    monkeypatch.setenv("OLLAMA_HOST", host or "")
    assert ollama_url() == url


def test_an_address_that_is_none():
    with pytest.raises(ChatModelError, match="check OLLAMA_HOST"):
        ollama_url("localhost:port")


def test_a_model_at_an_address_that_is_none(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] in ("ollama", "langchain_ollama")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "ruie_components.langchain.ollama", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "localhost:port")
    with pytest.raises(ChatModelError, match="check OLLAMA_HOST"):
        load_chat_model("ollama:llama3")


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:port"])
def test_no_server_is_no_error_but_an_answer(host):
    assert ollama_is_up(host) is False
    assert ollama_models(host) == []
