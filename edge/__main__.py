"""`python -m edge` is the command `shelfd`, for a checkout that is not installed."""

from __future__ import annotations

import sys

from edge.entry import main

if __name__ == "__main__":
    sys.exit(main())
