"""`python -m tapeline`: the same as the `tapeline` command."""

import sys

from tapeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
