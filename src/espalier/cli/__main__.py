"""`python -m espalier.cli` is `espalier`."""

from espalier.cli.main import main

if __name__ == "__main__":
    main()
