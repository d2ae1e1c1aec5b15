"""`v2l` and `python -m v2l` ──► the command line; Ctrl-C is answered from the first import on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from v2l.cli.app import app

        app(prog_name="v2l")
    except KeyboardInterrupt:
        sys.stderr.write("v2l: stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
