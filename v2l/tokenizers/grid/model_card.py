"""sizes, codebooks and frozen models of a V2L tokenizer ──► its model card in Markdown."""

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
shows, and one local word for each {factor} × {factor} pixels of a {size} px square, from which it is decoded
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
    """The sizes in the card.

    Attributes:
        weights: number of stored weights, trained or not.
        factor: f, the side of one grid cell in pixels.
        local_words: number of entries of the local codebook.
        global_words: number of entries of the global codebook.
    """

    weights: int
    factor: int
    local_words: int
    global_words: int


def model_card(network: ModelConfig, source: Source, sizes: CardSizes, facts: Mapping[str, Any]) -> str:
    """Write the text of README.md in a saved directory, with the metadata that the hub reads.

    Args:
        network: sizes of the networks.
        source: the LLM and the joint encoder of the codebooks.
        sizes: numbers of weights and words.
        facts: how the weights were trained, one table row for each entry.
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
