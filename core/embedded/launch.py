"""Runs a program with less privilege, and tied to the life of the process that asked for it.

    python launch.py [--die-with PID:SIGNAL] [--user NAME] [--search] -- PROGRAM ARGUMENT...

PostgreSQL refuses to run as root, so root starts it as another user (--user). A check-out below a closed
folder such as root's home cannot be entered by that user. Opening the folder for everybody would be worse
than what it mends, so the program keeps one capability instead, the one to search folders (--search).

This file stands alone and uses only the standard library: it is run as a script, without any set-up.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares this process as asked and becomes the program. Does not return."""
    options = _parser().parse_args(argv)
    if options.user:
        _become(options.user, keep_search=options.search)
    if options.die_with:
        _die_with(options.die_with)
    os.execvp(options.program[0], options.program)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch")
    parser.add_argument("--die-with", default="", metavar="PID:SIGNAL")
    parser.add_argument("--user", default="")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("program", nargs="+")
    return parser


def _die_with(text: str) -> None:
    """Asks the kernel to send the signal when the parent dies. With the parent already gone, ends at once."""
    parent, number = (int(part) for part in text.split(":"))
    if sys.platform == "linux":
        _libc().prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _become(name: str, *, keep_search: bool) -> None:
    """Gives up root for the named user, keeping at most one capability to search folders."""
    entry = pwd.getpwnam(name)
    capability = _search_capability() if keep_search else None
    if capability is not None:
        # Keeps capabilities when the user changes, and lets access(2), by which the programs look for each
        # other, see what they allow.
        _check(_libc().prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if capability is not None:
        _keep(capability)


def _search_capability() -> int:
    """The weakest capability this process has that lets it enter a closed folder."""
    data = _capabilities()
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if data[0].permitted & (1 << capability):
            return capability
    raise SystemExit("launch: no capability to enter the closed folders above the data")


def _keep(capability: int) -> None:
    """Makes one capability survive the coming exec, and drops all others."""
    bit = 1 << capability
    header = _CapHeader(CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)(_CapData(bit, bit, bit), _CapData(0, 0, 0))
    _check(_libc().capset(ctypes.byref(header), data))
    _check(_libc().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _capabilities() -> "ctypes.Array[_CapData]":
    header = _CapHeader(CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    _check(_libc().capget(ctypes.byref(header), data))
    return data


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main()
