"""`python -m menny …`: the command line."""

from menny.cli import main

if __name__ == "__main__":
    main()
