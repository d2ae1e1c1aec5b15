"""Chats: images become words, and answers are those of the commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from served import chat, image_part, text_part
from starlette.testclient import TestClient
from tiny_llm import tiny_llm
from tiny_pipeline import tiny_soft_pipeline
from tiny_words_tokenizer import QuarterTokenizer

import v2l
from v2l.images import load_image
from v2l.llm import Generation, GenerationConfig
from v2l.llm.chat import turns_prompt
from v2l.pipeline.image_words import ImageWords
from v2l.pipeline.pipeline import Pipeline
from v2l.places import PlacedWord
from v2l.prompts.prompt import Prompt
from v2l.prompts.soft import NO_REPEAT
from v2l.server.app import create_app
from v2l.server.local import turns_of
from v2l.server.messages import Message
from v2l.tasks.description.describe import Describer, DescribeSettings

CHAT = "/v1/chat/completions"


def ask(client: TestClient, *parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = client.post(CHAT, json=chat(*parts, **fields))
    assert answer.status_code == 200, answer.text
    return answer.json()


def text_of(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("question", ["What is it?", "Is it an animal?"])
def test_a_question_about_an_image_is_answered_as_v2l_vqa_does(
    client: TestClient, long_pipeline: Pipeline, straw: str, samples: Path, question: str
) -> None:
    answer = ask(client, image_part(straw), text_part(question))
    by_command = v2l.vqa(samples / "hat" / "straw.jpg", question, pipeline=long_pipeline)
    assert text_of(answer) == by_command.text
    assert answer["v2l"] == {"images": [{"words": list(by_command.words), "note": None}], "task": "vqa"}


class NamedQuarters(QuarterTokenizer):
    """Quarters whose words a question can name."""

    def write_words(self, words: Sequence[PlacedWord]) -> tuple[str, ...]:
        return tuple(f"<r{number}> {word.word}" for number, word in enumerate(words))


def test_places_and_soft_tokens_reach_the_prompt(samples: Path, straw: str) -> None:
    placed = Pipeline(NamedQuarters(), tiny_llm(4096))
    questions = ["What is <r0>?", "Is it an animal?", ""]
    for pipeline in (placed, tiny_soft_pipeline(4096)):
        with TestClient(create_app(pipeline), base_url="http://127.0.0.1:8000") as client:
            for question in questions if pipeline is placed else questions[1:]:
                parts = [text_part(question)] if question else []
                answer = ask(client, image_part(straw), *parts)
                assert text_of(answer) == by_describer(pipeline, samples / "hat" / "straw.jpg", question)


def test_an_answer_from_soft_tokens_repeats_no_run_of_tokens(
    straw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, seen = tiny_soft_pipeline(4096), []
    generate = pipeline.llm.generate

    def watched(prompts: Sequence[Prompt], config: GenerationConfig) -> list[Generation]:
        seen.append(config.no_repeat)
        return generate(prompts, config)

    monkeypatch.setattr(pipeline.llm, "generate", watched)
    with TestClient(create_app(pipeline), base_url="http://127.0.0.1:8000") as client:
        ask(client, image_part(straw))
    assert seen == [NO_REPEAT]


def test_places_reach_a_chat_of_several_images() -> None:
    images = [ImageWords(("dog",), written=("dog (top)",)), ImageWords(("cat",))]
    part = {"type": "image_url", "image_url": {"url": "data:,"}}
    message = Message.model_validate({"role": "user", "content": [part, part]})
    shown = "(Image 1 shows: dog (top))\n(Image 2 shows: cat)"
    assert turns_of([message], images) == [{"role": "user", "content": shown}]


def by_describer(pipeline: Pipeline, path: Path, question: str) -> str:
    describer = Describer(pipeline, "vqa" if question else "caption", DescribeSettings(n_words=5))
    return describer.describe(describer.words_of([load_image(path)]), [question])[0].text


def test_an_image_without_a_text_is_described_as_v2l_caption_does(
    client: TestClient, long_pipeline: Pipeline, straw: str, samples: Path
) -> None:
    answer = ask(client, image_part(straw))
    assert text_of(answer) == v2l.caption(samples / "hat" / "straw.jpg", pipeline=long_pipeline).text
    assert answer["v2l"]["task"] == "caption"


def test_detail_chooses_the_number_of_words(client: TestClient, straw: str) -> None:
    parts = [image_part(straw, detail) for detail in ("low", "auto", "high")]
    images = ask(client, text_part("Compare."), *parts, max_tokens=1)["v2l"]["images"]
    assert [len(image["words"]) for image in images] == [3, 5, 21]
    assert images[2]["words"][:3] == images[0]["words"]


def test_detail_reaches_the_question(client: TestClient, straw: str, samples: Path) -> None:
    question = "What colour has it?"
    answer = ask(client, image_part(straw, "low"), text_part(question))
    pipeline = client.app.state.service.pipeline  # type: ignore[attr-defined]
    expected = v2l.vqa(samples / "hat" / "straw.jpg", question, DescribeSettings(n_words=3), pipeline)
    assert text_of(answer) == expected.text


def test_images_and_texts_come_in_any_order(
    client: TestClient, long_pipeline: Pipeline, straw: str, boots: str
) -> None:
    answer = ask(
        client, text_part("one"), image_part(straw), text_part("two"), image_part(boots), max_tokens=4
    )
    one, two = (", ".join(image["words"]) for image in answer["v2l"]["images"])
    assert one != two
    turn = f"one\n(Image 1 shows: {one})\ntwo\n(Image 2 shows: {two})"
    prompt = turns_prompt(long_pipeline.llm, [{"role": "user", "content": turn}])
    assert answer["usage"]["prompt_tokens"] == len(long_pipeline.llm.encode(prompt))
    assert answer["usage"]["completion_tokens"] == 4
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_stream_has_the_same_text_and_ends_with_the_usage(client: TestClient, straw: str) -> None:
    parts = [text_part("Tell me."), image_part(straw)]
    whole = ask(client, *parts, max_tokens=12)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    answer = client.post(CHAT, json=chat(*parts, max_tokens=12, **options))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert chunks[0]["v2l"] == whole["v2l"]
    assert chunks[-1]["usage"] == whole["usage"]
    said = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in said) == text_of(whole)
    assert said[-1]["finish_reason"] == "length"
    assert len(said) > 3


def test_a_sampled_answer_depends_on_its_seed_alone(client: TestClient) -> None:
    def answer(seed: int) -> str:
        return text_of(ask(client, text_part("go on"), max_tokens=8, temperature=1.5, top_p=0.9, seed=seed))

    assert answer(1) == answer(1) != answer(2)


def test_a_stop_text_ends_the_answer(client: TestClient) -> None:
    whole = text_of(ask(client, text_part("go on"), max_tokens=20))
    stop = whole[3:5]
    cut = ask(client, text_part("go on"), max_tokens=20, stop=[stop])
    assert text_of(cut) == whole[: whole.index(stop)].strip()
    assert cut["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"max_tokens": 4000}, "max_tokens"),
        ({"made_up": 1}, "made_up"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(client: TestClient, fields: Any, param: str) -> None:
    answer = client.post(CHAT, json=chat(text_part("hi"), **fields))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)


def test_fields_about_the_client_are_ignored(client: TestClient) -> None:
    ignored = {"user": "me", "metadata": {"a": "b"}, "logit_bias": {}, "tools": []}
    plain, other = (
        client.post(CHAT, json=chat(text_part("hi"), max_tokens=1, **more)) for more in ({}, ignored)
    )
    assert other.status_code == 200
    assert other.json()["choices"] == plain.json()["choices"]


def test_another_model_is_not_found(client: TestClient) -> None:
    answer = client.post(CHAT, json=chat(text_part("hi")) | {"model": "gpt-4o"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "tiny" in answer.json()["error"]["message"]


def test_too_long_a_chat_is_refused_before_a_stream_begins(client: TestClient) -> None:
    answer = client.post(CHAT, json=chat(text_part("word " * 6000), stream=True))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_images_are_the_users_only(client: TestClient, straw: str) -> None:
    turns = [{"role": "system", "content": [image_part(straw)]}, {"role": "user", "content": "hi"}]
    answer = client.post(CHAT, json={"model": "v2l", "messages": turns})
    assert answer.status_code == 400


def test_completions_keep_the_space_before_the_first_word(
    client: TestClient, long_pipeline: Pipeline
) -> None:
    request = {"model": "v2l", "prompt": "a photo of", "max_tokens": 6}
    answer = client.post("/v1/completions", json=request).json()
    from v2l.llm import GenerationConfig

    [expected] = long_pipeline.llm.generate(["a photo of"], GenerationConfig(6))
    assert answer["choices"][0]["text"] == expected.text
    assert answer["usage"]["completion_tokens"] == len(expected.ids)
    streamed = client.post("/v1/completions", json={**request, "stream": True}).text
    chunks = [json.loads(line[6:]) for line in streamed.split("\n\n") if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == expected.text


def test_the_models_are_listed(client: TestClient) -> None:
    listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert listed == ["tiny", "colours", "v2l"]
    assert client.get("/v1/models/tiny").json()["id"] == "tiny"
    assert client.get("/v1/models/none").status_code == 404


def test_health_and_figures(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ready"}
    page = client.get("/metrics").text
    assert 'v2l_requests_total{route="/healthz",status="200"}' in page
    assert 'v2l_stage_seconds_count{stage="encoder"}' in page
    assert 'v2l_queue_waiting{queue="LLM"} 0.0' in page
