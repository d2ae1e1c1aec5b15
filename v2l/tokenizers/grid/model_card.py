"""sizes, codebooks and frozen models of a V2L tokenizer ──► its model card: Markdown with the hub's head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from v2l.codebook.codebook import Source
from v2l.config import ModelConfig

CARD = """---
library_name: v2l
pipeline_tag: image-to-text
tags: [image-tokenizer, vector-quantization, frozen-llm]
---

# V2L tokenizer over the words of {llm}

Images become words of a frozen LLM's own vocabulary: {global_tokens} global words that say what an image
shows, and one local word for each {factor} × {factor} pixels of a {size} px square, from which it is painted
again. Method: arXiv 2403.07874.

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
The tokens hold words of this LLM only: another one is refused. `manifest.json` has every setting and the
sha256 of every file.
"""


@dataclass(frozen=True)
class CardSizes:
    """Sizes that the card states.

    Attributes:
        weights: how many numbers are trained or stored.
        factor: pixels a side of one cell.
        local_words: entries of the local codebook.
        global_words: entries of the global codebook.
    """

    weights: int
    factor: int
    local_words: int
    global_words: int


def model_card(network: ModelConfig, source: Source, sizes: CardSizes, facts: Mapping[str, Any]) -> str:
    """The text of README.md in a saved directory: sizes, codebooks, the frozen models, and how the weights
    were made.
    """
    return CARD.format(
        **vars(source),
        global_tokens=network.global_tokens,
        factor=sizes.factor,
        size=network.image_size,
        parameters=sizes.weights / 1e6,
        variant=network.variant,
        lookup=network.lookup_dim,
        local=sizes.local_words,
        globals=sizes.global_words,
        facts="".join(
            f"| {name} | {', '.join(value) if isinstance(value, dict) else value} |\n"
            for name, value in facts.items()
        ),
    )
