"""A served scorer against a real HTTP server with a real tiny model: same scores, through failures too."""

import json
import math
import os
import signal
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

torch = pytest.importorskip("torch")

from ruie_training.errors import TrainingError  # noqa: E402 -- after importorskip
from ruie_training.preferences import served  # noqa: E402 -- after importorskip
from ruie_training.preferences.served import ScoresMissingError, ServedScorer  # noqa: E402 -- after importorskip

from ruie_components import Example  # noqa: E402 -- after importorskip

EXACT = 1e-4
CONTEXT = 1000  # tokens


class Completions(BaseHTTPRequestHandler):
    """``POST /v1/completions`` as vLLM answers it, and its ways of failing."""

    protocol_version = "HTTP/1.1"
    model = tokenizer = None
    faults = ()  # what becomes of the requests, in turn; None answers
    log = None
    lock = threading.Lock()
    released = None  # ends the silence of silent requests
    interrupted_at = None  # the number of requests at which this process gets Ctrl-C
    interrupted = None  # set once its main thread has noticed

    def interrupt(self):
        # again, if need be: a signal that arrives just before the main thread starts to wait doesn't wake it
        while not self.interrupted.wait(0.3):
            os.kill(os.getpid(), signal.SIGINT)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            fault = self.faults[len(self.log) % len(self.faults)] if self.faults else None
            self.log.append((self.path, self.headers.get("Authorization"), asked, fault))
            if len(self.log) == self.interrupted_at:
                threading.Thread(target=self.interrupt).start()
        if fault == "hang up":
            self.close_connection = True
        elif fault == "cut short":
            self.reply(200, '{"choices": [{"logp')
        elif fault == "later":
            self.reply(429, '{"error": "busy"}', {"Retry-After": "0"})
        elif fault == "in a minute":
            self.reply(503, '{"error": "busy"}', {"Retry-After": "60"})
        elif fault == "in an hour":
            self.reply(503, '{"error": "busy"}', {"Retry-After": "3600"})
        elif fault == "no money":
            self.reply(429, '{"error": {"code": "insufficient_quota"}}', {"Retry-After": "0"})
        elif fault == "silent":
            self.released.wait()
            self.close_connection = True
        elif fault == "no logprobs":
            self.reply(200, json.dumps({"choices": [{"text": "x", "logprobs": None}], "usage": {"prompt_tokens": 9}}))
        elif fault is not None:
            self.reply(fault, json.dumps({"error": {"message": f"status {fault} on purpose"}}))
        else:
            self.complete(asked)

    def complete(self, asked):
        prompt = asked["prompt"]
        ids = self.tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
        if len(ids) + asked["max_tokens"] > CONTEXT:
            text = f"This model's maximum context length is {CONTEXT} tokens, and you asked for {len(ids)}."
            return self.reply(400, json.dumps({"error": {"message": text}}))
        with torch.inference_mode():
            likelihoods = self.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        own = [None, *(likelihoods[place - 1, ids[place]].item() for place in range(1, len(ids)))]
        best = likelihoods.argmax(-1).tolist()
        words = [self.tokenizer.decode([token]) for token in ids]
        choice = {"index": 0, "text": ""}
        if asked.get("echo"):
            choice["logprobs"] = {
                "tokens": [*words, self.tokenizer.decode([best[-1]])],
                "token_logprobs": [*own, likelihoods[-1].max().item()],
            }
        if "prompt_logprobs" in asked:
            choice["prompt_logprobs"] = [None]
            for place in range(1, len(ids)):
                row = {str(ids[place]): {"logprob": own[place], "rank": 1, "decoded_token": words[place]}}
                top = likelihoods[place - 1].max().item()
                row.setdefault(str(best[place - 1]), {"logprob": top, "rank": 1, "decoded_token": "top"})
                choice["prompt_logprobs"].append(row)
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return self.reply(200, json.dumps({"choices": [choice], "usage": usage}))

    def reply(self, status, body, headers=()):
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(model, tokenizer):
    """Starts a server with the tiny model; gives its URL and its log of requests."""

    @contextmanager
    def start(*faults, interrupted_at=None):
        released, interrupted = threading.Event(), threading.Event()

        def notice(number, frame):
            interrupted.set()
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, notice) if interrupted_at else None
        settings = {"model": model, "tokenizer": tokenizer, "faults": faults, "log": []}
        settings |= {"released": released, "interrupted_at": interrupted_at, "interrupted": interrupted}
        handler = type("Handler", (Completions,), settings)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}/v1", handler.log
            finally:
                released.set()
                interrupted.set()
                server.shutdown()
                thread.join()
                if before:
                    signal.signal(signal.SIGINT, before)

    return start


