"""Run the command line as `python -m instructsearch`."""

from instructsearch.cli import main

main()
