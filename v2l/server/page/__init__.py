"""a pipeline ──► the page in a browser: photographs in, words and pictures out."""

from v2l.server.page.page import build_page, mount_page

__all__ = ["build_page", "mount_page"]
