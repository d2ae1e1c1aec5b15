"""turns ──► a server's answers: any server that speaks OpenAI's chat protocol (openai's door).

The key comes from the environment and is never printed. A loopback address is dialled directly, without a proxy, and redirections are not
followed, so that what is sent to this machine stays on it.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

from v2l.errors import V2LError
from v2l.llm.generation import GenerationConfig
from v2l.zoo import is_offline

KEY = "OPENAI_API_KEY"
NO_KEY = "none"  # the client wants one; servers on one's own machine do not
RUN = "--endpoint http://localhost:8000/v1"
Answered = TypeVar("Answered")


@dataclass(frozen=True)
class Endpoint:
    """A server that hosts an LLM.

    Attributes:
        url: up to the version, "http://localhost:8000/v1" say.
        model: its name for the LLM; None takes the only one that it has.
        timeout: seconds that one answer may take.
        retries: how often a server that is busy or fails is asked again.

    Raises:
        V2LError: the address is no http address, or v2l is offline and it is not this machine.
    """

    url: str
    model: str | None = None
    timeout: float = 60.0
    retries: int = 2

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise V2LError(
                f"got the endpoint {self.name!r}", "an http or https address up to its version", RUN
            )
        if is_offline() and not is_loopback(parts.hostname):
            raise V2LError(
                f"the endpoint {self.name} is not this machine, and v2l is offline",
                "localhost",
                "the same without --offline",
            )
        if self.timeout <= 0:
            raise V2LError(f"got a timeout of {self.timeout} seconds", "more than 0", "--endpoint-timeout 60")

    @property
    def name(self) -> str:
        """The address without a user's name and password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @cached_property
    def model_name(self) -> str:
        """The LLM that is asked.

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
        """The standard client."""
        direct = is_loopback(urlsplit(self.url).hostname or "")
        http = openai.DefaultHttpxClient(trust_env=False, follow_redirects=False) if direct else None
        key = os.environ.get(KEY) or NO_KEY
        return openai.OpenAI(
            base_url=self.url, api_key=key, timeout=self.timeout, max_retries=self.retries, http_client=http
        )

    def describe(self) -> dict[str, Any]:
        """Who answers, for reports: what stands in the place of the local LLM."""
        return {"llm": self.model_name, "llm_fingerprint": None, "endpoint": self.name}

    def answer(self, turns: Sequence[Mapping[str, str]], config: GenerationConfig) -> str:
        """The server's next turn.

        Args:
            turns: `role` and `content` of each.
            config: length, temperature, seed and stop texts of the answer.

        Raises:
            V2LError: the server is down, slow, refuses, or answers with something else.
        """

        def ask() -> str:
            completion = self.client.chat.completions.create(
                model=self.model_name,
                messages=[dict(turn) for turn in turns],
                max_tokens=config.max_new_tokens,
                temperature=config.temperature,
                seed=config.seed,
                stop=list(config.stop) or None,
            )
            return content_of(completion)

        answer = self._ask(ask)
        return answer[
            : min((answer.index(stop) for stop in config.stop if stop in answer), default=len(answer))
        ]

    def _ask(self, ask: Callable[[], Answered]) -> Answered:
        """Ask, with one clear line for each way in which that can fail."""
        try:
            return ask()
        except V2LError:
            raise
        except openai.APITimeoutError as error:
            raise V2LError(
                f"{self.name} did not answer within {self.timeout:g} seconds",
                run="--endpoint-timeout with more",
            ) from error
        except openai.APIConnectionError as error:
            raise V2LError(
                f"{self.name} cannot be reached ({self._safe(error.__cause__ or error)})",
                "a server that runs",
                RUN,
            ) from error
        except openai.AuthenticationError as error:
            raise V2LError(
                f"{self.name} does not take the key", f"its key in the environment variable {KEY}"
            ) from error
        except openai.APIStatusError as error:
            hint = "an address that ends in its version, as in /v1, and a model that the server has"
            raise V2LError(
                f"{self.name} refused with {error.status_code} ({self._safe(error.message)})", hint, RUN
            ) from error
        except (openai.OpenAIError, ValueError, AttributeError, TypeError, LookupError) as error:
            raise V2LError(
                f"{self.name} answers nonsense ({type(error).__name__}: {self._safe(error)})",
                "a server that speaks OpenAI's protocol",
                RUN,
            ) from error

    def _safe(self, told: object) -> str:
        """The beginning of a message, without the key."""
        return str(told).replace(os.environ.get(KEY) or "\0", "…")[:200]


def content_of(completion: ChatCompletion) -> str:
    """The text of an answer.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        raise ValueError("no choices in the answer")
    content = completion.choices[0].message.content
    if not isinstance(content, str) or not content.strip():
        raise ValueError("an empty answer")
    return content


def is_loopback(host: str) -> bool:
    """True for this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
