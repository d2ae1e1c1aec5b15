"""Generation equals a plain greedy loop, does not depend on the batch, and stays within what is allowed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from v2l.errors import V2LError
from v2l.llm import FrozenLLM, GenerationConfig, Trie, generation
from v2l.llm.generation import nucleus, without_repeats
from v2l.llm.kv_cache import CachedPrefix
from v2l.prompts.prompt import Prompt

PROMPTS = [
    "a photo of a",
    "a photo of a straw hat on",
    "blue",
    "a photo of a red dress with flowers and",
    "###\nInput: <",
]


def plain_greedy(llm: FrozenLLM, prompt: str, count: int) -> list[int]:
    """A full pass for every token."""
    ids = llm.encode(prompt)
    start = len(ids)
    for _ in range(count):
        with torch.inference_mode():
            ids.append(int(llm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[start:]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_greedy_equals_a_plain_loop_in_any_batch(llm: FrozenLLM, batch_size: int) -> None:
    found = llm.generate(PROMPTS, GenerationConfig(6, ends=False, batch_size=batch_size))
    assert [list(new.ids) for new in found] == [plain_greedy(llm, prompt, 6) for prompt in PROMPTS]


def test_an_id_that_would_repeat_a_run_is_never_chosen() -> None:
    logprobs = torch.zeros(10)
    assert without_repeats(logprobs, [5, 6, 7, 5, 6], 3).isinf().nonzero().tolist() == [[7]]
    assert without_repeats(logprobs, [5, 6, 7, 5, 6], 2).isinf().nonzero().tolist() == [[7]]
    assert without_repeats(logprobs, [5, 6, 5], 1).isinf().nonzero().tolist() == [[5], [6]]
    for ids in ([], [5, 6], [5, 6, 7]):
        assert without_repeats(logprobs, ids, 3).equal(logprobs)


def test_without_repeats_no_token_comes_twice(llm: FrozenLLM) -> None:
    free = llm.generate(PROMPTS, GenerationConfig(24, ends=False))
    assert any(len(set(new.ids)) < 24 for new in free)
    for new in llm.generate(PROMPTS, GenerationConfig(24, ends=False, no_repeat=1)):
        assert len(set(new.ids)) == 24


def test_the_loglikelihood_is_that_of_the_ids_written(llm: FrozenLLM) -> None:
    for prompt, new in zip(
        PROMPTS, llm.generate(PROMPTS, GenerationConfig(4, temperature=1.5, seed=3)), strict=True
    ):
        (score,) = llm.loglikelihood([(prompt, [Prompt((new.ids,))])])[0]
        assert new.loglikelihood == pytest.approx(score.total, abs=1e-3)


def test_sampling_repeats_with_its_seed_in_any_batch_and_changes_with_another(llm: FrozenLLM) -> None:
    def sample(**options: int) -> list[tuple[int, ...]]:
        return [
            new.ids
            for new in llm.generate(PROMPTS, GenerationConfig(8, temperature=2.0, ends=False, **options))
        ]

    assert sample(seed=1, batch_size=1) == sample(seed=1, batch_size=8)
    assert sample(seed=1) != sample(seed=2)


def test_top_k_of_one_is_greedy(llm: FrozenLLM) -> None:
    config = GenerationConfig(5, temperature=3.0, top_k=1, ends=False)
    assert [list(new.ids) for new in llm.generate(PROMPTS, config)] == [
        plain_greedy(llm, prompt, 5) for prompt in PROMPTS
    ]


def test_only_allowed_ids_are_written(llm: FrozenLLM) -> None:
    allowed = {40, 41, 300}
    for new in llm.generate(PROMPTS, GenerationConfig(10, temperature=5.0, allowed=allowed)):
        assert len(new.ids) == 10
        assert set(new.ids) <= allowed


def test_an_allowed_set_takes_the_likeliest_of_it(llm: FrozenLLM) -> None:
    with torch.inference_mode():
        logits = llm.model(input_ids=torch.tensor([llm.encode("blue")])).logits[0, -1]
    allowed = torch.tensor([3, 17, 99])
    (new,) = llm.generate(["blue"], GenerationConfig(1, allowed=allowed))
    assert new.ids == (int(allowed[logits[allowed].argmax()]),)


def test_a_trie_spells_one_of_its_labels_whole(llm: FrozenLLM) -> None:
    labels = [" hat", " hat on a table", " dress", " shoes"]
    trie = Trie([llm.encode_pieces(label) for label in labels], end=llm.tokenizer.eos_token_id)
    for temperature in (0.0, 20.0):
        for new in llm.generate(PROMPTS, GenerationConfig(32, temperature=temperature, allowed=trie)):
            assert new.text in labels


def test_a_stop_text_ends_a_generation_and_is_cut_off(llm: FrozenLLM) -> None:
    (free,) = llm.generate(["blue"], GenerationConfig(12, ends=False))
    stop = free.text[3:5]
    (stopped,) = llm.generate(["blue"], GenerationConfig(12, ends=False, stop=(stop,)))
    assert stopped.text == free.text[: free.text.index(stop)]
    assert len(stopped.ids) <= len(free.ids)


def test_the_end_of_text_ends_a_generation_unless_switched_off(llm: FrozenLLM) -> None:
    end = llm.tokenizer.eos_token_id
    (ended,) = llm.generate(["blue"], GenerationConfig(5, allowed={end}))
    assert (ended.ids, ended.text) == ((), "")
    (forced,) = llm.generate(["blue"], GenerationConfig(5, allowed={end}, ends=False))
    assert forced.ids == (end,) * 5


def test_keys_and_values_are_copied_only_when_a_row_leaves(
    llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected: list[int] = []
    select = CachedPrefix.select

    def noted(self: CachedPrefix, rows: Sequence[int]) -> CachedPrefix:
        selected.append(len(rows))
        return select(self, rows)

    monkeypatch.setattr(CachedPrefix, "select", noted)
    prefix = llm.read("a photo of")
    found = llm.generate(PROMPTS, GenerationConfig(6, ends=False), after=prefix)
    few = len(selected)
    llm.generate(PROMPTS, GenerationConfig(1, ends=False), after=prefix)
    assert few == len(selected) - few
    monkeypatch.setattr(
        generation,
        "going_on",
        lambda prefix, rows, size: prefix.select(generation.every_block(rows, size, len(prefix))),
    )
    assert llm.generate(PROMPTS, GenerationConfig(6, ends=False), after=prefix) == found


def test_rows_that_end_early_leave_the_others_as_they_were(llm: FrozenLLM) -> None:
    trie = Trie(
        [llm.encode_pieces(" hat"), llm.encode_pieces(" hat on a wooden table with flowers")],
        end=llm.tokenizer.eos_token_id,
    )
    config = GenerationConfig(16, temperature=10.0, allowed=trie)
    together = llm.generate(PROMPTS * 3, config)
    assert len({len(new.ids) for new in together}) > 1
    alone = llm.generate(PROMPTS * 3, GenerationConfig(16, temperature=10.0, allowed=trie, batch_size=1))
    assert [new.ids for new in together] == [new.ids for new in alone]


def test_prompts_may_continue_a_context_many_times(llm: FrozenLLM) -> None:
    context = llm.read("a photo of a")
    config = GenerationConfig(4, ends=False)
    ends = [" straw", " red dress", " hat"]
    whole = [new.ids for new in llm.generate(["a photo of a" + end for end in ends], config)]
    assert [new.ids for new in llm.generate(ends, config, after=context)] == whole
    assert [new.ids for end in ends for new in llm.generate([end], config, after=context)] == whole


def test_next_tokens_are_the_first_greedy_ones(llm: FrozenLLM) -> None:
    assert llm.next_tokens(PROMPTS) == [tuple(plain_greedy(llm, prompt, 1)) for prompt in PROMPTS]


def test_a_generation_beyond_the_context_is_refused(llm: FrozenLLM) -> None:
    with pytest.raises(V2LError, match="512 tokens together"):
        llm.generate(["blue"], GenerationConfig(600))


@pytest.mark.parametrize(
    "options",
    [{"max_new_tokens": 0}, {"max_new_tokens": 1, "temperature": -1}, {"max_new_tokens": 1, "top_k": -1}],
)
def test_settings_without_sense_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="max_new_tokens"):
        GenerationConfig(**options)


@pytest.mark.parametrize("top_p", [1e-300, 0.3, 0.5, 0.9, 0.999])
def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p(top_p: float) -> None:
    """Holtzman et al., arXiv 1904.09751, section 3.1, read plainly."""
    probabilities = torch.randn(50, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    kept, total = set(), 0.0
    for token in sorted(range(50), key=lambda token: -probabilities[token]):
        kept.add(token)
        total += float(probabilities[token])
        if total >= top_p:
            break
    found = nucleus(probabilities, top_p)
    assert set(found.nonzero().flatten().tolist()) == kept
    assert torch.equal(found[found > 0], probabilities[found > 0])


def test_each_token_is_reported_and_an_error_ends_the_generation(llm: FrozenLLM) -> None:
    seen: list[list[int]] = []
    config = GenerationConfig(5, ends=False, on_token=lambda ids: seen.append(list(ids)))
    [found] = llm.generate([PROMPTS[0]], config)
    assert seen == [list(found.ids[:length]) for length in range(1, 6)]

    def leave(ids: object) -> None:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        llm.generate([PROMPTS[0]], GenerationConfig(5, on_token=leave))


@pytest.mark.parametrize("bad", [{"top_p": 0.0}, {"top_p": 1.5}])
def test_a_nucleus_has_some_probability(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="top_p"):
        GenerationConfig(1, **bad)  # type: ignore[arg-type]
