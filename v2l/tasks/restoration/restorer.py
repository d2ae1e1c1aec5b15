"""features of a corrupted grid ──► features of the clean grid, through a frozen LLM.

A linear layer writes each field of cells into the LLM's input embeddings; a linear layer reads the clean
features from its last hidden states. Only these layers are trained. Source: LM4LV, arXiv 2405.15734, section
3. Ours: the features are those of a grid tokenizer before the lookup; all cells are predicted in one pass,
each field being read twice, so that every prediction sees the whole grid; and a linear map from the fields
to the clean features, fitted in closed form, is added, so that the LLM predicts what the map cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, pad, unfold

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.llm.shuffle import shuffle_weights
from v2l.tokenizers.positions import sine_positions

KIND, SCHEMA, WEIGHTS = "restorer", 1, "restorer.safetensors"
TASKS = ("mask", "deblur", "unshift", "unrotate")
BODIES = ("llm", "shuffled", "transformer", "linear")
MARGIN = 1  # a field is read with so many cells around it
REFERENCE = (8, 8)  # the grid whose fields have the positions 0, 1, 2, …
HEADS, LAYERS = 4, 2  # of the control without an LLM
SHUFFLE_SEED = 0
RIDGE = 1e-3
Body = Callable[[Tensor], Tensor]
"""Vectors (B, L, width) ──► (B, L, width)."""


@dataclass(frozen=True)
class RestorerSettings:
    """What a restorer consists of.

    Attributes:
        body: what stands between the two linear layers. llm: the frozen LLM. Three controls: shuffled, the
            LLM with shuffled weights; transformer, a small one that is trained; linear, nothing at all.
        field: a field is so many cells high and wide; it is one vector of the body.
        dim: d, width of the tokenizer's features.
        width: of the body's vectors, a multiple of 4.
        scale: the vectors are multiplied by this: the size of the LLM's own input embeddings.
        codes: fingerprint of the tokenizer's codes.
        llm: name of the LLM.
        llm_weights: fingerprint of its weights.
    """

    body: str
    field: int
    dim: int
    width: int
    scale: float
    codes: str
    llm: str
    llm_weights: str

    def __post_init__(self) -> None:
        check_body(self.body, self.field)

    @property
    def inputs(self) -> int:
        """Features of a field: those of its cells and of the cells around, each with a flag for masked."""
        return (self.field + 2 * MARGIN) ** 2 * (self.dim + 1)

    @property
    def outputs(self) -> int:
        """Features of the cells of a field."""
        return self.field**2 * self.dim


def check_body(body: str, field: int) -> None:
    """Refuse a body that does not exist, and fields without a cell.

    Raises:
        V2LError: as said.
    """
    if body not in BODIES:
        raise V2LError(f"got the body {body!r}", ", ".join(BODIES), "--body llm")
    if field < 1:
        raise V2LError(f"got fields of {field} cells a side", "1 and more", "--field 2")


class Restorer(nn.Module):
    """The layers around a frozen LLM.

    Args:
        settings: sizes, and the models that the layers were trained with.
    """

    mean: Tensor
    std: Tensor
    spread: Tensor

    def __init__(self, settings: RestorerSettings) -> None:
        super().__init__()
        self.settings = settings
        dim, width, tasks = settings.dim, settings.width, len(TASKS)
        self.maps = nn.Parameter(torch.zeros(tasks, settings.inputs + 1, settings.outputs))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("spread", torch.ones(tasks, dim))
        self._llm: tuple[FrozenLLM, ...] = ()  # in a tuple: its weights are not the restorer's
        if settings.body == "linear":
            return
        self.first = nn.Linear(settings.inputs, width)
        self.tasks = nn.Embedding(tasks, width)
        self.roles = nn.Embedding(2, width)  # of a field that is read, and of one that is predicted
        self.last = nn.Linear(width, settings.outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.body = small_transformer(width) if settings.body == "transformer" else None

    def use_llm(self, llm: FrozenLLM) -> Self:
        """Put a frozen LLM between the layers; bodies without an LLM ignore it.

        Raises:
            V2LError: it is not the one that the layers were trained with.
        """
        settings = self.settings
        if llm.weights_fingerprint != settings.llm_weights:
            raise V2LError(
                f"the LLM {llm.name!r} has the weights {llm.weights_fingerprint}",
                f"{settings.llm!r} with the weights {settings.llm_weights}, which the restorer belongs to",
                "v2l train-restorer with this LLM",
            )
        if settings.body in ("llm", "shuffled"):
            self._llm = (llm if settings.body == "llm" else shuffle_weights(llm, SHUFFLE_SEED),)
        return self

    def forward(self, seen: Tensor, masked: Tensor, task: Tensor) -> Tensor:
        """Predict the features of the clean grid.

        Args:
            seen: (B, h, w, d) features of the corrupted photograph, moved back to their places.
            masked: (B, h, w) bool; features of masked cells are not used.
            task: (B,) int64 numbers of `TASKS`.

        Returns:
            (B, h, w, d), of all cells.
        """
        fields = self.fields(seen, masked)  # (B, rows, columns, inputs)
        cells = self.mapped(fields, task)
        if self.settings.body != "linear":
            cells = cells + self.last(self.through_body(fields, task))
        grid = (seen.shape[1], seen.shape[2])
        restored: Tensor = to_cells(cells, grid, self.settings.field) * self.std + self.mean
        return restored

    def restore(self, seen: Tensor, masked: Tensor, task: Tensor) -> Tensor:
        """As `forward`, with the predictions spread to the variance of clean features.

        A regression shrinks what it predicts to the mean, which looks smooth.
        """
        spread = self.spread[task][:, None, None]  # (B, 1, 1, d)
        restored: Tensor = self.mean + (self(seen, masked, task) - self.mean) * spread
        return restored

    def fields(self, seen: Tensor, masked: Tensor) -> Tensor:
        """(B, h, w, d) and (B, h, w) ──► standardised features of each field, (B, rows, columns, inputs)."""
        flags = masked.unsqueeze(-1).to(seen)
        values = (seen - self.mean) / self.std * (1 - flags)
        return to_fields(torch.cat([values, flags], dim=-1), self.settings.field, MARGIN)

    def mapped(self, fields: Tensor, task: Tensor) -> Tensor:
        """What the linear map of each task predicts: (B, rows, columns, outputs)."""
        ones = fields.new_ones(*fields.shape[:-1], 1)
        cells: Tensor = torch.einsum("bhwi,bio->bhwo", torch.cat([fields, ones], dim=-1), self.maps[task])
        return cells

    def through_body(self, fields: Tensor, task: Tensor) -> Tensor:
        """Fields ──► the body's last vector of each, (B, rows, columns, width).

        The body reads the task, all fields, and all fields again; what it says at the second reading counts.
        """
        rows, columns = fields.shape[1:3]
        places = sine_positions((rows, columns), self.settings.width, REFERENCE).to(fields)
        vectors = (self.first(fields) + places).flatten(1, 2)  # (B, n, width)
        read, predicted = vectors + self.roles.weight[0], vectors + self.roles.weight[1]
        whole = torch.cat([self.tasks(task)[:, None], read, predicted], dim=1)
        hidden = self._through(whole * self.settings.scale).to(fields)
        said: Tensor = hidden[:, -rows * columns :].unflatten(1, (rows, columns))
        return said

    def _through(self, vectors: Tensor) -> Tensor:
        if self.body is not None:
            found: Tensor = self.body(vectors)
            return found
        if not self._llm:
            raise V2LError("this restorer has no LLM yet", "use_llm(llm) before its first use")
        return self._llm[0].hidden_states(vectors)

    @property
    def trained(self) -> int:
        """Number of trained weights."""
        return sum(weight.numel() for weight in self.parameters())

    def save(self, folder: Path, facts: dict[str, object]) -> None:
        """Write the layers, not the LLM, into a directory.

        Raises:
            V2LError: the place cannot be written; an older restorer there stays as it was.
        """
        with write_directory(folder) as draft:
            save_tensors(draft / WEIGHTS, self.state_dict())
            manifest = {"kind": KIND, "schema": SCHEMA, "settings": asdict(self.settings), "facts": facts}
            write_manifest(draft, manifest)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; its LLM is given by `use_llm`.

        Raises:
            V2LError: the directory is missing, damaged or of another kind.
        """
        manifest = read_manifest(folder, KIND, SCHEMA)
        restorer = cls(RestorerSettings(**manifest["settings"]))
        restorer.load_state_dict(load_tensors(folder / WEIGHTS))
        return restorer.eval()


