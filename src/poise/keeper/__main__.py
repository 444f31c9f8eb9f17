"""Entry: `python -I -S .../poise/keeper/__main__.py --data DIR [--detach]`, or `python -m poise.keeper`."""

import sys

if __package__:
    from .serve import main
else:
    # Run as a file or folder: only the folder that holds this package joins the path, and last,
    # so that the standard library always wins and poise/__init__ is never loaded.
    _package = __file__.rpartition("/")[0] or "."
    sys.path.append(_package + "/..")
    sys.path[:] = [p for p in sys.path if p != _package]
    main = __import__("keeper.serve", fromlist=["main"]).main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
