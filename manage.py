#!/usr/bin/env python
"""Django's entry point."""

import os
import sys

NEED_NO_SERVER = {"make_trace", "simulate"}  # commands that read files and write files
NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] and sys.argv[1] in NEED_NO_SERVER:
        # Settings start embedded servers where no address is given: these lead nowhere, and nothing is started.
        os.environ.update({name: url for name, url in NOWHERE.items() if not os.environ.get(name)})
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
