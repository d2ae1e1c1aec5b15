"""Prompts with embeddings give what the same ids give, in any batch, and gradients reach the embeddings."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from tiny_llm import byte_level_tokenizer, tiny_model
from torch import Tensor

from v2l.errors import V2LError
from v2l.llm import FrozenLLM, GenerationConfig
from v2l.llm.constraints import WeightedIds
from v2l.prompts.caption import caption_dialogue
from v2l.prompts.dialogue import Exchange
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt

IDS = (40, 300, 7, 12, 300)
CHOICES = [" dress", " hat on a wooden table", Prompt(((9, 9, 9, 10),))]
CONFIG = GenerationConfig(6, ends=False)


def vectors(llm: FrozenLLM, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, llm.embedding_width, generator=generator)


def by_ids_and_by_embeddings(llm: FrozenLLM, ids: tuple[int, ...] = IDS) -> tuple[Prompt, Prompt]:
    """The same prompt with token ids, and with the LLM's own embeddings of these ids."""
    texts = ("Input: <", " >\nOutput:")
    own = Embeddings(llm.input_embeddings(ids))
    return Prompt((texts[0], ids, texts[1])), Prompt((texts[0], own, texts[1]))


def images(llm: FrozenLLM, count: int = 4) -> list[Prompt]:
    """Prompts of different lengths, each with other vectors."""
    return [
        Prompt(("a photo of" * (n % 2 + 1), Embeddings(vectors(llm, n + 1, n)), " a" * (n + 1)))
        for n in range(count)
    ]


@pytest.mark.parametrize("kind", ["llm", "llama"])
def test_embedded_ids_score_and_generate_as_the_ids(kind: str, request: pytest.FixtureRequest) -> None:
    llm: FrozenLLM = request.getfixturevalue(kind)
    ids = tuple(token % llm.vocabulary_size for token in IDS)
    plain, embedded = by_ids_and_by_embeddings(llm, ids)
    choices = [Prompt((tuple(ids[:3]),)), " dress", ""]
    expected, found = (llm.loglikelihood([(prompt, choices)])[0] for prompt in (plain, embedded))
    assert [score.total for score in found] == pytest.approx([one.total for one in expected], abs=1e-4)
    assert llm.generate([embedded], CONFIG)[0].ids == llm.generate([plain], CONFIG)[0].ids
    assert llm.next_tokens([embedded], 5) == llm.next_tokens([plain], 5)
    assert llm.read(embedded).lengths.tolist() == llm.read(plain).lengths.tolist()


def test_text_and_embeddings_in_one_batch_leave_each_row_as_it_is_alone(llm: FrozenLLM) -> None:
    plain, embedded = by_ids_and_by_embeddings(llm)
    prompts = [plain, *images(llm), "blue", embedded, "a photo of a red dress with flowers"]
    requests = [(prompt, CHOICES) for prompt in prompts]
    alone = [llm.loglikelihood([request])[0] for request in requests]
    for batch_size in (1, 3, 8):
        for row, expected in zip(llm.loglikelihood(requests, batch_size), alone, strict=True):
            assert [score.total for score in row] == pytest.approx([s.total for s in expected], abs=1e-4)
    together = llm.generate(prompts, CONFIG)
    assert [new.ids for new in together] == [llm.generate([one], CONFIG)[0].ids for one in prompts]
    assert llm.next_tokens(prompts, 3, batch_size=2) == [llm.next_tokens([one], 3)[0] for one in prompts]


def test_scores_equal_a_plain_pass_over_the_embeddings(llm: FrozenLLM) -> None:
    for prompt in images(llm):
        before, image, after = prompt.pieces
        answer = llm.encode_pieces(" hat on a table")
        parts = [llm.input_embeddings(llm.encode(before)), image.values]
        parts.append(llm.input_embeddings([*llm.encode_pieces(after), *answer]))
        whole = torch.cat(parts)[None]
        logprobs = llm.model(inputs_embeds=whole, use_cache=False).logits[0].log_softmax(dim=-1)
        expected = logprobs[range(len(whole[0]) - len(answer) - 1, len(whole[0]) - 1), answer].sum()
        (score,) = llm.loglikelihood([(prompt, [" hat on a table"])])[0]
        assert score.total == pytest.approx(expected.item(), abs=1e-4)


class Passes:
    """Counts the positions that an LLM reads, and how they come."""

    def __init__(self, llm: FrozenLLM) -> None:
        self.columns: list[int] = []
        self.inputs: list[str] = []
        self.hook = llm.model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, model: object, args: tuple[object, ...], kwargs: dict[str, Tensor]) -> None:
        (name,) = {"input_ids", "inputs_embeds"} & kwargs.keys()
        self.inputs.append(name)
        self.columns.append(kwargs[name].shape[1])

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()


def test_text_alone_goes_in_as_ids(llm: FrozenLLM) -> None:
    with Passes(llm) as passes:
        llm.loglikelihood([("a photo", CHOICES), ("blue", CHOICES)])
        llm.generate(["a photo", Prompt(((5, 6),))], CONFIG)
        llm.next_tokens(["a photo"])
    assert set(passes.inputs) == {"input_ids"}


@pytest.mark.parametrize("copied", [False, True])
def test_prompts_with_equal_embeddings_share_them(llm: FrozenLLM, copied: bool) -> None:
    values = vectors(llm, 20)
    ends = [" a hat", " a red dress", " blue"]
    pieces = [Embeddings(values.clone() if copied else values) for _ in ends]
    prompts = [Prompt(("A photo:", piece, end)) for piece, end in zip(pieces, ends, strict=True)]
    with Passes(llm) as passes:
        llm.next_tokens(prompts)
    longest = max(len(llm.encode_pieces(end)) for end in ends)
    assert passes.columns[0] >= len(llm.encode("A photo:")) + 20
    assert max(passes.columns[1:]) <= longest


