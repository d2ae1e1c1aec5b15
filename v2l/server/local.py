"""a chat with images ──► an answer of the LLM that v2l has loaded.

One question about one image is answered exactly as `v2l vqa` answers it, and one image without a text as
`v2l caption` does, because a small LLM needs their examples. Every other chat uses the LLM's chat format;
each image is a line with its words.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from v2l.errors import V2LError
from v2l.llm import FrozenLLM, GenerationConfig
from v2l.llm.chat import dialogue_prompt, turns_prompt
from v2l.pipeline.image_words import ImageWords
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.chat import ShownImage, turn_text
from v2l.prompts.choices import ANY_KIND, kind_asked_for, kind_continuation, kind_prompt
from v2l.prompts.prompt import Prompt
from v2l.server.errors import ApiError, refused, unsupported
from v2l.server.images import WORDS
from v2l.server.messages import ChatRequest, CompletionRequest, Message, Sampling, TextPart
from v2l.server.metrics import Metrics
from v2l.server.settings import Limits
from v2l.server.text_stream import TextStream
from v2l.server.work_queue import WorkQueue
from v2l.tasks.description.describe import Describer, DescribeSettings

NEW_TOKENS = 256  # of an answer when the client names no number
LEAST_TEMPERATURE = 0.01  # below it the most probable token is taken: the quotients would overflow
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
NEUTRAL = {  # fields that change nothing at these values
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logit_bias": ({}, None),
    "logprobs": (False, None),
    "top_logprobs": (0, None),
    "tools": ([], None),
    "functions": ([], None),
    "tool_choice": ("none", "auto", None),
    "function_call": ("none", "auto", None),
    "response_format": ({"type": "text"}, None),
    "modalities": (["text"], None),
    "best_of": (1, None),
    "echo": (False, None),
    "suffix": ("", None),
}
IGNORED = {  # fields about the client or its account, not about the answer
    "user",
    "metadata",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "safety_identifier",
    "reasoning_effort",
    "verbosity",
}
Found = TypeVar("Found")


class GoneError(Exception):
    """The client went away, so that nobody waits for the rest of the answer."""


@dataclass(frozen=True)
class Written:
    """A complete answer.

    Attributes:
        text: without the space around it.
        finish: "stop", or "length" when the number of tokens ran out.
        prompt_tokens: that the LLM read.
        completion_tokens: that it wrote.
    """

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Listener:
    """The client of one answer, as the LLM's thread sees it.

    Attributes:
        emit: called with each piece of text.
        gone: set when the client goes away.
    """

    emit: Callable[[str], None]
    gone: threading.Event

    def check(self) -> None:
        """Go on only while somebody listens.

        Raises:
            GoneError: nobody does.
        """
        if self.gone.is_set():
            raise GoneError


Write = Callable[[Listener], Written]
"""Writes an answer, on the LLM's thread."""


@dataclass(frozen=True)
class Plan:
    """How a request is answered.

    Attributes:
        task: "vqa", "caption", "chat" or "completion".
        answer: writes the answer.
    """

    task: str
    answer: Write


