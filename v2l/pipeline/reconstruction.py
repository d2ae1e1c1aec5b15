"""photograph ──► tokens ──► photograph: by any tokenizer that has a decoder, at the photograph's own size."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from v2l.errors import V2LError
from v2l.token_file import TokenFile
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.needs import require_decoder
from v2l.tokens import VisualTokens


@dataclass(frozen=True)
class Reconstructed:
    """A photograph that went through its tokens.

    Attributes:
        original: (3, H, W) float32 in [0, 1], the photograph, or its square.
        image: (3, H, W) float32 in [0, 1], what the tokens decode to, at the size of `original`.
        tokens: of this image alone, B = 1.
        scale: the scale at which they were encoded: "own", "model" or "square".
        bits: what they cost at log2 of the reachable codes each; None without a fixed codebook.
    """

    original: Tensor
    image: Tensor
    tokens: VisualTokens
    scale: str
    bits: float | None


def reconstruct_image(
    tokenizer: ImageTokenizer, image: Tensor, scale: str | None = None, square: bool = False
) -> Reconstructed:
    """Encode a photograph and decode its tokens.

    Args:
        tokenizer: one with a decoder.
        image: (3, H, W) float32 in [0, 1].
        scale: one of the tokenizer's `SCALES`; None is the first.
        square: encode the centre square at the tokenizer's own size, as the paper does, and leave it at that
            size; otherwise the whole photograph.

    Raises:
        V2LError: the tokenizer has no decoder, or not this scale.
    """
    require_decoder(tokenizer, "reconstruction")
    if square:
        tokens = tokenizer.encode(image[None])
        decoded = tokenizer.decode(tokens)[0].cpu()
        image, scale = tokenizer.square(image[None], decoded.shape[-1])[0].cpu(), "square"
    else:
        scale = tokenizer.scale_named(scale)
        tokens = tokenizer.encode_whole(image, scale)
        decoded = tokenizer.decode_whole(tokens, (image.shape[-2], image.shape[-1]), scale)
    return Reconstructed(image, decoded, tokens, scale, code_bits(tokenizer, tokens))


def code_bits(tokenizer: ImageTokenizer, tokens: VisualTokens) -> float | None:
    """What the tokens of one image cost in bits; None without a fixed codebook."""
    if tokenizer.codebook_size is None:
        return None
    return sum(stream.bits for stream in tokenizer.code_streams(tokens))


def encode_photograph(tokenizer: ImageTokenizer, image: Tensor, scale: str | None = None) -> TokenFile:
    """A photograph ──► its tokens as a file holds them.

    Args:
        tokenizer: one with a decoder.
        image: (3, H, W) float32 in [0, 1].
        scale: one of the tokenizer's `SCALES`; None is the first.

    Raises:
        V2LError: the tokenizer has no decoder, or not this scale.
    """
    require_decoder(tokenizer, "v2l encode")
    scale = tokenizer.scale_named(scale)
    streams = tokenizer.code_streams(tokenizer.encode_whole(image, scale))
    size = (image.shape[-2], image.shape[-1])
    return TokenFile(tokenizer.NAME, tokenizer.fingerprint, size, scale, streams)


def decode_photograph(tokenizer: ImageTokenizer, file: TokenFile) -> Tensor:
    """The tokens of a file ──► the photograph (3, H, W) in [0, 1], at its own size.

    Raises:
        V2LError: the file was written by another tokenizer or another checkpoint, or its codes do not fit.
    """
    require_decoder(tokenizer, "v2l decode")
    if (file.tokenizer, file.fingerprint) != (tokenizer.NAME, tokenizer.fingerprint):
        raise V2LError(
            f"the tokens were written by the tokenizer {file.tokenizer!r} with the checkpoint "
            f"{file.fingerprint}, and this is {tokenizer.NAME!r} with {tokenizer.fingerprint}",
            "the same checkpoint for encoding and decoding",
            "--tokenizer FOLDER",
        )
    return tokenizer.decode_whole(tokenizer.tokens_of_streams(file.streams), file.size, file.scale)
