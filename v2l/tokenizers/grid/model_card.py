"""a tokenizer ──► its model card: Markdown with the hub's head, written beside the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from v2l.tokenizers.grid.model import V2LTokenizer

CARD = """---
library_name: v2l
pipeline_tag: image-to-text
tags: [image-tokenizer, vector-quantization, frozen-llm]
---

# V2L tokenizer over the words of {llm}

Images become words of a frozen LLM's own vocabulary: {global_tokens} global words that say what an image shows, and one local word for each
{factor} × {factor} pixels of a {size} px square, from which it is painted again. Method: arXiv 2403.07874.

```python
import v2l

model = v2l.V2LTokenizer.from_pretrained("NAME OR FOLDER")
tokens = model.encode(v2l.load_image("picture.jpg")[None])
picture = model.decode(tokens)
```

| | |
|---|---|
| network | {parameters:.2f} M weights, variant {variant}, lookup in {lookup} dimensions |
| local codebook | {local:,} words |
| global codebook | {globals:,} words |
| frozen LLM | {llm}, vocabulary {llm_fingerprint} |
| frozen joint encoder | {encoder}, fingerprint {encoder_fingerprint} |
{facts}
The tokens hold words of this LLM only: another one is refused. `manifest.json` has every setting and the sha256 of every file.
"""


def model_card(model: V2LTokenizer) -> str:
    """What the directory of a tokenizer tells its readers: sizes, codebooks, the frozen models, and the facts of its making."""
    network, source = model.config.model, model.local_codebook.source
    return CARD.format(
        **vars(source),
        global_tokens=network.global_tokens,
        factor=model.factor,
        size=network.image_size,
        parameters=sum(tensor.numel() for tensor in model.state_dict().values()) / 1e6,
        variant=network.variant,
        lookup=network.lookup_dim,
        local=len(model.local_codebook),
        globals=len(model.global_codebook),
        facts="".join(
            f"| {name} | {', '.join(value) if isinstance(value, dict) else value} |\n"
            for name, value in model.facts.items()
        ),
    )
