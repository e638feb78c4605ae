"""`python -m menny …`: the command line."""

import sys

try:
    from menny.cli import main
except KeyboardInterrupt:  # it takes a second
    sys.exit(130)

if __name__ == "__main__":
    main()
