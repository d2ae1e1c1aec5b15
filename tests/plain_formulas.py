"""official names ──► what each formula gives, read plainly: no class, no chunk, no cache, nothing of the
product.

Every function takes the state dict `w` of a release and writes the formula out. Images are in [-1, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

HEADS = 8


def conv(w: dict, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride=stride, padding=padding)


def norm(w: dict, name: str, x: Tensor) -> Tensor:
    groups = x.reshape(len(x), 32, -1)
    mean, variance = groups.mean(dim=2, keepdim=True), groups.var(dim=2, unbiased=False, keepdim=True)
    unit = ((groups - mean) / torch.sqrt(variance + 1e-6)).reshape(x.shape)
    return unit * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]


def act(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def residual(w: dict, name: str, x: Tensor) -> Tensor:
    h = conv(w, f"{name}.conv1", act(norm(w, f"{name}.norm1", x)), padding=1)
    h = conv(w, f"{name}.conv2", act(norm(w, f"{name}.norm2", h)), padding=1)
    skip = conv(w, f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in w else x
    return skip + h


def attention(w: dict, name: str, x: Tensor) -> Tensor:
    batch, width, height, across = x.shape
    h = norm(w, f"{name}.norm", x)
    q, k, v = (conv(w, f"{name}.{part}", h).reshape(batch, width, -1) for part in "qkv")
    share = torch.softmax(torch.einsum("bci,bcj->bij", q, k) * width**-0.5, dim=2)
    return x + conv(
        w, f"{name}.proj_out", torch.einsum("bcj,bij->bci", v, share).reshape(batch, width, height, across)
    )


def cross_attention(w: dict, name: str, x: Tensor, context: Tensor) -> Tensor:
    """No norm and no residual: the answer replaces x."""
    batch, width, height, across = x.shape
    cells = x.reshape(batch, width, -1).transpose(1, 2)
    q, k, v = (
        cells @ w[f"{name}.to_q.weight"].T,
        context @ w[f"{name}.to_k.weight"].T,
        context @ w[f"{name}.to_v.weight"].T,
    )
    size = q.shape[-1] // HEADS
    answers = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        share = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size), dim=-1)
        answers.append(share @ v[..., part])
    answer = torch.cat(answers, dim=-1) @ w[f"{name}.to_out.0.weight"].T + w[f"{name}.to_out.0.bias"]
    return answer.transpose(1, 2).reshape(batch, width, height, across)


def encode(w: dict, x: Tensor) -> Tensor:
    h = conv(w, "encoder.conv_in", x, padding=1)
    for level in range(4):
        for block in range(2):
            h = residual(w, f"encoder.down.{level}.block.{block}", h)
        if level < 3:
            h = conv(w, f"encoder.down.{level}.downsample.conv", F.pad(h, (0, 1, 0, 1)), stride=2)
    h = residual(w, "encoder.mid.block_1", h)
    h = residual(w, "encoder.mid.block_2", attention(w, "encoder.mid.attn_1", h))
    return conv(w, "encoder.conv_out", act(norm(w, "encoder.norm_out", h)), padding=1)


def features(w: dict, x: Tensor) -> Tensor:
    """z: of unit length over its channels."""
    z = conv(w, "quant_conv", encode(w, x))
    return z / torch.sqrt((z * z).sum(dim=1, keepdim=True))


def entries(w: dict) -> Tensor:
    """P(E_l), not normalised."""
    return w["tok_embeddings.weight"] @ w["codebook_projection.weight"].T + w["codebook_projection.bias"]


def local_ids(w: dict, z: Tensor) -> Tensor:
    """The row with the least squared distance; the first one on a tie."""
    table = entries(w)
    distances = ((z.movedim(1, -1)[..., None, :] - table) ** 2).sum(dim=-1)
    return distances.argmin(dim=-1)


def global_ids(w: dict, g: Tensor, count: int) -> Tensor:
    """The rows nearest to the unit image vectors in L2, nearest first."""
    distances = ((g[:, None] - w["tok_embeddings_global.weight"]) ** 2).sum(dim=-1)
    return distances.sort(dim=1, stable=True).indices[:, :count]


def decode(w: dict, z_q: Tensor, context: Tensor) -> Tensor:
    h = conv(w, "decoder.conv_in", conv(w, "post_quant_conv", z_q), padding=1)
    h = attention(w, "decoder.mid.attn_1", residual(w, "decoder.mid.block_1", h))
    h = residual(w, "decoder.mid.block_2", cross_attention(w, "decoder.mid.cross_attn_1", h, context))
    for level in (3, 2, 1, 0):
        for block in range(3):
            h = residual(w, f"decoder.up.{level}.block.{block}", h)
        if level:
            h = conv(
                w,
                f"decoder.up.{level}.upsample.conv",
                h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3),
                padding=1,
            )
    return conv(w, "decoder.conv_out", act(norm(w, "decoder.norm_out", h)), padding=1)


def forward(w: dict, x: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Training's pass: image, z and z_q; the gradient goes straight through the lookup."""
    z = features(w, x)
    z_q = entries(w)[local_ids(w, z)].movedim(-1, 1)
    return decode(w, z + (z_q - z).detach(), w["tok_embeddings_global.weight"][words]), z, z_q


