"""image + mask ──► image: the frozen LLM tells the tokens under the mask from those around it.

Blind: masked pixels are mid-grey before anything looks at the image, examples come from its visible part, and every predicted
token is one of the LLM's own. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, without its oracle examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import LONGEST_SHAPE, check_mask, resize
from v2l.llm import Context, FrozenLLM, GenerationConfig
from v2l.prompts.denoise import denoise_examples, denoise_query
from v2l.prompts.wording import check_wording
from v2l.tasks.stack import Stack
from v2l.tasks.windows import context_cells, hidden_cells, hidden_windows, nearest_visible, visible_examples
from v2l.tokens import ImageTokens

MID_GREY = 0.5
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class InpaintSettings:
    """How the LLM is asked.

    Attributes:
        n_context: visible or told tokens shown before the missing ones.
        n_predict: tokens told at once.
        n_examples: examples from the visible part of the image.
        seed: of the examples, and of sampling.
        temperature: 0 is greedy.
        top_k: sample among so many likeliest tokens; 0 is all.
        prompt: wording, paper, official or tuned.
        palette: the LLM chooses among the tokens of so many visible cells, the nearest ones; 0 is the whole local codebook, among
            which a small LLM soon repeats itself.
    """

    n_context: int = 16
    n_predict: int = 2
    n_examples: int = 10
    seed: int = 0
    temperature: float = 0.0
    top_k: int = 0
    prompt: str = "tuned"
    palette: int = 32

    def __post_init__(self) -> None:
        check_wording(self.prompt)
        for name, least in (("n_context", 1), ("n_predict", 1), ("n_examples", 0), ("temperature", 0), ("top_k", 0), ("palette", 0)):
            if getattr(self, name) < least:
                raise V2LError(f"got {name} = {getattr(self, name)}", f"{least} and more")


@dataclass(frozen=True)
class Told:
    """One window of the log.

    Attributes:
        cells: raster numbers of the cells.
        given: the token ids that were shown.
        ids: the token ids that the LLM chose.
        loglikelihood: log p(ids | prompt) among all tokens of the LLM.
    """

    cells: tuple[int, ...]
    given: tuple[int, ...]
    ids: tuple[int, ...]
    loglikelihood: float


@dataclass(frozen=True)
class Inpainted:
    """What comes out.

    Attributes:
        image: (3, H, W) in [0, 1]: the image itself outside the mask, bit by bit, and the decoder's picture inside.
        tokens: the tokens that were decoded, B = 1.
        hidden: (h, w) bool, the cells that the LLM told.
        log: one entry per window, in the order told.
    """

    image: Tensor
    tokens: ImageTokens
    hidden: Tensor
    log: tuple[Told, ...]


def inpaint(
    stack: Stack, image: Tensor, mask: Tensor, settings: InpaintSettings | None = None, progress: Progress | None = None
) -> Inpainted:
    """Paint what a mask hides.

    Args:
        stack: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1]; the pixels under the mask are never used.
        mask: (H, W) bool, True where to paint.
        settings: how the LLM is asked.
        progress: told (windows done, windows in all) after each window.

    Raises:
        V2LError: the mask does not fit, is empty or full, or the prompt is longer than the LLM's context.
    """
    settings = settings or InpaintSettings()
    check_mask(mask, tuple(image.shape[-2:]))
    grey = torch.where(mask, MID_GREY, image)
    tokens = stack.tokenizer.encode(whole_at_model_size(grey, stack)[None], crop=False)
    hidden = hidden_cells(mask, tuple(tokens.local_ids.shape[-2:]))
    teller = Teller(stack, tokens.local_ids[0], hidden, settings)
    log = teller.tell(progress)
    told = tokens.with_local_ids(torch.tensor(teller.ids).view(tokens.local_ids.shape))
    painted = resize(stack.tokenizer.decode(told)[0].cpu(), tuple(image.shape[-2:]))
    return Inpainted(torch.where(mask, painted, image), told, hidden, tuple(log))


def whole_at_model_size(image: Tensor, stack: Stack) -> Tensor:
    """The whole image, not cropped, its shorter side at the model's size and both sides multiples of f.

    Args:
        image: (3, H, W) in [0, 1].
        stack: gives the model's size and f.
    """
    size, factor = stack.tokenizer.config.model.image_size, stack.tokenizer.factor
    shorter = min(image.shape[-2:])
    height, width = (
        max(factor, min(round(side * size / shorter / factor), LONGEST_SHAPE * size // factor) * factor) for side in image.shape[-2:]
    )
    return resize(image, (height, width))


class Teller:
    """The LLM at work on one token grid: window after window, what is told becomes context.

    Args:
        stack: gives the LLM and the ids that it may use.
        ids: (h, w) int64 token ids; the hidden ones are never read.
        hidden: (h, w) bool.
        settings: how the LLM is asked.
    """

    def __init__(self, stack: Stack, ids: Tensor, hidden: Tensor, settings: InpaintSettings) -> None:
        self.ids, self.settings = ids.flatten().tolist(), settings
        self.visible = ~hidden
        self.known = self.visible.flatten().tolist()
        self.windows = hidden_windows(hidden.flatten().tolist(), settings.n_predict)
        self.codebook = frozenset(stack.tokenizer.local_codebook.token_ids.tolist())
        lengths = (settings.n_context, settings.n_predict)
        self.examples = visible_examples(self.ids, hidden.flatten().tolist(), lengths, settings.n_examples, Random(settings.seed))
        self.llm: FrozenLLM = stack.llm

    def tell(self, progress: Progress | None = None) -> list[Told]:
        """Tell every window; the examples are read once."""
        examples = self.llm.read(denoise_examples(self.examples, self.settings.n_predict, self.settings.prompt))
        log = []
        for number, cells in enumerate(self.windows):
            log.append(self.tell_window(number, cells, examples))
            if progress:
                progress(number + 1, len(self.windows))
        return log

    def tell_window(self, number: int, cells: list[int], examples: Context) -> Told:
        """Predict the tokens of one window and keep them."""
        given = tuple(self.ids[cell] for cell in context_cells(self.known, cells[0], self.settings.n_context))
        (new,) = self.llm.generate([denoise_query(given, self.settings.prompt)], self.generation(number, cells), after=examples)
        for cell, token_id in zip(cells, new.ids, strict=True):
            self.ids[cell], self.known[cell] = token_id, True
        return Told(tuple(cells), given, new.ids, new.loglikelihood)

    def generation(self, number: int, cells: list[int]) -> GenerationConfig:
        """Exactly one token of the palette for each cell."""
        settings, allowed = self.settings, self.palette(cells[0])
        return GenerationConfig(len(cells), settings.temperature, settings.top_k, seed=settings.seed + number, allowed=allowed, ends=False)

    def palette(self, cell: int) -> frozenset[int]:
        """The tokens that may stand at a cell: those of the nearest visible cells, or all when no limit is set or no cell is visible."""
        near = nearest_visible(self.visible, cell, self.settings.palette)
        return frozenset(self.ids[place] for place in near) or self.codebook