def test_other_embeddings_are_not_shared(llm: FrozenLLM) -> None:
    prompts = [Prompt((Embeddings(vectors(llm, 4, seed)), " a hat")) for seed in range(3)]
    assert len({score.total for (score,) in llm.loglikelihood([(one, [" on"]) for one in prompts])}) == 3


def test_a_cached_prefix_may_hold_embeddings_and_be_continued_by_some(llm: FrozenLLM) -> None:
    first, second = Embeddings(vectors(llm, 3)), Embeddings(vectors(llm, 5, 1))
    whole = Prompt(("a photo", first, " and", second, " of"))
    prefix, rest = llm.read(Prompt(("a photo", first))), Prompt((" and", second, " of"))
    expected = [score.total for score in llm.loglikelihood([(whole, CHOICES)])[0]]
    found = [score.total for score in llm.loglikelihood([(rest, CHOICES)], after=prefix)[0]]
    assert found == pytest.approx(expected, abs=1e-4)
    assert llm.generate([rest], CONFIG, after=prefix)[0].ids == llm.generate([whole], CONFIG)[0].ids
    all_read = llm.read_all([Prompt(("a photo", first)), Prompt((second,))])
    assert all_read.lengths.tolist() == [int(prefix.lengths), 5]
    torch.testing.assert_close(all_read.logits[:1], prefix.logits, atol=1e-4, rtol=0)


def test_mixed_generation_and_answers_take_embeddings(llm: FrozenLLM) -> None:
    plain, embedded = by_ids_and_by_embeddings(llm)
    groups = [["blue", prompt] for prompt in (plain, embedded)]
    first, second = llm.generate_mixed(groups, (0.5, 0.5), CONFIG, (None, None))
    assert first.ids == second.ids
    allowed = [WeightedIds(torch.tensor([40, 41, 42, 300]))] * 2
    answers = [llm.answer(prompt, [1, 2], allowed, GenerationConfig(1)) for prompt in (plain, embedded)]
    assert [new.ids for new in answers[0]] == [new.ids for new in answers[1]]
    assert [new.loglikelihood for new in answers[0]] == pytest.approx(
        [new.loglikelihood for new in answers[1]], abs=1e-4
    )
    assert llm.places(plain, [0, 1, 2]) == llm.places(embedded, [0, 1, 2])


def test_arrays_of_numpy_and_of_another_precision_are_converted(llm: FrozenLLM) -> None:
    values = vectors(llm, 3)
    as_given = [values, values.numpy(), values.double(), values.clone().requires_grad_()]
    found = [llm.loglikelihood([(Prompt((Embeddings(one), " a")), [" hat"])])[0][0] for one in as_given]
    assert len({score.total for score in found}) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(3, 31), "have the width 31; allowed: 32, which the LLM 'tiny' reads"),
        (torch.zeros(3, 32, dtype=torch.long), r"type torch\.int64; allowed: floating point"),
        (np.zeros((3, 32), dtype=bool), r"type torch\.bool; allowed: floating point"),
        (torch.full((3, 32), torch.nan), "NaN or infinite values"),
        (torch.full((3, 32), 1e300, dtype=torch.float64), r"infinite values in torch\.float32"),
    ],
)
def test_unfit_embeddings_are_one_line(llm: FrozenLLM, values: object, message: str) -> None:
    with pytest.raises(V2LError, match=message) as raised:
        llm.generate([Prompt(("a", Embeddings(values)))], CONFIG)
    assert "<3 image embeddings>" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_embeddings_have_no_ids_and_no_probability(llm: FrozenLLM) -> None:
    piece = Prompt((Embeddings(vectors(llm, 2)),))
    for call in (llm.encode, llm.encode_pieces):
        with pytest.raises(V2LError, match="takes no embeddings"):
            call(piece)
    with pytest.raises(V2LError, match="takes no embeddings"):
        llm.loglikelihood([("a", [piece])])


def test_each_vector_counts_as_a_token(llm: FrozenLLM) -> None:
    with pytest.raises(V2LError, match="600 tokens and 6 to follow"):
        llm.generate([Prompt((Embeddings(vectors(llm, 600)),))], CONFIG)


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


def test_scores_follow_the_values_as_they_are_now(llm: FrozenLLM) -> None:
    values = vectors(llm, 2)
    prompt = Prompt((Embeddings(values), " a"))
    first = llm.loglikelihood([(prompt, [" hat"])])[0][0].total
    values += 1
    assert llm.loglikelihood([(prompt, [" hat"])])[0][0].total != first


def test_the_calls_of_use_make_no_gradients(llm: FrozenLLM) -> None:
    prompt = Prompt((Embeddings(vectors(llm, 2).requires_grad_()), " a"))
    assert llm.read(prompt).logits.is_inference()
    assert not llm.input_embeddings([5]).requires_grad


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


def test_a_dialogue_with_embeddings_is_answered(llm: FrozenLLM) -> None:
    image = Embeddings(vectors(llm, 4))
    dialogue = caption_dialogue([Exchange(("hat",), answer="A hat.")], image)
    config = GenerationConfig(5, ends=False)
    (answer,) = llm.write_answers([dialogue], config)
    assert answer == llm.generate([dialogue.prompt], config)[0].text.strip()
