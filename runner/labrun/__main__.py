"""`python -m labrun` is `labrun`."""

from labrun.cli.app import main

main()