def verdicts(w: dict, x: Tensor, training: bool) -> Tensor:
    """The discriminator; batch norms by the batch while training, by the running figures otherwise."""
    h = F.leaky_relu(conv(w, "discriminator.main.0", x, stride=2, padding=1), 0.2)
    for place, stride in ((2, 2), (5, 1)):
        h = conv(w, f"discriminator.main.{place}", h, stride=stride, padding=1)
        name = f"discriminator.main.{place + 1}"
        mean = h.mean(dim=(0, 2, 3)) if training else w[f"{name}.running_mean"]
        variance = h.var(dim=(0, 2, 3), unbiased=False) if training else w[f"{name}.running_var"]
        unit = (h - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
        h = F.leaky_relu(unit * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None], 0.2)
    return conv(w, "discriminator.main.8", h, stride=1, padding=1)


def quantizer_loss(z: Tensor, z_q: Tensor) -> Tensor:
    return 1.0 * ((z_q.detach() - z) ** 2).mean() + 0.33 * ((z_q - z.detach()) ** 2).mean()


def lpips(trunk: list, shift: Tensor, scale: Tensor, heads: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """LPIPS v0.1 by the levels of a trunk: unit length over channels, squared difference, a non-negative weight
    a channel.
    """
    total = torch.zeros(len(x))
    for level, weight in enumerate(heads):
        x, y = (trunk[level](maps if level else (maps - shift) / scale) for maps in (x, y))
        unit_x, unit_y = (maps / (torch.sqrt((maps**2).sum(dim=1, keepdim=True)) + 1e-10) for maps in (x, y))
        total = total + ((unit_x - unit_y) ** 2 * weight.reshape(1, -1, 1, 1)).sum(dim=1).mean(dim=(1, 2))
    return total


def adversarial_weight(
    reconstruction: Tensor, adversarial: Tensor, last: Tensor, r_d: float = 0.75
) -> Tensor:
    """lam: by the gradients at the decoder's last convolution."""
    pull = torch.autograd.grad(reconstruction, last, retain_graph=True)[0]
    push = torch.autograd.grad(adversarial, last, retain_graph=True)[0]
    return r_d * torch.clamp(torch.sqrt((pull**2).sum()) / (torch.sqrt((push**2).sum()) + 1e-4), 0, 1e4)


def discriminator_loss(real: Tensor, decoded: Tensor) -> Tensor:
    return 0.5 * (torch.clamp(1 - real, min=0).mean() + torch.clamp(1 + decoded, min=0).mean())
