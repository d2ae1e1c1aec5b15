"""the sample photographs of the repository ──► files by class; none where only the package is installed."""

from __future__ import annotations

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[3] / "data" / "samples"


def sample_photographs() -> dict[str, list[Path]]:
    """Class ──► its sample photographs, in the order of their names; empty when the folder is not there."""
    folders = sorted(folder for folder in SAMPLES.glob("*") if folder.is_dir())
    return {folder.name: sorted(folder.glob("*.jpg")) for folder in folders}
