"""So that `python -m zoo` and `accelerate launch -m zoo` are the command `zoo`."""

from zoo.cli import main

if __name__ == "__main__":
    main()
