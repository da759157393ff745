"""A real language model behind a real chat endpoint: ``transformers serve`` over a tiny Llama that this test trains.

The model has learned one thing by heart: the answer to one prompt. So what comes back shows that the whole prompt
arrived, and that the whole answer is read.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ruie_components import ChatModelError, Query
from ruie_components.extraction import Extractor
from ruie_components.langchain import create_extraction_chain
from ruie_components.store import DemonstrationStore

from ..pool import EXAMPLES, found

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
langchain_openai = pytest.importorskip("langchain_openai")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.slow

QUERY = Query(task="NER", text="Then Dan met Flo in Lima.", labels=["person", "place"])
ANSWER = "person: Dan; person: Flo; place: Lima"
WHOLE = [("person", "Dan"), ("person", "Flo"), ("place", "Lima")]
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PATIENCE = 120  # seconds for the server to come up


@pytest.fixture(scope="module")
def pool(encoder):
    with DemonstrationStore.create(EXAMPLES, encoder=encoder, progress=False) as store:
        yield store


@pytest.fixture(scope="module")
def model_folder(pool, tmp_path_factory) -> Path:
    prompt = Extractor(pool, lambda messages: "", k=2).prompt(QUERY)
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    messages = [{"role": roles[role], "content": content} for role, content in prompt.messages]
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer([message["content"] for message in messages] + [ANSWER])
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    answer = tokenizer.encode(f"{ANSWER}<|end|>", add_special_tokens=False)
    train_model(ids, answer, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def train_tokenizer(texts: list[str]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", chat_template=TEMPLATE
    )


def train_model(prompt: list[int], answer: list[int], tokenizer):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    inputs = torch.tensor([prompt + answer])
    labels = torch.tensor([[-100] * len(prompt) + answer])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss = torch.tensor(9.0)
    for _ in range(300):
        loss = model(input_ids=inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.01:
            break
    assert loss.item() < 0.05, "the tiny model did not learn its answer"
    return model.eval()


@pytest.fixture(scope="module")
def endpoint(model_folder, tmp_path_factory):
    """The address of a running ``transformers serve``."""
    command = shutil.which("transformers", path=str(Path(sys.executable).parent))
    assert command, "transformers is installed without its command"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "serve.txt"
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("w") as output:
        server = subprocess.Popen(
            [command, "serve", str(model_folder), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | offline,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, server, log)
            yield f"{url}/v1"
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None, f"the server ended: {log.read_text()[-2000:]}"
        try:
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"no server after {PATIENCE} seconds: {log.read_text()[-2000:]}")


@pytest.fixture
def chat(endpoint, model_folder):
    """LangChain's own client of the endpoint."""
    with httpx.Client() as client:
        yield langchain_openai.ChatOpenAI(
            base_url=endpoint,
            model=str(model_folder),
            api_key="none",
            temperature=0,
            max_retries=0,
            http_client=client,
        )


def test_the_extractor(chat, pool, model_folder):
    result = Extractor(pool, chat, k=2).extract(QUERY)
    assert result.extraction.answer == ANSWER
    assert found(result.extraction) == WHOLE
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    assert result.usage.output_tokens >= len(tokenizer.encode(ANSWER, add_special_tokens=False))
    assert result.usage.input_tokens > 100


def test_many_queries(chat, pool):
    results = Extractor(pool, chat, k=2).extract_many([QUERY] * 3, concurrency=2)
    assert [found(result.extraction) for result in results] == [WHOLE] * 3


def test_the_chain_streams(chat, pool):
    chain = create_extraction_chain(chat, pool, k=2)
    assert found(chain.invoke(QUERY).extraction) == WHOLE
    results = list(chain.stream(QUERY))
    assert results[-1].usage.output_tokens > 0
    assert results[-1].usage.input_tokens > 100  # asked for by stream_usage, which a base URL turns off
    streamed = [found(result.extraction) for result in results]
    assert streamed[-1] == WHOLE
    assert streamed == [WHOLE[:size] for size in range(len(WHOLE) - len(streamed) + 1, len(WHOLE) + 1)]


async def test_the_async_twins(endpoint, model_folder, pool):
    async with httpx.AsyncClient() as client:
        chat = langchain_openai.ChatOpenAI(
            base_url=endpoint, model=str(model_folder), api_key="none", temperature=0, http_async_client=client
        )
        chain = create_extraction_chain(chat, pool, k=2)
        assert found((await chain.ainvoke(QUERY)).extraction) == WHOLE
        *_, last = [result async for result in chain.astream(QUERY)]
        assert found(last.extraction) == WHOLE
        assert last.usage.input_tokens > 100
        assert last.usage.output_tokens > 0


def test_the_json_schema_is_taken(chat, pool):
    """The server ignores the schema, and this model knows no JSON: what it says is read all the same."""
    result = Extractor(pool, chat, k=2, answer_format="json").extract(QUERY)
    assert result.error is None
    assert result.usage.output_tokens > 0


def test_an_endpoint_that_is_gone(pool, no_waiting):
    with httpx.Client() as client:
        chat = langchain_openai.ChatOpenAI(
            base_url="http://127.0.0.1:9/v1", model="gone", api_key="none", max_retries=0, http_client=client
        )
        with pytest.raises(ChatModelError, match=r"gone' failed after 3 attempts: \w*ConnectionError"):
            Extractor(pool, chat).extract(QUERY)
