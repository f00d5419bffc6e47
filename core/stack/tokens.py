"""The demo market where others start its agents, as docker-compose.yml does."""

import subprocess
from pathlib import Path

from core.stack import plan


def write_tokens(folder: Path) -> int:
    """Makes the demo market and writes the join token of its first agent to the file 1, of its second to 2...

    An agent that has joined needs none: its file goes. Returns the exit code of the seeding command.
    """
    done = subprocess.run(plan.SEED, cwd=plan.working_folder(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return done.returncode
    for number, agent in enumerate(plan.seeded_agents(done.stdout.decode()), start=1):
        path = folder / str(number)
        path.unlink(missing_ok=True)
        if agent.token:
            path.touch(mode=0o600)
            path.write_text(agent.token)
    return 0
