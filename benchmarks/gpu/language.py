"""few-shot and restoration prompts ──► prompts a second of a LLaMA-2-7B-size model with random weights.

    python benchmarks/gpu/language.py [--toy]

bfloat16. The tokenizer is SmolLM2's, so the vocabulary is larger than LLaMA's. The prompts of both rows have
equal lengths: in one they share their beginning, which is read once; in the other the first token differs, so
nothing is shared.
"""

from __future__ import annotations

import torch
from measure import device, forget_peak, options, peak, seconds
from transformers import LlamaConfig, LlamaForCausalLM

from v2l.llm import FrozenLLM, load_llm
from v2l.prompts.denoise import Window, denoise_examples, denoise_query
from v2l.prompts.prompt import Prompt

LABELS = [" hat", " dress", " shoes", " pants", " shirt"]


def random_llama(toy: bool) -> FrozenLLM:
    """Sizes of LLaMA-2 7B."""
    tokenizer = load_llm("smollm2", device="cpu").tokenizer
    sizes = (
        {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        if toy
        else {
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
        }
    )
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=4096, **sizes)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32 if toy else torch.bfloat16)
    with device():
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return FrozenLLM(model, tokenizer, "random LLaMA")


def few_shot(count: int, shared: bool) -> list[tuple[str, list[str]]]:
    """5-way 5-shot prompts of words, with five labels each."""
    shots = "".join(
        f"Input: words that name image {n}, summer, straw, blue\nOutput: hat\n###\n" for n in range(25)
    )
    heads = ["" if shared else f"{chr(65 + n % 26)}{n} " for n in range(count)]
    return [(f"{head}{shots}Input: query {n % 10}\nOutput:", LABELS) for n, head in enumerate(heads)]


def windows(count: int, shared: bool) -> list[Prompt]:
    """Restoration prompts: ten examples of windows with 16 ids, and a query."""
    prompts = []
    for n in range(count):
        first = 1000 if shared else 1000 + n
        examples = [Window(tuple(range(first + e, first + e + 16)), (2000 + e, 2001 + e)) for e in range(10)]
        prompts.append(denoise_examples(examples, 2) + denoise_query(tuple(range(3000 + n, 3016 + n))))
    return prompts


def main() -> None:
    given = options(__doc__)
    llm = random_llama(given.toy)
    weights = sum(parameter.numel() for parameter in llm.model.parameters())
    print(f"{weights / 1e9:.2f} B weights, {next(llm.model.parameters()).dtype}, {device()}")
    count, repeats = (4, 1) if given.toy else (64, 2)
    for shared in (True, False):
        forget_peak()
        beginning = "shared" if shared else "nothing shared"
        requests = few_shot(count, shared)
        passed = seconds(lambda r=requests: llm.loglikelihood(r, batch_size=16), repeats)
        print(f"few-shot, {beginning}: {count / passed:.1f} prompts/s, peak {peak()}")
        prompts = windows(count, shared)
        passed = seconds(lambda p=prompts: llm.next_tokens(p, batch_size=32), repeats)
        print(f"restoration, {beginning}: {count / passed:.1f} windows/s, peak {peak()}")


if __name__ == "__main__":
    main()
