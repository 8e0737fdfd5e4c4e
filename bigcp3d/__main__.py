"""``python -m bigcp3d``: the command line."""

from bigcp3d.face.cli import main

main()
