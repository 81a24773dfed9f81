"""`python -m ui.cli` is `actionwatch`."""

from ui.cli.main import main

main()
