"""`python -m mendel`: the command, for where its script is not on the path."""

from mendel.cli import main

if __name__ == "__main__":
    main()
