"""turns of a dialogue ──► a server's answer, by OpenAI's chat protocol.

The key comes from the environment and is never printed. A loopback address is reached directly, without a
proxy, and redirections are not followed, so that what is sent to this machine stays on it.

A reasoning model is recognised by its first reply: a thought, or nothing. Then its thinking is switched off
by the fields of `SWITCHES`. A server that refuses one of them gets the request again without it. Where no
switch works, the request gets room for the thought, and the thought is left aside. What a server needs is
remembered.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from v2l.errors import V2LError
from v2l.llm.generation import GenerationConfig
from v2l.llm.reasoning import Reply, read_message
from v2l.llm.retries import AGAIN, RequestFailedError, RetryPolicy, parse_retry_after
from v2l.prompts.dialogue import Dialogue
from v2l.prompts.prompt import refuse_embeddings
from v2l.zoo import is_offline

if TYPE_CHECKING:  # it takes two seconds to import, and most commands ask no server
    import openai
    from openai.types.chat import ChatCompletion

KEY = "OPENAI_API_KEY"
NO_KEY = "none"  # the client wants one; servers on one's own machine do not
RUN = "--endpoint http://localhost:8000/v1"
MAX_TOKENS = 2048  # of a thought and its answer together
LONGEST_QUOTE = 200  # characters of a server's own words
TEMPORARY = (408, 429)  # and 500 and above: statuses after which a request is sent again
MALFORMED = (400, 422)  # statuses with which servers refuse a field
SWITCHES: dict[str, Any] = {
    "chat_template_kwargs": {"enable_thinking": False},  # vLLM, SGLang, llama.cpp
    "reasoning_effort": "none",  # Ollama, llama.cpp, OpenAI, newer vLLM
}
OPTIONAL = ("seed", "stop", "temperature")  # a server may lack them; the answer can do without
UNSUPPORTED = re.compile(
    r"support|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed|extra", re.IGNORECASE
)
ADVICE = {
    403: ("a key that may use this model", f"the environment variable {KEY}"),
    404: ("an address that ends in its version, as in /v1, and a model that the server has", RUN),
    408: ("a server that has time for the request", AGAIN),
    429: ("fewer requests than the server's limit", AGAIN),
}
Answered = TypeVar("Answered")


@dataclass
class Dialect:
    """What a server was found to need; requests differ from the plain one by it.

    Attributes:
        thinks: True once a reply held a thought or nothing.
        switched: the fields that switch the thinking off and that the server has not refused.
        refused: optional fields that the server does not take.
        renamed: True when the server wants `max_completion_tokens` in the place of `max_tokens`.
    """

    thinks: bool = False
    switched: dict[str, Any] = field(default_factory=lambda: dict(SWITCHES))
    refused: set[str] = field(default_factory=set)
    renamed: bool = False

    @property
    def needs_room(self) -> bool:
        """True when the model thinks and no switch is left."""
        return self.thinks and not self.switched

    def adapt(self, words: str) -> bool:
        """Leave out what a server complains of; False when there is nothing to change.

        Args:
            words: the server's own words.
        """
        before = (len(self.switched), len(self.refused), self.renamed)
        self.renamed |= "max_completion_tokens" in words
        named = [
            name for name in SWITCHES if name in words or (name[0] == "c" and "enable_thinking" in words)
        ]
        if UNSUPPORTED.search(words):
            self.refused |= {name for name in OPTIONAL if re.search(rf"\b{name}\b", words)}
        if self.thinks and (len(self.refused), self.renamed) == before[1:]:
            for name in named or list(self.switched):
                self.switched.pop(name, None)
        return (len(self.switched), len(self.refused), self.renamed) != before


@dataclass(frozen=True)
class Endpoint:
    """A server that hosts an LLM.

    Attributes:
        url: the address up to the version, "http://localhost:8000/v1" for example.
        model: the server's name for the LLM; None takes the only one that it has.
        timeout: seconds that one answer may take.
        retries: how often a request that failed for a while is sent again.
        max_tokens: tokens of a thought and its answer together, when the thinking cannot be switched off.
        note: takes a line for people: before a wait, or when the server does not take a field.
        sleep: waits so many seconds.

    Raises:
        V2LError: the address is no http address, or v2l is offline and it is not this machine.
    """

    url: str
    model: str | None = None
    timeout: float = 60.0
    retries: int = 4
    max_tokens: int = MAX_TOKENS
    note: Callable[[str], None] = field(
        default=logging.getLogger(__name__).warning, compare=False, repr=False
    )
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False, repr=False)

    def __post_init__(self) -> None:
        host = host_of(self.url)
        if not host:
            raise V2LError(
                f"got the endpoint {self.name!r}", "an http or https address up to its version", RUN
            )
        if is_offline() and not is_loopback(host):
            got = f"the endpoint {self.name} is not this machine, and v2l is offline"
            raise V2LError(got, "localhost", "the same without --offline")
        if self.timeout <= 0:
            raise V2LError(f"got a timeout of {self.timeout} seconds", "more than 0", "--endpoint-timeout 60")
        if self.max_tokens < 1:
            got = f"got room for {self.max_tokens} tokens"
            raise V2LError(got, "1 and more", f"--endpoint-max-tokens {MAX_TOKENS}")

    @property
    def name(self) -> str:
        """The address without a user's name and password."""
        return re.sub("//[^/?#]*@", "//", self.url, count=1)

    @cached_property
    def model_name(self) -> str:
        """The name of the LLM that answers.

        Raises:
            V2LError: none was named and the server has none or several, or does not say.
        """
        if self.model:
            return self.model
        found = self._ask(lambda: [model.id for model in self.client.models.list().data])
        if len(found) != 1:
            raise V2LError(
                f"{self.name} has {len(found)} models",
                "the name of one: " + ", ".join(found[:20]),
                "--endpoint-model NAME",
            )
        return found[0]

    @cached_property
    def client(self) -> openai.OpenAI:
        """The standard client without retries of its own: those of `RetryPolicy` come with a note."""
        import openai

        direct = is_loopback(host_of(self.url))
        http = openai.DefaultHttpxClient(trust_env=False, follow_redirects=False) if direct else None
        key = os.environ.get(KEY) or NO_KEY
        return openai.OpenAI(
            base_url=self.url, api_key=key, timeout=self.timeout, max_retries=0, http_client=http
        )

    @cached_property
    def dialect(self) -> Dialect:
        """What this server was found to need so far."""
        return Dialect()

    def describe(self) -> dict[str, Any]:
        """The server and its LLM, for reports; these values replace those of the local LLM."""
        return {"llm": self.model_name, "llm_fingerprint": None, "endpoint": self.name}

    def write_answers(self, dialogues: Sequence[Dialogue], config: GenerationConfig) -> list[str]:
        """One answer to each dialogue; see `v2l.llm.base.LanguageModel`."""
        for dialogue in dialogues:
            refuse_embeddings(dialogue.prompt, self.name)
        return [self.reply(dialogue.turns, config).strip() for dialogue in dialogues]

    def sample_answers(self, dialogue: Dialogue, config: GenerationConfig, count: int) -> list[str]:
        """`count` sampled answers to one dialogue; the i-th has the seed `config.seed + i`, from 1."""
        configs = [replace(config, seed=config.seed + number) for number in range(1, count + 1)]
        return [answer for each in configs for answer in self.write_answers([dialogue], each)]

    def reply(self, turns: Sequence[Mapping[str, str]], config: GenerationConfig) -> str:
        """The server's next turn, without the thought of a reasoning model.

        Args:
            turns: `role` and `content` of each.
            config: length, temperature, seed and stop texts of the answer.

        Raises:
            V2LError: the server is down, slow, refuses, answers with something else, or only thinks.
        """
        reply = self._complete(turns, config)
        if not reply.is_plain and not self.dialect.thinks:
            self.dialect.thinks = True  # switches the thinking off
            reply = self._complete(turns, config)
        if not reply.is_plain and not self.dialect.needs_room:
            self.dialect.switched.clear()  # the switches are taken and do nothing: room instead
            reply = self._complete(turns, config)
        if not reply.answer:
            raise self._no_answer(reply)
        return reply.answer[
            : min((reply.answer.index(stop) for stop in config.stop if stop in reply.answer), default=None)
        ]

    def _complete(self, turns: Sequence[Mapping[str, str]], config: GenerationConfig) -> Reply:
        """One reply, asked for in the server's dialect."""
        while True:
            request = self._request(turns, config)
            try:
                return self._ask(partial(self._send, request))
            except FieldRefusedError as error:
                refused = set(self.dialect.refused)
                if not self.dialect.adapt(error.words):
                    raise V2LError(error.got, error.allowed, error.run) from error
                if lost := ", ".join(sorted(self.dialect.refused - refused)):
                    self.note(f"v2l: {self.name} does not take {lost}; its own default holds")

    def _send(self, request: Mapping[str, Any]) -> Reply:
        """One request for a completion."""
        return reply_of(self.client.chat.completions.create(**request))

    def _request(self, turns: Sequence[Mapping[str, str]], config: GenerationConfig) -> dict[str, Any]:
        """The fields of a request for a completion."""
        dialect = self.dialect
        room = max(config.max_new_tokens, self.max_tokens) if dialect.needs_room else config.max_new_tokens
        fields: dict[str, Any] = {
            "model": self.model_name,
            "messages": [dict(turn) for turn in turns],
            "max_completion_tokens" if dialect.renamed else "max_tokens": room,
            "temperature": config.temperature,
            "seed": config.seed,
            # A stop text would end the thought. The answer is cut here in any case.
            "stop": None if dialect.needs_room else list(config.stop) or None,
        }
        fields = {name: value for name, value in fields.items() if name not in dialect.refused}
        return fields | (
            {"extra_body": dict(dialect.switched)} if dialect.thinks and dialect.switched else {}
        )

    def _no_answer(self, reply: Reply) -> V2LError:
        """The line for a reply without an answer."""
        if reply.cut or reply.thought:
            got = f"{self.model_name} at {self.name} thinks for all of its {self.max_tokens:,} tokens"
            got = got if reply.cut else f"{self.model_name} at {self.name} gives a thought and no answer"
            return V2LError(
                got,
                "room for the thought and the answer, or a model that does not think",
                f"--endpoint-max-tokens {4 * self.max_tokens}",
            )
        got = f"{self.name} answers nonsense (an empty answer)"
        return V2LError(got, "a server that speaks OpenAI's protocol", RUN)

    def _ask(self, send: Callable[[], Answered]) -> Answered:
        """Send a request, again if it fails for a while, with one clear line for each kind of failure."""
        return RetryPolicy(self.retries, self.note, self.sleep).run(lambda: self._translated(send))

    def _translated(self, send: Callable[[], Answered]) -> Answered:
        """Send a request once; what the client raises becomes a V2LError."""
        import openai

        try:
            return send()
        except V2LError:
            raise
        except openai.APITimeoutError as error:
            got = f"{self.name} did not answer within {self.timeout:g} seconds"
            raise RequestFailedError(got, run="--endpoint-timeout with more") from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error  # the client reports a dropped connection in the same way
            what = "cannot be reached" if "Connect" in type(cause).__name__ else "dropped the connection"
            got = f"{self.name} {what} ({self._quoted(cause)})"
            raise RequestFailedError(got, "a server that runs", RUN) from error
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except json.JSONDecodeError as error:
            raise self._nonsense(RequestFailedError, f"no JSON: {error}") from error
        except (openai.OpenAIError, ValueError, AttributeError, TypeError, LookupError) as error:
            raise self._nonsense(V2LError, f"{type(error).__name__}: {error}") from error

    def _refusal(self, error: openai.APIStatusError) -> V2LError:
        """The line for a status other than 200: the status, the server's own words, and what helps."""
        status, words = error.status_code, self._quoted(words_of(error.body) or error.response.text)
        got = f"{self.name} refused with {status}" + (f" ({words})" if words else "")
        if status == 401:
            key = f"its key in the environment variable {KEY}"
            return V2LError(f"{self.name} does not take the key" + (f" ({words})" if words else ""), key)
        if status in TEMPORARY or status >= 500:
            after = parse_retry_after(error.response.headers.get("retry-after"))
            allowed, run = ADVICE.get(status, ("a server in working order; its log may say more", AGAIN))
            return RequestFailedError(got, allowed, run, after)
        if status in MALFORMED:
            whole = words_of(error.body) or error.response.text
            return FieldRefusedError(got, "a request that this server and its model take", words=whole)
        return V2LError(got, *ADVICE.get(status, ADVICE[404]))

    def _nonsense(self, kind: type[V2LError], what: str) -> V2LError:
        got = f"{self.name} answers nonsense ({self._quoted(what)})"
        return kind(got, "a server that speaks OpenAI's protocol", RUN)

    def _quoted(self, words: object) -> str:
        """The beginning of a message on one line, without the key."""
        line = " ".join(str(words).replace(os.environ.get(KEY) or "\0", "…").split())
        return line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 1] + "…"


