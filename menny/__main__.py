"""`python -m menny …`: the command line."""

import sys

try:
    from menny.cli.app import main
except KeyboardInterrupt:  # it takes a second
    sys.exit(130)

if __name__ == "__main__":
    main()