class LocalLLM:
    """The pipeline's LLM, for one request after the other on a thread of its own.

    Args:
        pipeline: with an LLM.
        limits: of answers and of the queue.
        metrics: of the server.
    """

    def __init__(self, pipeline: Pipeline, limits: Limits, metrics: Metrics) -> None:
        self.pipeline, self._limits, self._metrics = pipeline, limits, metrics
        self._queue: WorkQueue[Callable[[], object], object] = WorkQueue(
            "LLM", lambda jobs: [job() for job in jobs], limits.answers_waiting, metrics
        )

    @property
    def llm(self) -> FrozenLLM:
        """The LLM itself."""
        return self.pipeline.llm

    def close(self) -> None:
        """End the thread."""
        self._queue.close()

    async def call(self, job: Callable[[threading.Event], Found]) -> Found:
        """Run a job on the LLM's thread; its event is set when the client goes away.

        Raises:
            ApiError: too many jobs wait.
            V2LError: the user's mistake that the job found.
        """
        gone = threading.Event()
        try:
            found: object = await self._queue.run(partial(job, gone))
        finally:
            gone.set()
        return found  # type: ignore[return-value]  # the queue holds jobs of all kinds

    async def write(self, answer: Write) -> Written:
        """A complete answer."""
        written = await self.call(lambda gone: answer(Listener(lambda _: None, gone)))
        self._count(written)
        return written

    async def stream(self, answer: Write) -> AsyncIterator[str | Written]:
        """Pieces of text, and at last the whole answer."""
        pieces: asyncio.Queue[str | None] = asyncio.Queue()  # None is the end
        loop = asyncio.get_running_loop()

        def emit(text: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, text)

        task = asyncio.create_task(self.call(lambda gone: answer(Listener(emit, gone))))
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            written = await task
            self._count(written)
            yield written
        finally:
            task.cancel()

    def chat(self, request: ChatRequest, images: Sequence[ImageWords]) -> Plan:
        """How a chat is answered.

        Args:
            request: of the client.
            images: the words of all its images, in order.

        Raises:
            ApiError: a field of the request is not supported.
        """
        self._check(request, request.limit)
        question = lone_question(request.messages)
        if question is None or len(images) != 1:
            return Plan("chat", partial(self._chat, request, turns_of(request.messages, images)))
        describer = Describer(
            self.pipeline,
            "vqa" if question else "caption",
            DescribeSettings(n_words=WORDS[next(request.images()).detail]),
        )
        if describer.scored_kind(question):
            return Plan("vqa", partial(self._yes_or_no, describer, images[0], question))
        return Plan(describer.task, partial(self._described, request, describer, images[0], question))

    def completion(self, request: CompletionRequest) -> Plan:
        """How a prompt is continued.

        Raises:
            ApiError: a field of the request is not supported, or the prompt is empty.
        """
        self._check(request, request.max_tokens)
        if not request.text:
            raise ApiError(400, "the prompt is empty", "prompt")
        config = self._config(request, request.max_tokens or 16)  # 16 is OpenAI's default
        return Plan("completion", partial(self._write, Prompt((request.text,)), config, strip=False))

    def _chat(self, request: ChatRequest, turns: list[dict[str, str]], listener: Listener) -> Written:
        config = self._config(request, request.limit or NEW_TOKENS)
        return self._write(turns_prompt(self.llm, turns), config, listener)

    def _described(
        self,
        request: ChatRequest,
        describer: Describer,
        image: ImageWords,
        question: str,
        listener: Listener,
    ) -> Written:
        """A caption or a short answer: length, stop texts and repetition as in `v2l caption` and `v2l vqa`.

        The client's own stop texts count too.
        """
        task = describer.config
        config = self._config(request, min(request.limit or task.max_new_tokens, task.max_new_tokens))
        stop = tuple(dict.fromkeys((*task.stop, *config.stop)))
        config = replace(config, stop=stop, no_repeat=task.no_repeat)
        prompt = dialogue_prompt(self.llm, describer.dialogue(image.evidence, question))
        return self._write(prompt, config, listener)

    def _yes_or_no(
        self, describer: Describer, image: ImageWords, question: str, listener: Listener
    ) -> Written:
        """An answer by log-probabilities, as `v2l vqa` gives it."""
        listener.check()
        text = describer.describe([image], [question])[0].text
        listener.emit(text)
        kind = kind_continuation(kind_asked_for(question) or "")
        prompts = [ANY_KIND, *(kind_prompt(word) for word in image.words)]
        read = sum(len(self.llm.encode(prompt + kind)) for prompt in prompts)
        return Written(text, "stop", read, len(self.llm.encode_pieces(f" {text}")))

    def _write(
        self, prompt: Prompt, config: GenerationConfig, listener: Listener, strip: bool = True
    ) -> Written:
        """Generate after a prompt, and stop when the client goes away."""
        stream = TextStream(self.llm.decode, config.stop, listener.emit, strip)

        def on_token(ids: Sequence[int]) -> None:
            listener.check()
            stream.push(ids)

        listener.check()
        try:
            [found] = self.llm.generate([prompt], replace(config, on_token=on_token))
        except V2LError as error:
            raise refused(error, "messages") from error
        stopped = any(stop in self.llm.decode(found.ids) for stop in config.stop)
        cut = len(found.ids) == config.max_new_tokens and not stopped
        return Written(
            stream.finish(found.text),
            "length" if cut else "stop",
            self.llm.count(prompt),
            len(found.ids),
        )

    def _config(self, request: Sampling, max_new_tokens: int) -> GenerationConfig:
        """How tokens are chosen; greedily where the client gives no temperature."""
        temperature = request.temperature or 0.0
        return GenerationConfig(
            max_new_tokens,
            temperature=temperature if temperature >= LEAST_TEMPERATURE else 0.0,
            top_p=request.top_p or 1.0,
            seed=request.seed or 0,
            stop=request.stops,
        )

    def _check(self, request: Sampling, limit: int | None) -> None:
        """Refuse what this LLM cannot do.

        Raises:
            ApiError: naming the field.
        """
        if request.n not in (None, 1):
            raise unsupported("n", "the LLM of v2l gives one answer")
        if limit is not None and limit > self._limits.new_tokens:
            got = f"got {limit} new tokens; allowed: 1 to {self._limits.new_tokens}"
            raise ApiError(400, got, "max_tokens")
        for name, value in request.extra().items():
            if name in NEUTRAL and value not in NEUTRAL[name]:
                raise unsupported(
                    name, "the LLM of v2l does not have it; an upstream server may (--upstream)"
                )
            if name not in NEUTRAL and name not in IGNORED:
                raise unsupported(name[:64], "it is not known")

    def _count(self, written: Written) -> None:
        self._metrics.tokens.labels("prompt").inc(written.prompt_tokens)
        self._metrics.tokens.labels("completion").inc(written.completion_tokens)


def lone_question(messages: Sequence[Message]) -> str | None:
    """The question of a chat that is one user's turn with one question; "" without a text; else None.

    A question ends with a question mark.
    """
    if len(messages) != 1 or messages[0].role != "user":
        return None
    texts = [part.text for part in messages[0].parts if isinstance(part, TextPart)]
    text = " ".join(" ".join(texts).split())
    return text if not text or text.endswith("?") else None


def turns_of(messages: Sequence[Message], images: Sequence[ImageWords]) -> list[dict[str, str]]:
    """The turns of a chat as texts, with a line in the place of each image.

    Raises:
        ApiError: a role is not supported, or only a user's turn may hold what this one holds.
    """
    shown = iter([ShownImage(number, image.prompt_words) for number, image in enumerate(images, start=1)])
    turns = []
    for message in messages:
        if message.role not in ROLES:
            raise unsupported("messages", f"the LLM of v2l has no turns of the role {message.role}")
        parts = [part.text if isinstance(part, TextPart) else next(shown) for part in message.parts]
        turns.append({"role": ROLES[message.role], "content": turn_text(parts)})
    if not any(turn["content"].strip() for turn in turns):
        raise ApiError(400, "all messages are empty", "messages")
    return turns
