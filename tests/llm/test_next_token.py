"""What follows a prompt is what its own full pass says, in any batch, likeliest first."""

from __future__ import annotations

import pytest
import torch

from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.llm.next_token import top_ids

PROMPTS = [
    "a photo of a",
    "a photo of a straw hat on",
    "a photo of blue",
    "a photo of a red dress with flowers and",
]


def own_ranking(llm: FrozenLLM, prompt: str, count: int) -> tuple[int, ...]:
    """The largest logits of one full pass."""
    with torch.inference_mode():
        logits = llm.model(input_ids=torch.tensor([llm.encode(prompt)])).logits[0, -1]
    return tuple(logits.sort(descending=True, stable=True).indices[:count].tolist())


@pytest.mark.parametrize("kind", ["llm", "llama"])
@pytest.mark.parametrize(("count", "batch_size"), [(1, 1), (1, 3), (4, 2), (4, 100)])
def test_they_are_those_of_one_pass_a_prompt(
    kind: str, count: int, batch_size: int, request: pytest.FixtureRequest
) -> None:
    llm: FrozenLLM = request.getfixturevalue(kind)
    assert llm.next_tokens(PROMPTS, count, batch_size) == [
        own_ranking(llm, prompt, count) for prompt in PROMPTS
    ]


def test_of_equal_logits_the_lowest_id_comes_first() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert top_ids(logits, 3) == [(1, 2, 3), (0, 1, 2)]
    assert logits.max() == 3  # as it was


def test_no_prompts_have_nothing_to_follow(llm: FrozenLLM) -> None:
    assert llm.next_tokens([]) == []


def test_a_prompt_longer_than_the_context_is_refused(llm: FrozenLLM) -> None:
    with pytest.raises(V2LError, match="more than the LLM 'tiny' reads at once"):
        llm.next_tokens([" hat" * 600])
