"""`python -m cdpkit.cli`."""

from cdpkit.cli import main

main()
