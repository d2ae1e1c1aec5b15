"""image ⇄ visual tokens: what every tokenizer of the family promises, and what all of them share.

A member writes `encode`, `settings` and `build`, and `decode` if it can. Saving, loading, publishing and
explaining are written once, here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.device import choose_device
from v2l.drawings import draw_outlines
from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.files import write_text
from v2l.images import resize, resize_and_crop
from v2l.places import PlacedWord
from v2l.prompts.places import in_words
from v2l.tokenizers.module_weights import load_strictly, stored
from v2l.tokenizers.needs import refusal, require
from v2l.tokenizers.registry import NEEDS, member_named
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import CellGrid, CodeStream, VisualTokens, Word
from v2l.visibility import measure_visibility
from v2l.zoo import hub_folder, upload_folder

SCHEMA = 1
CARD = """---
library_name: v2l
pipeline_tag: image-to-text
tags: [image-tokenizer, frozen-llm]
---

# The tokenizer "{name}"

It gives {gives}.

```python
import v2l

tokenizer = v2l.load_tokenizer("NAME OR FOLDER")
tokens = tokenizer.encode(v2l.load_image("picture.jpg")[None])
```

| | |
|---|---|
| weights | {parameters:.2f} M |
{rows}
`manifest.json` has every setting and the sha256 of every file.
"""


@dataclass(frozen=True)
class LLMVocabulary:
    """The LLM whose token ids, words or embeddings a tokenizer gives.

    Attributes:
        llm: the LLM's name.
        fingerprint: hash of its tokenizer, as `FrozenLLM.fingerprint`.
    """

    llm: str
    fingerprint: str


@dataclass(frozen=True)
class TaggedImages:
    """The words of B images, for prompts and for people.

    Attributes:
        words: per image its words, the best first.
        vectors: (B, D) float32 of unit length in a joint space of images and texts; None if the tokenizer has
            no such space.
        written: per image its words as a prompt writes them, with their places; empty if they have none.
    """

    words: tuple[tuple[Word, ...], ...]
    vectors: Tensor | None = None
    written: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class PreparedTokens:
    """One image's tokens, in work on very many images.

    Attributes:
        tokens: B = 1.
        vector: (D,) float32 of unit length in the tokenizer's joint space; None if it has none.
    """

    tokens: VisualTokens
    vector: Tensor | None = None


@dataclass(frozen=True)
class Explanation:
    """One image's tokens for people.

    Attributes:
        words: a word for each token, padding left out; "" for a token without a word.
        picture: (3, H', W') float32 in [0, 1], the image with the border of what each token covers and its
            word.
    """

    words: tuple[str, ...]
    picture: Tensor


class ImageTokenizer(nn.Module, ABC):
    """Images ⇄ tokens that a frozen LLM can read.

    Attributes:
        NAME: the name in the registry, which also says what the tokenizer gives and the kind of its
            manifests.
        SCALES: at which `encode_whole` reads a photograph, the default first. "own": every pixel, so that
            the number of tokens grows with the photograph. "model": resized to `whole_size`, and enlarged
            again by `decode_whole`.
        WRITES_ALL: whether a prompt has the words of all tokens, because their order is the layout or because
            a question may name any of them; otherwise as many as the task asks for.
        facts: how the weights were made, for reports and the model card; saved with them.
    """

    NAME: ClassVar[str]
    SCALES: ClassVar[tuple[str, ...]] = ("model",)
    WRITES_ALL: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, Any] = {}

    @abstractmethod
    def encode(self, images: Tensor) -> VisualTokens:
        """Images ──► tokens.

        Args:
            images: (B, 3, H, W) float32 in [0, 1]; `check_images` refuses other shapes.

        Raises:
            V2LError: the shape is not allowed.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `build` needs, apart from weights: plain values for the manifest."""

    @classmethod
    @abstractmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The tokenizer with the settings of a manifest, before its weights are loaded.

        Args:
            manifest: the entries that `settings` gave.
            folder: the directory, for parts that `save_parts` wrote.
        """

    def save_parts(self, folder: Path) -> None:
        """Write what is neither weights nor settings (codebooks); nothing by default."""

    def encode_set(self, images: Sequence[Tensor]) -> Tensor:
        """Images (3, H, W) of one set, of any sizes ──► soft tokens (n, N, width), each guided by the others.

        Raises:
            V2LError: this tokenizer reads each image alone; the line names those that read sets.
        """
        raise refusal(self.NAME, "sets", "encode_set")

    def decode(self, tokens: VisualTokens) -> Tensor:
        """Tokens ──► images (B, 3, H, W) float32 in [0, 1].

        Raises:
            V2LError: this tokenizer has no decoder; the line names those that have one.
        """
        raise refusal(self.NAME, "decoder", "decode")

    def square(self, images: Tensor, size: int) -> Tensor:
        """(B, 3, H, W) in [0, 1] ──► (B, 3, size, size): the centre square, as `encode` sees it."""
        return resize_and_crop(images, size)

    def whole_size(self, height: int, width: int) -> tuple[int, int]:
        """The size (H, W) to which the scale "model" resizes a photograph; its own size by default."""
        return height, width

    def scale_named(self, scale: str | None) -> str:
        """The scale itself, or the default one for None.

        Raises:
            V2LError: this tokenizer does not have it.
        """
        if scale is not None and scale not in self.SCALES:
            allowed = ", ".join(self.SCALES)
            raise V2LError(
                f"the tokenizer {self.NAME!r} does not read photographs at the scale {scale!r}",
                allowed,
                f"--scale {self.SCALES[0]}",
            )
        return scale or self.SCALES[0]

    def encode_whole(self, image: Tensor, scale: str | None = None) -> VisualTokens:
        """A photograph (3, H, W) ──► its tokens (B = 1), none of it cropped.

        Args:
            image: float32 in [0, 1].
            scale: one of `SCALES`; None is the first.

        Raises:
            V2LError: this tokenizer does not have the scale.
        """
        self.scale_named(scale)
        return self.encode(resize(image, self.whole_size(image.shape[-2], image.shape[-1]))[None])

    def decode_whole(self, tokens: VisualTokens, size: tuple[int, int], scale: str | None = None) -> Tensor:
        """The tokens of `encode_whole` ──► the photograph (3, H, W) in [0, 1], at its own size.

        Args:
            tokens: of this image alone, B = 1.
            size: (H, W) of the photograph.
            scale: the one it was encoded at.

        Raises:
            V2LError: this tokenizer has no decoder or not the scale, or the tokens are those of another size.
        """
        self.scale_named(scale)
        return resize(self.decode(tokens)[0].cpu(), size)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The numbers of tokens that `with_length` takes, ascending; none if the number cannot be chosen."""
        return ()

    def with_length(self, length: int) -> Self:
        """The same tokenizer, which writes another number of tokens; what it decodes does not change.

        Raises:
            V2LError: it does not have this length.
        """
        raise V2LError(
            f"the number of tokens of the tokenizer {self.NAME!r} cannot be chosen",
            f"{self.NAME} without a number",
            f"--tokenizer {self.NAME}",
        )

    @property
    def codebook_size(self) -> int | None:
        """Number of reachable codes; None if an image is not written in codes of a fixed codebook.

        Tokenizers with several codebooks give the size of the first, and write both methods below.
        """
        return None

    def code_streams(self, tokens: VisualTokens) -> tuple[CodeStream, ...]:
        """The codes of one image, as token files keep them and byte counts need them.

        Args:
            tokens: of this image alone, B = 1.

        Raises:
            V2LError: this tokenizer has no codes.
        """
        grid = tokens.layout
        shape = (grid.rows, grid.columns) if isinstance(grid, CellGrid) else (1, -1)
        return (CodeStream(_ids(tokens).view(shape), self._required_codebook_size()),)

    def tokens_of_streams(self, streams: Sequence[CodeStream]) -> VisualTokens:
        """What `code_streams` gave ──► tokens, B = 1.

        Raises:
            V2LError: the streams are not those of this tokenizer.
        """
        check_streams(streams, (self._required_codebook_size(),))
        rows = streams[0].rows
        return VisualTokens("codes", rows.flatten()[None], layout=CellGrid(rows.shape[0], rows.shape[1]))

    def _required_codebook_size(self) -> int:
        if self.codebook_size is None:
            raise V2LError(
                f"the tokenizer {self.NAME!r} does not write an image in codes of a fixed codebook",
                "a tokenizer with a codebook",
                "--tokenizer v2l",
            )
        return self.codebook_size

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides what a code means: 16 hexadecimal digits."""
        return fingerprint_of(self.state_dict(), repr(sorted(self.describe().items())))

    @property
    def loss_network(self) -> str:
        """The perceptual network of its training loss, which no report of it may use; "none" by default."""
        return "none"

    @property
    def needed_pixels(self) -> int | None:
        """The shorter side at which an image loses nothing for `prepare`; larger JPEGs are decoded smaller.

        None: every pixel is needed.
        """
        return None

    def prepare(self, image: Tensor) -> tuple[Tensor, ...]:
        """An image (3, H, W) in [0, 1] ──► the views of it that `encode_prepared` takes; the image itself by
        default.

        `v2l tokenize` calls it in other threads than the forward passes.
        """
        return (image,)

    @torch.inference_mode()
    def encode_prepared(
        self, views: Sequence[tuple[Tensor, ...]], vectors: bool = False
    ) -> list[PreparedTokens]:
        """The tokens of images that `prepare` has seen, as `encode` gives them; one image at a time by
        default.

        Args:
            views: of each image what `prepare` gave.
            vectors: whether the vectors of the joint space are needed too.
        """
        return [self._encode_one(image, vectors) for (image,) in views]

    def _encode_one(self, image: Tensor, vectors: bool) -> PreparedTokens:
        images = image[None].to(self.device)
        tagger = self.tagger if vectors else None
        vector = None if tagger is None else tagger.joint_encoder(self.device).encode_images(images)[0]
        return PreparedTokens(self.encode(images), vector)

    @property
    def tagger(self) -> WordTagger | None:
        """The word tagger that alone determines the words of an image, or None.

        It is None for tokenizers whose words have another origin.

        Tasks keep the vectors of a tagger in the user's cache, so that an image is encoded once.
        """
        return None

    @property
    def part_namer(self) -> WordTagger | None:
        """The word tagger that can name any part of an image by its pixels; None if there is none."""
        return self.tagger

    @property
    def vocabulary(self) -> LLMVocabulary | None:
        """The LLM that the tokens belong to; None if any LLM can read them, or none (codes without words)."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        tensors: Iterable[Tensor] = chain(self.parameters(), self.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    @torch.inference_mode()
    def image_words(self, images: Tensor, count: int, selection: str = "nearest") -> TaggedImages:
        """The words of whole images, as `v2l words` and the tasks of understanding use them.

        These tasks are few-shot classification, captions and question answering.

        With a tagger, its words; otherwise the words of the tokens, highest score first, each word once.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].
            count: at most so many words an image.
            selection: a key of `word_tagger.SELECTIONS`; only a tagger has more than one list to choose from.

        Raises:
            V2LError: this tokenizer gives no words.
        """
        if self.tagger is None:
            require(self, "words", "image_words")
            tokens = self.encode(images)
            placed = [self.placed_words(tokens, image) for image in range(len(tokens))]
            chosen = placed if self.WRITES_ALL else [words[:count] for words in placed]
            written = tuple(map(self.write_words, chosen)) if any(chosen) else ()
            return TaggedImages(tuple(_best(words, count) for words in tokens.words), written=written)
        vectors = self.tagger.joint_encoder(self.device).encode_images(images)
        return TaggedImages(self.tagger.words(vectors, count, selection), vectors)

    def image_view(self, image: Tensor) -> Tensor:
        """What `image_words` sees of an image (3, H, W): a tagger's encoder sees a square (3, S, S); without
        a tagger it is the whole image.
        """
        return image if self.tagger is None else self.tagger.joint_encoder(self.device).prepare(image)

    def visibility_note(self, image: Tensor) -> str | None:
        """Why there is too little to see in an image (3, H, W) for its words to mean something; else None."""
        return measure_visibility(image, self.image_view(image)).note

    def placed_words(self, tokens: VisualTokens, image: int = 0) -> tuple[PlacedWord, ...]:
        """The word and the place of each token of one image, those that cover most of it first.

        Empty if the tokens have no layout, or if the words describe the image as a whole. Tokens without a
        word are left out.
        """
        if self.tagger is not None or not tokens.words:
            return ()
        tokens_of_image = zip(tokens.places(image), tokens.words[image], tokens.areas(image), strict=False)
        placed = [
            PlacedWord(word.word, word.score, area, token)
            for token, word, area in tokens_of_image
            if word.word
        ]
        return tuple(sorted(placed, key=lambda word: -word.area.share))

    def write_words(self, words: Sequence[PlacedWord]) -> tuple[str, ...]:
        """How a prompt writes words with places: "dog (centre left)" by default."""
        return in_words(words)

    def token_words(self, tokens: VisualTokens, image: int = 0) -> tuple[str, ...]:
        """A word for each token of one image, padding left out; "" for a token without a word."""
        words = [word.word for word in tokens.words[image]] if tokens.words else []
        return tuple(words + [""] * (len(tokens.places(image)) - len(words)))

    def visible_part(self, image: Tensor, tokens: VisualTokens) -> Tensor:
        """The part of an image (3, H, W) that the layout's shares refer to: the whole image by default."""
        return image

    def explain(self, image: Tensor, tokens: VisualTokens) -> Explanation:
        """A word for each token, and a picture that shows what each token covers.

        Args:
            image: (3, H, W) float32 in [0, 1].
            tokens: of this image alone, B = 1; `tokens[index]` picks it from a batch.
        """
        words = self.token_words(tokens)
        return Explanation(words, draw_outlines(self.visible_part(image, tokens), tokens.outlines(), words))

    def describe(self) -> dict[str, str]:
        """Names and fingerprints of what made the tokens, for reports; at least the tokenizer's name."""
        return {"tokenizer": self.NAME}

    def model_card(self) -> str:
        """The text of README.md in a saved directory, with the hub's head."""
        member = member_named(self.NAME)
        return CARD.format(
            name=self.NAME,
            gives=", ".join(NEEDS[need] for need in member.gives),
            parameters=sum(tensor.numel() for tensor in self.state_dict().values()) / 1e6,
            rows="".join(
                f"| {name} | {value} |\n" for name, value in {**self.describe(), **self.facts}.items()
            ),
        )

    def save_pretrained(
        self, target: str | Path, half: bool = False, beside: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> None:
        """Write weights, settings, parts and a model card as one directory.

        Args:
            target: a new directory, or an older checkpoint to replace.
            half: store the weights in float16, half the size.
            beside: other networks by name, for further training (a discriminator); `from_pretrained` does not
                read them.

        Raises:
            V2LError: the place cannot be written; an older checkpoint there stays as it was.
        """
        weights = {name: stored(tensor, half) for name, tensor in self.state_dict().items()}
        with write_directory(target) as folder:
            for name, tensors in {"model": weights, **(beside or {})}.items():
                save_tensors(folder / f"{name}.safetensors", tensors)
            self.save_parts(folder)
            head = {"kind": member_named(self.NAME).kind, "schema": SCHEMA}
            write_manifest(folder, {**head, **self.settings(), "facts": self.facts})
            # After the manifest, which lists the sha256 of every file before it: people may edit the card.
            write_text(folder / "README.md", self.model_card())

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, device: str = "auto") -> Self:
        """Read what `save_pretrained` wrote.

        Args:
            name: a directory, or a model of the hub; None is the checkpoint that ships with v2l.
            device: as in `v2l.device.choose_device`.

        Raises:
            V2LError: no such checkpoint, or it is damaged, or its weights do not fit its settings.
        """
        member = member_named(cls.NAME)
        folder = hub_folder(str(member.shipped() if name is None else name), what="checkpoint")
        manifest = read_manifest(folder, member.kind, SCHEMA)
        tokenizer = cls.build(manifest, folder)
        tokenizer.facts = manifest["facts"]
        load_strictly(tokenizer, load_tensors(folder / "model.safetensors"), folder)
        return tokenizer.to(choose_device(device)).eval()

    def push_to_hub(self, name: str, private: bool = False, half: bool = False) -> str:
        """Write the directory of `save_pretrained` to the hub, from where `from_pretrained(name)` reads it.

        Args:
            name: `user/model` on the hub; it is made when it is not there.
            private: whether a new one is hidden from others.
            half: as in `save_pretrained`.

        Returns:
            its address.

        Raises:
            V2LError: v2l is offline, or the hub refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "model", half)
            return upload_folder(Path(folder) / "model", name, private)


def check_images(images: Tensor) -> None:
    """Accept a batch of RGB images (B, 3, H, W), floating point, in [0, 1].

    Raises:
        V2LError: it has another shape or dtype.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise V2LError(
            f"got images of shape {tuple(images.shape)} and dtype {images.dtype}",
            "(B, 3, H, W) float32 in [0, 1]",
            "image[None]",
        )


def check_streams(streams: Sequence[CodeStream], sizes: tuple[int, ...]) -> None:
    """Accept streams with these numbers of reachable codes.

    Raises:
        V2LError: there are others.
    """
    found = tuple(stream.size for stream in streams)
    if found != sizes:
        raise V2LError(f"got codes of codebooks with {found} entries", f"{sizes} entries")


def _ids(tokens: VisualTokens) -> Tensor:
    """(N,) int64, the ids of one image without padding."""
    if tokens.ids is None or len(tokens) != 1:
        raise V2LError(f"got {len(tokens)} image(s) of {tokens.kind}", "the codes of one image", "tokens[0]")
    return tokens.ids[0][tokens.places()]


def _best(words: tuple[Word, ...], count: int) -> tuple[Word, ...]:
    """The words with the highest scores, each surface form once, tokens without a word left out."""
    distinct: dict[str, Word] = {}
    for word in sorted(words, key=lambda word: -word.score):
        if word.word:
            distinct.setdefault(word.word, word)
    return tuple(distinct.values())[:count]
