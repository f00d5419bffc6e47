"""Finds some divisor of a number; two machines may well find different ones, and both are right."""

import json
import random
from pathlib import Path

number = 720 * (json.loads(Path("task.json").read_text())["index"] + 1)
guess = random.randint(2, number)
while number % guess:
    guess = random.randint(2, number)
Path("divisor.txt").write_text(f"{guess}\n")
