"""Gradients pass through the frozen LLM to the embeddings of a prompt, and its weights stay bit-equal."""

from __future__ import annotations

import hashlib

import pytest
import torch
from tiny_embeddings import images, vectors
from tiny_llm import byte_level_tokenizer, tiny_model
from torch import Tensor

from v2l.llm import FrozenLLM
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt


def test_the_gradient_is_that_of_the_plain_model(llm: FrozenLLM) -> None:
    answers = [" hat", " red dress with flowers", " a", " shoes"]
    prompts = images(llm)
    leaves = [prompt.embeddings[0].values.requires_grad_() for prompt in prompts]
    found = llm.differentiable_loglikelihood(prompts, answers)
    gradients = torch.autograd.grad(found.sum(), leaves)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        before, image, after = prompt.pieces
        ids = llm.encode_pieces(answer)
        behind = llm.input_embeddings([*llm.encode_pieces(after), *ids])
        whole = torch.cat([llm.input_embeddings(llm.encode(before)), image.values, behind])
        logprobs = llm.model(inputs_embeds=whole[None], use_cache=False).logits[0].log_softmax(dim=-1)
        total = logprobs[range(len(whole) - len(ids) - 1, len(whole) - 1), ids].sum()
        (expected,) = torch.autograd.grad(total, [image.values])
        assert found[row].item() == pytest.approx(total.item(), abs=1e-4)
        torch.testing.assert_close(gradients[row], expected, atol=1e-4, rtol=1e-3)


def test_the_gradient_is_a_finite_difference(llm: FrozenLLM) -> None:
    values = vectors(llm, 2).requires_grad_()
    direction = vectors(llm, 2, seed=9)

    def total(shift: float) -> Tensor:
        prompt = Prompt(("a photo", Embeddings(values + shift * direction), " of a"))
        return llm.differentiable_loglikelihood([prompt], [" hat"])[0]

    total(0.0).backward()
    with torch.no_grad():
        slope = (total(1e-2) - total(-1e-2)).item() / 2e-2
    assert (values.grad * direction).sum().item() == pytest.approx(slope, rel=2e-2, abs=1e-2)


def test_equal_pieces_of_two_leaves_each_get_their_gradient(llm: FrozenLLM) -> None:
    leaves = [vectors(llm, 2).requires_grad_() for _ in range(2)]
    prompts = [Prompt((Embeddings(leaf), " a")) for leaf in leaves]
    llm.loss(prompts, [" hat", " dress"]).backward()
    assert all(leaf.grad.abs().sum() > 0 for leaf in leaves)
    assert not torch.equal(leaves[0].grad, leaves[1].grad)


def test_the_differentiable_score_is_the_score(llm: FrozenLLM) -> None:
    prompts = [*images(llm), "a photo of a"]
    answers = [" hat", " dress with flowers", " a", " shoes or pants", " straw hat"]
    scores = [
        score for (score,) in llm.loglikelihood([(p, [a]) for p, a in zip(prompts, answers, strict=True)])
    ]
    found = llm.differentiable_loglikelihood(prompts, answers)
    assert found.tolist() == pytest.approx([score.total for score in scores], abs=1e-4)
    tokens = sum(len(score.per_token) for score in scores)
    mean = -sum(score.total for score in scores) / tokens
    assert llm.loss(prompts, answers).item() == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(("texts", "passes"), [(["a photo of"] * 3, 2), (["a photo", "a hat", " of a"], 1)])
def test_a_text_that_rows_share_is_read_once(
    llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch, texts: list[str], passes: int
) -> None:
    prompts = [Prompt((text, Embeddings(vectors(llm, 2, n)), " a")) for n, text in enumerate(texts)]
    plain, shapes = type(llm.model).forward, []

    def counted(self: object, *args: object, **options: object) -> object:
        found = plain(self, *args, **options)
        shapes.append(found.logits.shape[0])
        return found

    monkeypatch.setattr(type(llm.model), "forward", counted)
    llm.loss(prompts, [" hat", " red dress", " a"])
    assert shapes == [1, 3][-passes:]


def weights_hash(llm: FrozenLLM) -> str:
    digest = hashlib.sha256()
    for weight in llm.model.state_dict().values():
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def test_training_embeddings_lowers_the_loss_and_leaves_the_weights_bit_equal(llm: FrozenLLM) -> None:
    before = weights_hash(llm)
    values = torch.nn.Parameter(vectors(llm, 4) * 0.1)
    optimizer = torch.optim.Adam([values], lr=0.05)
    prompt = Prompt(("A photo:", Embeddings(values), " It shows"))
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = llm.loss([prompt, prompt], [" a red dress", " a hat"])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * 0.8
    assert weights_hash(llm) == before
    assert not any(weight.requires_grad or weight.grad is not None for weight in llm.model.parameters())


def test_an_empty_continuation_has_no_gradient(llm: FrozenLLM) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        llm.loss(["a"], [""])
    with pytest.raises(ValueError, match="at least one token"):
        llm.loss([], [])


def test_half_precision_reads_embeddings_of_float32(llm: FrozenLLM) -> None:
    tokenizer = byte_level_tokenizer()
    half = FrozenLLM(tiny_model(len(tokenizer), 0).bfloat16(), tokenizer, "half")
    values = vectors(llm, 3).requires_grad_()
    half.loss([Prompt((Embeddings(values), " a"))], [" hat"]).backward()
    assert values.grad.dtype == torch.float32
    assert values.grad.abs().sum() > 0
