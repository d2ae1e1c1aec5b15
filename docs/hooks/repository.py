"""files of the repository outside docs/ ──► pages and pictures of the site, with links that lead to them.

Links are written as a code host reads them, relative to the file. What lies outside docs/ has the place
`project/` on the site; links to and from it are rewritten.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "benchmarks/RESULTS.md", "data/samples")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(?=[)\s#])")  # [text](target#anchor "title")


def on_files(files: Files, config: Any) -> Files:
    """Add the outside files."""
    for place in OUTSIDE:
        path = ROOT / place
        for file in sorted(path.rglob("*.jpg")) if path.is_dir() else [path]:
            name = file.relative_to(ROOT).as_posix()
            files.append(File.generated(config, site_path(name), abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links that leave docs/, and those of outside pages."""
    here = page.file.src_uri
    folder = dirname(repository_path(here))

    def rewrite(link: re.Match[str]) -> str:
        target = normpath(join(folder, link[1]))
        if here.startswith("project/") or not target.startswith("docs/"):
            return relpath(site_path(target), dirname(here) or ".")
        return link[1]

    return LINK.sub(rewrite, markdown)


def site_path(name: str) -> str:
    """A path in the repository ──► its path on the site."""
    return name.removeprefix("docs/") if name.startswith("docs/") else f"project/{name}"


def repository_path(name: str) -> str:
    """A path on the site ──► its path in the repository."""
    return name.removeprefix("project/") if name.startswith("project/") else f"docs/{name}"
