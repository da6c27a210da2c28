"""``python -m hwnas.cli`` is ``hwnas``."""

from hwnas.cli import main

main()
