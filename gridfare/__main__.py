"""`python -m gridfare` is `gridfare`."""

from gridfare.cli import app

if __name__ == "__main__":
    app(prog_name="gridfare")
