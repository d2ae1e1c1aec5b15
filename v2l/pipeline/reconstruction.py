"""photograph ──► tokens ──► photograph: by any tokenizer that has a decoder, at the photograph's own size."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from v2l.images import resize
from v2l.tokenizers.contract import ImageTokenizer, require_decoder
from v2l.tokens import VisualTokens


@dataclass(frozen=True)
class Reconstructed:
    """A photograph that went through its tokens.

    Attributes:
        original: (3, H, W) float32 in [0, 1], the photograph, or its square.
        image: (3, H, W) float32 in [0, 1], what the tokens decode to, at the size of `original`.
        tokens: of this image alone, B = 1.
        decoded_size: (height, width) of what the decoder gave, before it was resized to the original's size.
    """

    original: Tensor
    image: Tensor
    tokens: VisualTokens
    decoded_size: tuple[int, int]

    @property
    def was_shrunk(self) -> bool:
        """Whether the tokenizer read the photograph with fewer pixels than it has."""
        height, width = self.decoded_size
        return height * width < self.original.shape[-2] * self.original.shape[-1]


def reconstruct_image(tokenizer: ImageTokenizer, image: Tensor, square: bool = False) -> Reconstructed:
    """Encode a photograph and decode its tokens.

    Args:
        tokenizer: one with a decoder.
        image: (3, H, W) float32 in [0, 1].
        square: encode the centre square at the tokenizer's own size, as the paper does, and leave it at that
            size; otherwise the whole photograph, resized to `tokenizer.whole_size` and back.

    Raises:
        V2LError: the tokenizer has no decoder.
    """
    require_decoder(tokenizer, "reconstruction")
    tokens = tokenizer.encode(image[None]) if square else tokenizer.encode_whole(image)
    decoded = tokenizer.decode(tokens)[0].cpu()
    size = (decoded.shape[-2], decoded.shape[-1])
    if square:
        return Reconstructed(tokenizer.square(image[None], size[0])[0].cpu(), decoded, tokens, size)
    own_size = (image.shape[-2], image.shape[-1])
    whole = decoded if size == own_size else resize(decoded, own_size)
    return Reconstructed(image, whole, tokens, size)
