"""fixed tensors on the CPU and on the GPU ──► equal indices, and the largest difference of floats.

python benchmarks/gpu/equality.py [--toy]
"""

from __future__ import annotations

import torch
from measure import device, options
from tiny_pipeline import tiny_pipeline

from v2l.tokenizers.quantizers.base import nearest


def main() -> None:
    given = options(__doc__)
    gpu, generator = device(), torch.Generator().manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    count, size = (64, 500) if given.toy else (4096, 32_000)
    features, entries = (torch.randn(rows, 64, generator=generator) for rows in (count, size))
    same = (nearest(features, entries) == nearest(features.to(gpu), entries.to(gpu)).cpu()).float().mean()
    print(f"nearest entries, {count} x {size}: {same:.4%} of the indices equal")
    images = torch.rand(4, 3, 96, 96, generator=generator)
    tokenizer = tiny_pipeline().grid
    tokens = tokenizer.encode(images)
    painted = tokenizer.decode(tokens)
    tokenizer.to(gpu)
    tokenizer.joint_encoder.to(gpu)
    again = tokenizer.encode(images.to(gpu))
    equal_ids = (tokens.local_ids == again.local_ids.cpu()).float().mean()
    equal_words = (tokens.global_ids == again.global_ids.cpu()).float().mean()
    apart = (tokenizer.decode(tokens).cpu() - painted).abs().max()
    print(
        f"tokens of 4 images: local {equal_ids:.2%}, global {equal_words:.2%} equal; decoded pixels at most {apart:.1e} apart"
    )


if __name__ == "__main__":
    main()
