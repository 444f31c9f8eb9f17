"""The entry point. ``--version`` answers before anything heavy is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; exit codes are listed in ``poise --help``."""
    if sys.argv[1:] in (["--version"], ["-V"], ["version"]):
        from poise import __version__

        sys.stdout.write(f"poise {__version__}\n")
        return
    from poise.cli.entry import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
