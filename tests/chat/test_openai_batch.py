"""OpenAI's batch files: what is written has stable ids, and answers in any order come back as a chat model."""

import json

import pytest

from ruie_components import ChatModelError, RowError
from ruie_components.chat import MessageList, load_chat_model
from ruie_components.chat.openai_batch import BatchAnswers, request_id, write_requests

PROMPTS = [
    MessageList([("system", "Extract."), ("human", f"Text {i}"), ("ai", "None"), ("human", "é?")]) for i in range(5)
]


def answered(request, text, **choice):
    choices = [{"message": {"content": text}, "finish_reason": "stop", **choice}]
    body = {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    return {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def test_requests_are_written_once_each_in_files_of_a_size(tmp_path):
    paths = write_requests([*PROMPTS, PROMPTS[0]], tmp_path, "gpt-x", options={"max_tokens": 9}, per_file=2)
    assert [path.name for path in paths] == [f"requests-0000{i}.jsonl" for i in range(3)]
    rows = [row for path in paths for row in read(path)]
    assert [row["custom_id"] for row in rows] == [request_id(prompt) for prompt in PROMPTS]
    assert rows[0]["body"] == {
        "model": "gpt-x",
        "temperature": 0,
        "max_tokens": 9,
        "messages": [
            {"role": "system", "content": "Extract."},
            {"role": "user", "content": "Text 0"},
            {"role": "assistant", "content": "None"},
            {"role": "user", "content": "é?"},
        ],
    }
    before = [path.read_bytes() for path in paths]
    assert [
        path.read_bytes() for path in write_requests(PROMPTS, tmp_path, "gpt-x", options={"max_tokens": 9}, per_file=2)
    ]
    assert [path.read_bytes() for path in paths] == before
    assert request_id(PROMPTS[0]) == "7e3e501225f6e12ad1bd57576372dfe4"


def test_requests_of_an_earlier_call_do_not_stay(tmp_path):
    write_requests(PROMPTS, tmp_path, "gpt-x", per_file=2)
    (tmp_path / "requests-notes.jsonl").write_text("{}\n", "utf-8")
    (path,) = write_requests(PROMPTS[:1], tmp_path, "gpt-x", per_file=2)
    assert sorted(found.name for found in tmp_path.iterdir()) == [path.name, "requests-notes.jsonl"]
    assert write_requests([], tmp_path, "gpt-x") == []
    assert [found.name for found in tmp_path.iterdir()] == ["requests-notes.jsonl"]


def test_answers_in_any_order_belong_to_their_prompts(tmp_path):
    (path,) = write_requests(PROMPTS, tmp_path, "gpt-x")
    requests = read(path)
    failed = {"custom_id": requests[3]["custom_id"], "response": None, "error": {"code": "batch_expired"}}
    write(
        tmp_path / "b.jsonl",
        [failed, answered(requests[2], "two", finish_reason="length"), answered(requests[0], "zero")],
    )
    write(tmp_path / "a.jsonl", [answered(requests[1], "one")])
    model = load_chat_model(f"openai-batch:{tmp_path}")
    assert isinstance(model, BatchAnswers)
    assert [model.complete(prompt).text for prompt in PROMPTS[:3]] == ["zero", "one", "two"]
    assert model.complete(PROMPTS[2]).truncated
    assert model.complete(PROMPTS[0]).input_tokens == 7
    with pytest.raises(ChatModelError, match=r"failed in the batch .*batch_expired"):
        model.complete(PROMPTS[3])
    with pytest.raises(ChatModelError, match="has no answer to request"):
        model.complete(PROMPTS[4])
    write(tmp_path / "c.jsonl", [answered(requests[3], "three"), answered(requests[4], "four")])
    again = BatchAnswers(tmp_path)
    assert [again.complete(prompt).text for prompt in PROMPTS[3:]] == ["three", "four"]
    (tmp_path / "c.jsonl").rename(tmp_path / "requests-00000_output.jsonl")  # as a download may be called
    assert BatchAnswers(tmp_path).complete(PROMPTS[4]).text == "four"
    write(tmp_path / "d.jsonl", [{"custom_id": "task-1"}])
    with pytest.raises(RowError, match=r"d.jsonl, line 1: not an answer to a request of this package"):
        BatchAnswers(tmp_path)


def test_refusals_and_answers_without_a_message_are_errors_that_say_where(tmp_path):
    (path,) = write_requests(PROMPTS, tmp_path, "gpt-x")
    requests = read(path)
    odd = answered(requests[1], "")
    del odd["response"]["body"]["choices"][0]["message"]
    refused = answered(requests[0], None)
    refused["response"]["body"]["choices"][0]["message"]["refusal"] = "I can't help with that."
    write(tmp_path / "a.jsonl", [refused, odd, {"custom_id": requests[2]["custom_id"]}])
    model = BatchAnswers(tmp_path)
    with pytest.raises(ChatModelError, match=r"\(.*a\.jsonl, line 1\): the model refused: I can't help with that"):
        model.complete(PROMPTS[0])
    with pytest.raises(ChatModelError, match=r"a\.jsonl, line 2\): no message in the response \{"):
        model.complete(PROMPTS[1])
    with pytest.raises(ChatModelError, match=r"a\.jsonl, line 3\): no response"):
        model.complete(PROMPTS[2])


def test_a_path_without_answers_is_an_error_at_once(tmp_path):
    with pytest.raises(ChatModelError, match=r"there is no .*nowhere: give the file of a batch's answers"):
        BatchAnswers(tmp_path / "nowhere")
    write_requests(PROMPTS, tmp_path, "gpt-x")
    with pytest.raises(ChatModelError, match=r"holds no answers \(\*\.jsonl\)"):
        BatchAnswers(tmp_path)


def test_an_option_of_none_leaves_a_key_out(tmp_path):
    (path,) = write_requests(PROMPTS, tmp_path, "gpt-x", options={"temperature": None, "top_p": 0.5})
    assert sorted(read(path)[0]["body"]) == ["messages", "model", "top_p"]
    with pytest.raises(ValueError, match="'messages' of a request is given"):
        write_requests(PROMPTS, tmp_path, "gpt-x", options={"messages": []})
