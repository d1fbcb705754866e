"""`python -m gear.cli` is the command `gear`."""

from gear.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