def small_transformer(width: int) -> nn.Module:
    """The control without an LLM: two layers that see all fields at once."""
    layer = nn.TransformerEncoderLayer(
        width, HEADS, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(width), enable_nested_tensor=False)


def width_of_control(settings: RestorerSettings) -> int:
    """The width at which the small transformer has about as many trained weights as the layers of an LLM."""
    around = settings.inputs + settings.outputs
    wanted = around * settings.width
    widths = range(2 * HEADS, settings.width + 1, 2 * HEADS)
    return min(widths, key=lambda width: abs(LAYERS * 12 * width**2 + around * width - wanted))


def to_fields(cells: Tensor, side: int, margin: int = 0) -> Tensor:
    """Cells (B, h, w, C) ──► each field with a margin of cells, (B, rows, columns, C · (side + 2 margin)²).

    A field is side × side cells. The last row and column are repeated where a field is not full, and the
    cells at the edges for the margin.
    """
    height, width = cells.shape[1:3]
    beyond = (margin, margin + -width % side, margin, margin + -height % side)  # left, right, top, bottom
    padded = pad(cells.movedim(-1, 1), beyond, mode="replicate")
    columns = unfold(padded, side + 2 * margin, stride=side)  # (B, C · …, rows · columns)
    fields: Tensor = columns.transpose(1, 2).unflatten(1, (-(-height // side), -(-width // side)))
    return fields


def to_cells(fields: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Fields without a margin (B, rows, columns, C · side²) ──► their cells (B, h, w, C)."""
    size = (fields.shape[1] * side, fields.shape[2] * side)
    cells = fold(fields.flatten(1, 2).transpose(1, 2), size, side, stride=side)  # (B, C, h, w)
    inside: Tensor = cells[:, :, : grid[0], : grid[1]].movedim(1, -1)
    return inside