@pytest.fixture(scope="module")
def some(pairs, plain):
    """Twenty pairs whose answers the server's token texts can tell: each character is a token or part of one."""
    readable = [place for place, (_, query) in enumerate(pairs) if all(span.text.isascii() for span in query.spans)][
        :20
    ]
    return [pairs[place] for place in readable], [plain[place] for place in readable]


def assert_close(scores, wanted):
    assert max(abs(one - other) for one, other in zip(scores, wanted, strict=True)) < EXACT


@pytest.mark.parametrize("protocol", ["echo", "prompt_logprobs"])
@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_both_protocols_give_the_definition(serve, some, tokenizer, protocol, with_tokenizer):
    pairs, wanted = some
    with serve() as (url, log):
        scorer = ServedScorer(
            url, "tiny", protocol=protocol, tokenizer=tokenizer if with_tokenizer else None, api_key="secret"
        )
        steps = []
        assert_close(scorer.score(pairs, steps.append), wanted)
    assert steps == [1] * len(pairs)
    path, key, asked, _ = log[0]
    assert (path, key, asked["model"], asked["max_tokens"]) == ("/v1/completions", "Bearer secret", "tiny", 1)
    assert len(log) == len(pairs)


def test_several_demonstrations_or_none_give_the_definition(serve, shots, tokenizer):
    shown, wanted = shots
    with serve() as (url, _):
        assert_close(ServedScorer(url, "tiny", tokenizer=tokenizer).likelihoods(shown), wanted)


def test_characters_of_several_tokens_need_the_tokenizer(serve, pairs, plain, tokenizer):
    place = next(place for place, (_, query) in enumerate(pairs) if any(span.text == "🦜" for span in query.spans))
    with serve() as (url, _):
        assert_close(ServedScorer(url, "tiny", tokenizer=tokenizer).score(pairs[place : place + 1]), [plain[place]])
        with pytest.raises(TrainingError, match="Give the scorer the model's tokenizer"):
            ServedScorer(url, "tiny").score(pairs[place : place + 1])


@pytest.mark.parametrize("fault", [500, 503, "hang up", "cut short", "later"])
def test_a_server_that_fails_half_of_its_requests_gives_all_scores(serve, some, fault):
    pairs, wanted = some
    with serve(fault, None) as (url, log):
        assert_close(ServedScorer(url, "tiny", wait=0.001, retries=20, concurrency=4).score(pairs), wanted)
    assert len(log) > len(pairs)


def test_a_server_that_keeps_failing_is_an_error_that_counts(serve, some):
    pairs, wanted = some
    message = r"8 of 20 pairs have no score: .* 3 attempts .* status 503"
    with serve(*[None] * 12, *[503] * 1000) as (url, _), pytest.raises(ScoresMissingError, match=message) as caught:
        ServedScorer(url, "tiny", wait=0.001, retries=2, concurrency=3).score(pairs)
    found = [(score, right) for score, right in zip(caught.value.scores, wanted, strict=True) if score is not None]
    assert len(found) == 12
    assert all(abs(score - right) < EXACT for score, right in found)


def test_a_server_that_only_fails_is_given_up_early(serve, pairs):
    message = "120 of 120 pairs have no score"
    with serve(503) as (url, log), pytest.raises(ScoresMissingError, match=message):
        ServedScorer(url, "tiny", wait=0.001, retries=1, concurrency=2).score(pairs)
    assert len(log) <= 8


def test_no_server_at_all(pairs):
    with pytest.raises(ScoresMissingError, match=r"3 of 3 pairs .* ConnectError"):
        ServedScorer("http://127.0.0.1:9", "tiny", wait=0.001, retries=1).score(pairs[:3])


