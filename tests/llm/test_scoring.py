"""Log-likelihoods equal a plain sum over a plain pass, in any batch."""

from __future__ import annotations

import pytest
import torch

from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.prompts.prompt import Prompt

REQUESTS = [
    ("a photo of a red", [" dress", " hat on a wooden table", ""]),
    ("a photo of a straw", [" hat"]),
    (
        Prompt(("Input: <", (7, 300, 12), " >\nOutput:")),
        [" dress with flowers", Prompt(((9, 9, 9, 10),)), " hat"],
    ),
]


def plain_loglikelihood(llm: FrozenLLM, prompt: Prompt | str, continuation: Prompt | str) -> float:
    """One pass over the whole text, without cache, batch or padding."""
    before, after = llm.encode(prompt), llm.encode_pieces(continuation)
    if not after:
        return 0.0
    with torch.inference_mode():
        logprobs = (
            llm.model(input_ids=torch.tensor([before + after]), use_cache=False)
            .logits[0]
            .float()
            .log_softmax(-1)
        )
    return sum(logprobs[len(before) - 1 + i, token].item() for i, token in enumerate(after))


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_scores_equal_a_plain_sum_in_any_batch(llm: FrozenLLM, batch_size: int) -> None:
    scores = llm.loglikelihood(REQUESTS, batch_size)
    for (prompt, continuations), found in zip(REQUESTS, scores, strict=True):
        assert [score.total for score in found] == pytest.approx(
            [plain_loglikelihood(llm, prompt, c) for c in continuations], abs=1e-4
        )


def test_one_score_per_token_and_their_sum(llm: FrozenLLM) -> None:
    (score,) = llm.loglikelihood([("a photo", [" of a straw hat"])])[0]
    assert len(score.per_token) == len(llm.encode_pieces(" of a straw hat"))
    assert score.total == pytest.approx(sum(score.per_token))
    assert score.mean == pytest.approx(score.total / len(score.per_token))
    assert all(value <= 0 for value in score.per_token)


def test_an_empty_continuation_is_certain(llm: FrozenLLM) -> None:
    (score,) = llm.loglikelihood([("a photo", [""])])[0]
    assert (score.total, score.per_token, score.mean) == (0.0, (), 0.0)


def test_probabilities_of_all_next_tokens_sum_to_one(llm: FrozenLLM) -> None:
    scores = llm.loglikelihood([("a photo", [Prompt(((token,),)) for token in range(llm.vocabulary_size)])])[
        0
    ]
    assert torch.tensor([score.total for score in scores]).exp().sum().item() == pytest.approx(1.0, abs=1e-4)


def test_prompts_may_continue_a_context(llm: FrozenLLM) -> None:
    whole = llm.loglikelihood([("a photo of a straw", [" hat", " dress"])])[0]
    after = llm.loglikelihood([(" straw", [" hat", " dress"])], after=llm.read("a photo of a"))[0]
    assert [score.total for score in after] == pytest.approx([score.total for score in whole], abs=1e-4)


def test_a_prompt_beyond_the_context_names_its_length(llm: FrozenLLM) -> None:
    with pytest.raises(V2LError, match=r"600 tokens and 2 to follow.*512 tokens.*fewer shots"):
        llm.loglikelihood([(Prompt(((5,) * 600,)), [Prompt(((1, 2),))])])


def test_no_requests_no_scores(llm: FrozenLLM) -> None:
    assert llm.loglikelihood([]) == []
