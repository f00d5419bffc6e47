"""A small seccomp filter for bubblewrap: no new user namespaces, no mounts, no keyrings, no kernel programs.

The namespaces already keep a program in; the filter removes the parts of the kernel where holes are found most often.
Format: an array of `struct sock_filter` (linux/filter.h), eight bytes each.
"""

from __future__ import annotations

import errno
import platform
import struct

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER_AT, ARCH_AT, FIRST_ARGUMENT_AT = 0, 4, 16
CLONE_NEWUSER = 0x10000000
X32_BIT = 0x40000000

ARCHITECTURES = {
    "x86_64": 0xC000003E,
    "aarch64": 0xC00000B7,
    "riscv64": 0xC00000F3,
    "loongarch64": 0xC0000102,
}
X86_64 = {"clone": 56, "unshare": 272, "clone3": 435}
GENERIC = {"clone": 220, "unshare": 97, "clone3": 435}
DENIED_X86_64 = (165, 166, 155, 308, 248, 249, 250, 321, 323, 298, 428, 429, 430, 431, 432, 442, 425, 426, 427)
DENIED_GENERIC = (40, 39, 41, 268, 217, 218, 219, 280, 282, 241, 428, 429, 430, 431, 432, 442, 425, 426, 427)
"""mount, umount2, pivot_root, setns, add_key, request_key, keyctl, bpf, userfaultfd, perf_event_open,
open_tree, move_mount, fsopen, fsconfig, fsmount, mount_setattr, io_uring_setup, _enter, _register."""


def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One `struct sock_filter`."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def refuse_when(number: int, error: int) -> bytes:
    """Answer ``error`` to one system call; the accumulator holds the call's number before and after."""
    return instruction(EQUAL, number, 0, 1) + instruction(RETURN, REFUSE | error)


def refuse_new_user(number: int) -> bytes:
    """Answer EPERM to a call whose first argument asks for a user namespace."""
    return (
        instruction(EQUAL, number, 0, 4)
        + instruction(LOAD, FIRST_ARGUMENT_AT)
        + instruction(ANY_BIT, CLONE_NEWUSER, 0, 1)
        + instruction(RETURN, REFUSE | errno.EPERM)
        + instruction(LOAD, NUMBER_AT)
    )


def filter_for(machine: str = platform.machine()) -> bytes | None:
    """The filter's bytes, or None for an architecture that is not in the tables."""
    if machine not in ARCHITECTURES:
        return None
    numbers, denied = (X86_64, DENIED_X86_64) if machine == "x86_64" else (GENERIC, DENIED_GENERIC)
    parts = [
        instruction(LOAD, ARCH_AT),
        instruction(EQUAL, ARCHITECTURES[machine], 1, 0),
        instruction(RETURN, KILL),
        instruction(LOAD, NUMBER_AT),
    ]
    if machine == "x86_64":
        parts += [instruction(AT_LEAST, X32_BIT, 0, 1), instruction(RETURN, REFUSE | errno.ENOSYS)]
    parts += [refuse_when(number, errno.EPERM) for number in denied]
    parts += [refuse_when(numbers["clone3"], errno.ENOSYS)]
    parts += [refuse_new_user(numbers["clone"]), refuse_new_user(numbers["unshare"])]
    return b"".join([*parts, instruction(RETURN, ALLOW)])
