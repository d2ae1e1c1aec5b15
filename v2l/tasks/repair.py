"""damaged image + pairs of other images, clean and damaged alike ──► the restored image: blind, as a user has it.

Nobody knows the clean image. The frozen LLM sees windows of damaged tokens beside the clean ones of other images, and tells the clean
ones of this image. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, without its oracle examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2l.corruptions import Blur, Corruption, Rotation, Shift
from v2l.errors import V2LError
from v2l.images import centre_crop, resize
from v2l.prompts.denoise import Window
from v2l.tasks.asking import BLIND, Asker, Question, RestorationSettings, Told
from v2l.tasks.inpaint import filled, likeliest, whole_at_model_size
from v2l.tasks.stack import Stack
from v2l.tasks.whole_map import tell_map
from v2l.tasks.windows import View, hidden_windows
from v2l.tokens import ImageTokens

ASKED = 32  # windows that are asked in one call
KINDS = {Blur: "deblur", Shift: "unshift", Rotation: "unrotate"}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pair:
    """One example image as tokens.

    Attributes:
        clean: h · w ids.
        damaged: as many, of the same image damaged.
    """

    clean: tuple[int, ...]
    damaged: tuple[int, ...]


@dataclass(frozen=True)
class Repaired:
    """What comes out.

    Attributes:
        image: (3, H, W) in [0, 1], the decoder's picture; sides exchanged where the damage had exchanged them.
        tokens: the tokens that were decoded, B = 1.
        log: one entry per window.
        alike: (h, w) int64, the clean tokens of the most alike example stretches: the answer without an LLM.
    """

    image: Tensor
    tokens: ImageTokens
    log: tuple[Told, ...]
    alike: Tensor


def repair(
    stack: Stack,
    image: Tensor,
    corruption: Corruption,
    examples: Sequence[Tensor],
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
) -> Repaired:
    """Restore a damaged image.

    Args:
        stack: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1].
        corruption: what the image is thought to have gone through; it damages the examples in the same way, and the LLM is not told.
        examples: clean images (3, H, W) of any size.
        settings: how the LLM is asked; a palette allows the tokens of this image and of the clean examples, 0 the whole codebook.
        progress: told (windows done, windows in all).

    Raises:
        V2LError: there are no examples, or the prompt is longer than the LLM's context.
    """
    settings = settings or BLIND
    if not examples:
        raise V2LError("got no example images", "clean photographs to learn the damage from", "--examples FOLDER")
    damaged = whole_at_model_size(image, stack)
    tokens = stack.tokenizer.encode(damaged[None], crop=False)
    turned = corruption.damage(torch.zeros(1, *damaged.shape[-2:])).shape[-2:]  # of a clean image that would be damaged to this shape
    pairs = [token_pair(stack, example, corruption, (turned[0], turned[1])) for example in examples]
    grid = tuple(side // stack.tokenizer.factor for side in turned)
    seen = tuple(tokens.local_ids.flatten().tolist())
    mender = Mender(stack, seen, grid[1], pairs, settings)
    if stack.llm.adapter is None:
        log = mender.tell(progress)
    else:
        log = likeliest(tell_map(stack, KINDS[type(corruption)], tokens.strings(), seen, tuple(range(len(seen))), settings))
    told = tokens.with_local_ids(filled(tokens.local_ids.cpu(), log).view(1, *grid))
    size = corruption.damage(torch.zeros(1, *image.shape[-2:])).shape[-2:]
    picture = resize(stack.tokenizer.decode(told)[0].cpu(), (size[0], size[1]))
    return Repaired(picture, told, tuple(log), torch.tensor(mender.alike()).view(grid))


def token_pair(stack: Stack, example: Tensor, corruption: Corruption, size: tuple[int, int]) -> Pair:
    """A clean image (3, H, W), cut to `size` = (height, width) around its centre, and the same image damaged, as tokens."""
    scale = max(side / own for side, own in zip(size, example.shape[-2:], strict=True))
    height, width = (max(side, round(own * scale)) for side, own in zip(size, example.shape[-2:], strict=True))
    clean = centre_crop(resize(example, (height, width)), size)
    ids = (stack.tokenizer.encode_local(some[None].contiguous()).flatten().tolist() for some in (clean, corruption.damage(clean)))
    return Pair(*(tuple(of_image) for of_image in ids))


class Mender:
    """The LLM at work on one damaged token grid; its windows do not depend on each other.

    Args:
        stack: gives the LLM, the ids that it may use, and how alike two of them are.
        damaged: h · w ids in raster order.
        width: w of the clean grid.
        pairs: example images.
        settings: how the LLM is asked.
    """

    def __init__(self, stack: Stack, damaged: tuple[int, ...], width: int, pairs: Sequence[Pair], settings: RestorationSettings) -> None:
        self.damaged, self.pairs = damaged, pairs
        self.view = View(width, settings.n_before, settings.n_predict, settings.above)
        self.windows = hidden_windows([True] * len(damaged), settings.n_predict)
        self.asker = Asker(stack.llm, settings)
        self.likeness = Likeness(stack, damaged, [pair.damaged for pair in pairs])
        seen = {*damaged, *(token_id for pair in pairs for token_id in pair.clean)}
        self.allowed = frozenset(seen) if settings.palette else frozenset(stack.tokenizer.local_codebook.token_ids.tolist())

    def tell(self, progress: Progress | None = None) -> list[Told]:
        """Tell every window, many in one batch."""
        log: list[Told] = []
        for size in sorted({len(window) for window in self.windows}, reverse=True):
            equal = [window for window in self.windows if len(window) == size]
            for start in range(0, len(equal), ASKED):
                log += self.asker.ask([self.question(window) for window in equal[start : start + ASKED]], len(log))
                if progress:
                    progress(len(log), len(self.windows))
        return log

    def question(self, window: list[int]) -> Question:
        """One window: its own damaged tokens and those before them, after examples that were damaged most alike."""
        settings, everywhere = self.asker.settings, [True] * len(self.damaged)

        def shown(ids: Sequence[int], cells: Sequence[int]) -> tuple[int, ...]:
            return tuple(ids[cell] for cell in [*self.view.cells(everywhere, cells), *cells])

        places = self.likeness.nearest(window, settings.n_examples * settings.draws)
        examples = []
        for number, start in reversed(places):  # the most alike stands nearest to the question
            cells = range(start, start + len(window))
            pair = self.pairs[number]
            examples.append(Window(shown(pair.damaged, cells), tuple(pair.clean[cell] for cell in cells)))
        draws = [examples[draw :: settings.draws] for draw in range(settings.draws)]
        return Question(tuple(window), shown(self.damaged, window), self.allowed, settings.deal(draws))

    def alike(self) -> list[int]:
        """The clean tokens of the most alike stretch of any example, window by window: h · w ids."""
        ids = list(self.damaged)
        for window in self.windows:
            ((number, start),) = self.likeness.nearest(window, 1)
            for cell, token_id in zip(window, self.pairs[number].clean[start : start + len(window)], strict=True):
                ids[cell] = token_id
        return ids


class Likeness:
    """How alike stretches of damaged images are, by the codebook's entries of their tokens.

    Args:
        stack: gives the entries.
        damaged: h · w ids of the image to be restored.
        others: as many ids of each example image.
    """

    def __init__(self, stack: Stack, damaged: Sequence[int], others: Sequence[Sequence[int]]) -> None:
        tokenizer = stack.tokenizer
        row_of = tokenizer.local_codebook.row_of_token
        rows = torch.tensor([[[row_of[token_id] for token_id in ids]] for ids in (damaged, *others)], device=tokenizer.device)
        with torch.inference_mode():
            entries = tokenizer.quantizer.lookup(rows)[:, :, 0].movedim(1, -1).float().cpu()  # (1 + images, h · w, d)
        self.own, self.others = entries[0], entries[1:]

    def nearest(self, window: Sequence[int], count: int) -> list[tuple[int, int]]:
        """The most alike stretches of any example image at any place: (image, first cell), the most alike first.

        Args:
            window: neighbouring cells of the image to be restored.
            count: how many; fewer when there are fewer.
        """
        length = len(window)
        wanted = self.own[window[0] : window[0] + length]  # (m, d)
        stretches = self.others.unfold(1, length, 1).movedim(-1, 2)  # (images, starts, m, d)
        distances = (stretches - wanted).square().sum(dim=(2, 3)).flatten()
        nearest = distances.sort(stable=True).indices[:count].tolist()
        return [divmod(place, stretches.shape[1]) for place in nearest]
