"""an object-detection model of transformers ──► boxes with scores that ignore the classes.

Any model that `AutoModelForObjectDetection` loads can be used: DETR, Deformable DETR, RT-DETR, YOLOS. The
published proposals come from a Deformable DETR that was trained without classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForObjectDetection

from v2l.errors import V2LError
from v2l.tokenizers.regions.boxes import ScoredBoxes
from v2l.zoo import is_offline


class Detector:
    """Images ──► boxes of any objects.

    Args:
        name: a folder, or a model of the hub.
        device: where it runs.

    Raises:
        V2LError: it is not there, or is no object-detection model.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        local = is_offline() or Path(name).is_dir()
        try:
            processors: Any = AutoImageProcessor
            self.processor: Any = processors.from_pretrained(name, local_files_only=local)
            self.model: Any = AutoModelForObjectDetection.from_pretrained(name, local_files_only=local)
        except (
            Exception
        ) as error:  # transformers raises OSError, ValueError, KeyError and the hub's own kinds
            raise V2LError(
                f"the detector {name!r} cannot be loaded ({type(error).__name__}: {str(error)[:160]})",
                "a folder or a hub name of an object-detection model of transformers",
                "leave --detector out",
            ) from error
        self.device = device
        self.model.requires_grad_(False).eval().to(device)

    @torch.inference_mode()
    def propose(self, image: Tensor) -> ScoredBoxes:
        """The boxes of an image (3, H, W) in [0, 1], each with the score of its most probable class."""
        inputs = self.processor(images=image.cpu(), do_rescale=False, return_tensors="pt").to(self.device)
        outputs = self.model(**inputs)
        size = torch.tensor([[1.0, 1.0]])  # boxes in shares of the image's sides
        found = self.processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=size)[0]
        boxes, scores = found["boxes"].float().cpu().clamp(0, 1), found["scores"].float().cpu()
        fits = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        if not fits.any():
            return ScoredBoxes(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.zeros(1))
        return ScoredBoxes(boxes[fits], scores[fits])
