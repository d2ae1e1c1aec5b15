"""windows ──► their tokens, one window at a time, with whole prompts, as in the official loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from v2l.evaluation.restoration.noisy_copies import noisy_copies
from v2l.evaluation.restoration.oracle import CorruptedTokens
from v2l.llm import FrozenLLM
from v2l.prompts.denoise import denoise_prompt
from v2l.tasks.restoration.settings import RestorationSettings

Ids = tuple[int, ...]


@torch.inference_mode()
def restore_plainly(
    llm: FrozenLLM,
    codes: torch.Tensor,
    damage: CorruptedTokens,
    settings: RestorationSettings,
    windows: Sequence[list[int]],
) -> list[Ids]:
    """The predicted tokens of some windows, in order, by greedy decoding among `codes`.

    Examples are drawn once. No contrast is applied.
    """
    supports = noisy_copies(
        damage.clean, damage.corrupted, codes, torch.Generator().manual_seed(settings.seed)
    )
    ids, cells = damage.corrupted.flatten().tolist(), damage.clean.numel()
    allowed = torch.zeros(llm.model.get_input_embeddings().num_embeddings, dtype=torch.bool)
    allowed[codes] = True
    answers = []
    for window in windows:
        count = settings.n_context if damage.sequential else settings.n_before
        shown = [(window[0] - step) % cells for step in range(count, 0, -1)] + (
            [] if damage.sequential else window
        )
        examples = [
            (
                tuple((copy.clean if damage.sequential else copy.corrupted)[cell] for cell in shown),
                tuple(copy.clean[cell] for cell in window),
            )
            for copy in supports
        ]
        prompt = denoise_prompt(
            examples, tuple(ids[cell] for cell in shown), settings.n_predict, settings.prompt
        )
        predicted, cache, new = [], None, llm.encode(prompt)
        for _ in window:
            out = llm.model(
                input_ids=torch.tensor([new]), past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            cache, logits = out.past_key_values, out.logits[0, -1].float()
            predicted.append(int(logits.masked_fill(~allowed, -torch.inf).argmax()))
            new = predicted[-1:]
        if damage.sequential:
            for cell, token_id in zip(window, predicted, strict=True):
                ids[cell] = token_id
        answers.append(tuple(predicted))
    return answers
