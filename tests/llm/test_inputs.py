"""Embeddings give what the same ids give, in any batch; batches hold every row once, shortest first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_embeddings import images, vectors
from torch import Tensor

from v2l.errors import V2LError
from v2l.llm import FrozenLLM, GenerationConfig
from v2l.llm.constraints import WeightedIds
from v2l.llm.inputs import batches
from v2l.prompts.caption import caption_dialogue
from v2l.prompts.dialogue import Exchange
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt

IDS = (40, 300, 7, 12, 300)
CHOICES = [" dress", " hat on a wooden table", Prompt(((9, 9, 9, 10),))]
CONFIG = GenerationConfig(6, ends=False)


def by_ids_and_by_embeddings(llm: FrozenLLM, ids: tuple[int, ...] = IDS) -> tuple[Prompt, Prompt]:
    """The same prompt with token ids, and with the LLM's own embeddings of these ids."""
    texts = ("Input: <", " >\nOutput:")
    own = Embeddings(llm.input_embeddings(ids))
    return Prompt((texts[0], ids, texts[1])), Prompt((texts[0], own, texts[1]))


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


def test_a_dialogue_with_embeddings_is_answered(llm: FrozenLLM) -> None:
    image = Embeddings(vectors(llm, 4))
    dialogue = caption_dialogue([Exchange(("hat",), answer="A hat.")], image)
    config = GenerationConfig(5, ends=False)
    (answer,) = llm.write_answers([dialogue], config)
    assert answer == llm.generate([dialogue.prompt], config)[0].text.strip()


@given(st.lists(st.integers(1, 9)), st.integers(1, 4))
def test_every_row_is_in_one_batch_and_lengths_rise(lengths: list[int], size: int) -> None:
    found = list(batches(lengths, size))
    rows = [row for batch in found for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)
    assert all(1 <= len(batch) <= size for batch in found)


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="batch size 0"):
        list(batches([1], 0))
