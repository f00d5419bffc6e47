"""Counts, and saves how far it came: often by itself, and when it is asked to."""

import json
import os
import signal
import time

STATE = "state/count.json"


def save(count: int) -> None:
    os.makedirs("state", exist_ok=True)
    with open("state/count.new", "w") as writing:
        json.dump(count, writing)
    os.replace("state/count.new", STATE)


def work(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def main() -> None:
    with open("task.json") as reading:
        steps = json.load(reading)["inputs"]["steps"]
    begun_at = 0
    if os.environ.get("GRIDFARE_RESUMED"):
        with open(STATE) as reading:
            begun_at = json.load(reading)
    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
    print("counting from", begun_at, flush=True)
    for count in range(begun_at + 1, steps + 1):
        work(0.1)
        if asked or count % 10 == 0:
            asked.clear()
            save(count)
    with open("counted.json", "w") as writing:
        json.dump({"counted": steps, "begun_at": begun_at}, writing)


if __name__ == "__main__":
    main()
