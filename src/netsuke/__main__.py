"""``python -m netsuke`` is the command line."""

from netsuke.cli import main

main()
