"""Makes `python3 -m local` the one way to call this package."""

import sys

from local.cli import main

sys.exit(main(sys.argv[1:]))
