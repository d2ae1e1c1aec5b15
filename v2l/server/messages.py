"""JSON of OpenAI's chat protocol ──► typed requests; what is not valid is refused before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Tag
from pydantic import Discriminator as Chosen

Detail = Literal["low", "auto", "high"]


def check_text(text: str) -> str:
    """The text itself, if it can be written as UTF-8: a lone surrogate of JSON cannot.

    Raises:
        ValueError: it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a character (a lone surrogate)") from None
    return text


Text = Annotated[str, AfterValidator(check_text)]
ShortText = Annotated[Text, Field(max_length=256)]


class Strict(BaseModel):
    """Numbers are finite, and unknown fields are kept for an upstream server."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class TextPart(Strict):
    """A piece of text."""

    type: Literal["text"]
    text: Text


class ImageUrl(Strict):
    """Where an image is: a `data:` URL, or an address of an allowed host."""

    url: Text
    detail: Detail = "auto"


class ImagePart(Strict):
    """An image between the texts."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def kind_of(content: Any) -> str:
    """Which of the two forms of a message's content this is."""
    return "parts" if isinstance(content, list) else "text"


Content = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[list[Part], Field(fail_fast=True, min_length=1, max_length=1000), Tag("parts")],
    Chosen(kind_of),
]


class Message(Strict):
    """One turn. An assistant's turn may lack content when it called tools, for an upstream server."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None

    @property
    def parts(self) -> list[TextPart | ImagePart]:
        """The content as parts, in their order."""
        if isinstance(self.content, str):
            return [TextPart(type="text", text=self.content)]
        return self.content or []


class StreamOptions(Strict):
    """What a stream has besides the text."""

    include_usage: bool = False


class Sampling(Strict):
    """The fields that chat and completions share.

    `temperature` is 0 when it is not given, for the LLM of v2l: a small LLM answers best greedily.
    """

    model: ShortText
    max_tokens: int | None = Field(None, ge=1, le=2**31)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: ShortText | Annotated[list[ShortText], Field(fail_fast=True, max_length=4)] | None = None
    n: int | None = Field(None, ge=1, le=128)
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in stop if text)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def extra(self) -> dict[str, Any]:
        """Fields that are not declared here."""
        return self.model_extra or {}


class ChatRequest(Sampling):
    """A request of /v1/chat/completions."""

    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1, max_length=2048)]
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31)

    @property
    def limit(self) -> int | None:
        """How many new tokens the client wants at most."""
        return self.max_completion_tokens or self.max_tokens

    def images(self) -> Iterator[ImageUrl]:
        """Every image of the chat, in order."""
        for message in self.messages:
            yield from (part.image_url for part in message.parts if isinstance(part, ImagePart))


class CompletionRequest(Sampling):
    """A request of /v1/completions: text alone, as in OpenAI's protocol."""

    prompt: Text | Annotated[list[Text], Field(fail_fast=True, min_length=1, max_length=1)]

    @property
    def text(self) -> str:
        """The only prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


EmbeddingItem = Text | Part


class EmbeddingRequest(Strict):
    """A request of /v1/embeddings: texts, `data:` URLs of images, or parts as in a chat."""

    model: ShortText
    input: Text | Annotated[list[EmbeddingItem], Field(fail_fast=True, min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)
    user: ShortText | None = None

    @property
    def items(self) -> list[str | TextPart | ImagePart]:
        """What is to be embedded, one or more."""
        return [self.input] if isinstance(self.input, str) else list(self.input)