class FieldRefusedError(V2LError):
    """A request that a server does not take as it is.

    Args:
        got: the status and the server's words, cut to a line.
        allowed: what would have been accepted.
        words: all of the server's words.
    """

    def __init__(self, got: str, allowed: str, words: str) -> None:
        super().__init__(got, allowed)
        self.words = words


def words_of(body: object) -> str:
    """The message in the body of a refusal: `error.message` (OpenAI), `message`, `error` or `detail`."""
    while isinstance(body, dict):
        body = next((body[key] for key in ("error", "message", "detail") if body.get(key)), None)
    if isinstance(body, list):
        return json.dumps(body, ensure_ascii=False)
    return body if isinstance(body, str) else ""


def reply_of(completion: ChatCompletion) -> Reply:
    """The thought and the answer of a completion.

    Raises:
        RequestFailedError: the body was no JSON.
        ValueError: there is no message in it.
    """
    from openai.types.chat import ChatCompletion

    if isinstance(completion, str):  # what the client gives for a body of another kind than JSON
        raise json.JSONDecodeError("a text instead", completion, 0)
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        raise ValueError("no choices in the answer")
    choice = completion.choices[0]
    message = choice.message
    return read_message(message.content, message.model_extra or {}, choice.finish_reason == "length")


def host_of(url: str) -> str:
    """The host of an http or https address; empty if it is no such address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is no number is noticed only here
    except ValueError:
        return ""
    return host or "" if parts.scheme in ("http", "https") else ""


def is_loopback(host: str) -> bool:
    """True for this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