def test_a_refusal_is_not_tried_again(serve, pairs):
    message = r"refuses completions of 'tiny' with status 404: .*on purpose"
    with serve(404) as (url, log), pytest.raises(TrainingError, match=message):
        ServedScorer(url, "tiny", concurrency=1).score(pairs[:10])
    assert len(log) == 1


def test_a_quota_that_is_used_up_is_not_tried_again(serve, pairs):
    message = "refuses completions of 'tiny' with status 429: .*insufficient_quota"
    with serve("no money") as (url, log), pytest.raises(TrainingError, match=message):
        ServedScorer(url, "tiny", concurrency=1).score(pairs[:10])
    assert len(log) == 1


def test_a_refusal_ends_the_retries_of_the_other_pairs(serve, pairs):
    with serve("in a minute", "in a minute", 401) as (url, log), pytest.raises(TrainingError, match="status 401"):
        ServedScorer(url, "tiny", concurrency=3).score(pairs[:10])
    assert len(log) == 3


def test_ctrl_c_ends_the_retries(serve, pairs):
    with serve("in a minute", interrupted_at=3) as (url, log), pytest.raises(KeyboardInterrupt):
        ServedScorer(url, "tiny", concurrency=3).score(pairs[:10])
    assert len(log) == 3


def test_a_server_that_asks_for_a_long_wait_gets_a_short_one(serve, some, monkeypatch):
    monkeypatch.setattr(served, "_LONGEST_WAIT", 0.01)
    pairs, wanted = some
    with serve("in a minute", None) as (url, _):
        assert_close(ServedScorer(url, "tiny", retries=9, concurrency=1).score(pairs[:2]), wanted[:2])


@pytest.mark.parametrize("fault", ["silent", "in a minute", "in an hour", "hang up"])
def test_the_next_server_is_asked_at_once(serve, some, fault):
    pairs, wanted = some
    with serve(fault) as (broken, broken_log), serve() as (sound, log):
        scorer = ServedScorer([broken, sound], "tiny", wait=60, timeout=3, retries=1, concurrency=4)
        assert_close(scorer.score(pairs), wanted)
    assert broken_log
    assert len(log) == len(pairs)


@pytest.mark.parametrize("servers", [1, 2])
def test_a_silent_server_gets_one_request_for_a_pair(serve, pairs, servers):
    with serve("silent") as (one, one_log), serve("silent") as (other, other_log):
        scorer = ServedScorer([one, other][:servers], "tiny", wait=0.001, timeout=0.2, retries=6)
        with pytest.raises(ScoresMissingError, match=r"1 of 1 pairs have no score: .* ReadTimeout"):
            scorer.score(pairs[:1])
    assert len(one_log) + len(other_log) == servers


@pytest.mark.parametrize("protocol", ["echo", "prompt_logprobs"])
def test_a_server_without_log_probabilities_of_the_prompt(serve, pairs, protocol):
    message = r"no log-probabilities of the prompt .* outcome scorer"
    with serve("no logprobs") as (url, _), pytest.raises(TrainingError, match=message):
        ServedScorer(url, "tiny", protocol=protocol).score(pairs[:3])


def test_what_is_longer_than_the_context_is_nan(serve, some):
    demonstration = some[0][0][0]
    long = Example.model_validate({**demonstration.to_row(), "text": demonstration.text + " and rain" * 400})
    with serve() as (url, _):
        scores = ServedScorer(url, "tiny").score([some[0][0], (long, some[0][0][1])])
    assert [math.isnan(score) for score in scores] == [False, True]


def test_several_servers_share_the_demonstrations(serve, some):
    pairs, wanted = some
    with serve() as (first, first_log), serve() as (second, second_log), serve(500) as (broken, broken_log):
        scorer = ServedScorer([first, f"{second}/", broken], "tiny", wait=0.001)
        assert_close(scorer.score(pairs), wanted)
    assert all(log for log in (first_log, second_log, broken_log))
    assert len(first_log) + len(second_log) == len(pairs)


def test_no_url_is_an_error():
    with pytest.raises(ValueError, match="at least one URL"):
        ServedScorer([], "tiny")
