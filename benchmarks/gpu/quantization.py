"""features and entries ──► milliseconds and memory of the nearest-entry search, and of the whole quantizer.

python benchmarks/gpu/quantization.py [--toy]
"""

from __future__ import annotations

import torch
from measure import device, forget_peak, options, peak, seconds

from v2l.tokenizers.quantizers.base import nearest
from v2l.tokenizers.quantizers.frozen_words import LocalQuantizer

SIZES = ((4_096, 32_000, 768), (65_536, 130_000, 768))
TOY = ((64, 500, 16), (256, 1_000, 16))
CELLS = 16  # side of the token grid


def main() -> None:
    given = options(__doc__)
    for count, size, width in TOY if given.toy else SIZES:
        torch.manual_seed(0)
        features = torch.randn(count, width, device=device())
        quantizer = LocalQuantizer(torch.randn(size, width), width).to(device())
        forget_peak()
        found = seconds(lambda f=features, q=quantizer: nearest(f, q.entries()))
        maps = (
            features[: count // CELLS**2 * CELLS**2].view(-1, CELLS, CELLS, width).movedim(-1, 1)
            if count >= CELLS**2
            else None
        )
        line = f"{count:,} x {size:,} x {width}: nearest {found * 1e3:.1f} ms"
        if maps is not None:
            maps = maps.contiguous().requires_grad_()
            both = seconds(lambda q=quantizer, m=maps: q(m).loss.backward())
            line += f", forward and backward {both * 1e3:.1f} ms"
        print(f"{line}, peak {peak()}")


if __name__ == "__main__":
    main()
