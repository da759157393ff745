import pytest

from ruie_components import ChatModelError
from ruie_components.chat import ollama_models
from ruie_components.chat.servers import ollama_url


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


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:port"])
def test_no_server_is_no_error_but_an_answer(host):
    assert ollama_models(host) == []
