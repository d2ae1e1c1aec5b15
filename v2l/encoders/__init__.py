"""a name ──► a frozen joint encoder of images and texts."""

from __future__ import annotations

from v2l.device import choose_device
from v2l.encoders.base import JointEncoder
from v2l.errors import V2LError

__all__ = ["JointEncoder", "load_encoder"]


def load_encoder(name: str = "conse", device: str = "auto") -> JointEncoder:
    """Load a frozen joint encoder; each kind imports its own packages only when it is asked for.

    Args:
        name: `conse` (embedded, no download), `conse:mean` or `conse:with` (class names with definitions), or
            `openclip:…` as in `v2l.encoders.openclip.load_openclip`.
        device: as in `v2l.device.choose_device`.

    Raises:
        V2LError: the name is unknown or its weights are not to be had.

    Example:
        >>> encoder = load_encoder("conse")
        >>> encoder.encode_texts(["a photo of a cat"]).shape
        torch.Size([1, 384])
    """
    chosen = choose_device(device)
    kind, _, variant = name.partition(":")
    if kind == "conse":
        from v2l.encoders.conse import load_conse

        return load_conse(chosen, variant or "none")
    if name.startswith("openclip:"):
        from v2l.encoders.openclip import load_openclip

        return load_openclip(name, chosen)
    raise V2LError(
        f"got encoder {name!r}",
        "conse, conse:mean, conse:with, openclip:MODEL/TAG, openclip:MODEL@FILE",
        "v2l doctor",
    )
