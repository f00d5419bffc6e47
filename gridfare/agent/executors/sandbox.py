"""The `sandbox` executor: bubblewrap. A program sees the system's libraries, its interpreter, its own folders, no more.

No network, no other process, no host file; the root is read only. Two ways, the first that works is taken:

- `as root`: bubblewrap mounts as root and setpriv leaves root behind, one user id per slot. Limits on processes then
  count per unit, as no two units share a user id.
- `user namespace`: for an ordinary user. The kernel counts the processes of the new namespace apart.

The program's environment is set last, by env(1) inside the sandbox: a variable such as LD_PRELOAD never reaches a
program that still has rights.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from gridfare.agent.executors.base import (
    PRIVATE,
    SEARCH_PATH,
    Job,
    Launch,
    View,
    environment_of,
    interpreter_of,
    words_of,
)
from gridfare.agent.executors.seccomp import filter_for
from gridfare.agent.guardian import MARK
from gridfare.agent.model import MIB, Limits

TASK, PROGRAM = "/task", "/program"
SYSTEM_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/fonts",
    "/etc/mime.types",
    "/sys/devices/system/cpu",
)
DEVICES = ("/dev/dri", "/dev/kfd", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc", "/dev/nvidiactl")
FIRST_UID = 0x70000000
"""Start of a range of user ids that no system hands out (systemd's container range ends just below)."""
SLOTS = 1024
LIMITS_SCRIPT = (
    'ulimit -c 0; ulimit -f "$1"; ulimit -d "$2"; ulimit -u "$3" 2>/dev/null || ulimit -p "$3"; shift 3; exec /usr/bin/env -i "$@"'
)


def data_limit_bytes(limits: Limits) -> int:
    """A last barrier against a memory hog, far above the limit that the watchdog keeps."""
    return (2 * limits.memory_mib + 1024) * MIB


class SandboxExecutor:
    """Builds bubblewrap's command line; `folder` keeps the few files that replace those of /etc."""

    name = "sandbox"

    def __init__(self, folder: Path, seed: str, as_root: bool) -> None:
        self.as_root = as_root
        self.first_uid = FIRST_UID + zlib.crc32(seed.encode()) % 0x3FFFF * SLOTS
        self.bwrap = shutil.which("bwrap", path=SEARCH_PATH) or "bwrap"
        self.base = [self.bwrap, *self._namespaces(), *system_mounts(folder)]
        write_accounts(folder, [self.uid(slot) for slot in range(SLOTS)])
        self.filter_fd = filter_descriptor()

    def uid(self, slot: int) -> int:
        """The user id of a slot, inside and (as root) outside."""
        return self.first_uid + slot % SLOTS if self.as_root else 1000

    def _namespaces(self) -> list[str]:
        words = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        words += ["--die-with-parent", "--new-session", "--hostname", "task", "--cap-drop", "ALL"]
        if not self.as_root:
            return [*words, "--unshare-user", "--uid", "1000", "--gid", "1000"]
        return [*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]

    def prepare(self, job: Job) -> None:
        """Give the writable folders to the slot's user (as root only)."""
        if self.as_root:
            uid = self.uid(job.slot)
            for base, _, _ in os.walk(job.work):
                os.chown(base, uid, uid, follow_symlinks=False)
            for file in job.lease.resume:  # what the program saved it may write again
                os.chown(f"{job.work}/{file.path}", uid, uid, follow_symlinks=False)

    def launch(self, job: Job) -> Launch:
        """bubblewrap, then limits, then the program."""
        program = PROGRAM if job.program else None
        view = View(TASK, program, interpreter_of(job.environment))
        env = environment_of(job, view)
        del env[MARK]
        status_read, status_write = os.pipe()
        fds = [status_write]
        argv = [*self.base, *self._mounts(job), "--json-status-fd", str(status_write)]
        if self.filter_fd is not None:
            fds.append(os.open(f"/proc/self/fd/{self.filter_fd}", os.O_RDONLY))
            argv += ["--seccomp", str(fds[-1])]
        argv += ["--", *self._drop(job.slot), *limit_words(job.spec.limits)]
        argv += [f"{name}={value}" for name, value in env.items()]
        argv += words_of(job, view)
        clean = {"PATH": SEARCH_PATH, MARK: job.mark, "GRIDFARE_ATTEMPT": job.lease.key}
        return Launch(argv, clean, "/", tuple(fds), status_read, overhead=2)

    def _mounts(self, job: Job) -> list[str]:
        words = ["--perms", "1777", "--size", str(max(job.spec.limits.memory_mib // 2, 16) * MIB)]
        words += ["--tmpfs", "/dev/shm"]
        # /tmp before what may lie below it: an agent's home can be there
        words += ["--bind", f"{job.work}/{PRIVATE}", "/tmp"]
        if job.environment:
            words += mount_at_same_place(str(job.environment))
        if job.program:
            words += ["--ro-bind", str(job.program), PROGRAM]
        if job.devices:
            for device in [*DEVICES, *map(str, Path("/dev").glob("nvidia*"))]:
                words += ["--dev-bind-try", device, device]
        words += ["--bind", job.work, TASK]
        return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", TASK]

    def _drop(self, slot: int) -> list[str]:
        if not self.as_root:
            return []
        uid = str(self.uid(slot))
        words = ["/usr/bin/setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"]
        return [*words, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]


def limit_words(limits: Limits) -> list[str]:
    """A shell that sets the limits and becomes the program. File size in blocks of 512 bytes, data in KiB."""
    blocks, data = limits.file_mib * (MIB // 512), data_limit_bytes(limits) // 1024
    processes = limits.processes * 4 + 64  # a hard stop; threads count here, the watchdog counts processes
    return ["/bin/sh", "-c", LIMITS_SCRIPT, "sh", str(blocks), str(data), str(processes)]


def system_mounts(folder: Path) -> list[str]:
    """The read-only part that every unit sees."""
    words = ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--perms", "0755", "--dir", "/etc"]
    for path in SYSTEM_LINKS:
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            words += ["--ro-bind", path, path]
    for path in SYSTEM_FILES:
        words += ["--ro-bind-try", path, path]
    for name in ("passwd", "group", "hosts"):
        words += ["--ro-bind", str(folder / name), f"/etc/{name}"]
    if not sys.base_prefix.startswith("/usr"):
        words += mount_at_same_place(os.path.realpath(sys.base_prefix))
    return words


def mount_at_same_place(path: str) -> list[str]:
    """Show a folder under its own name, and nothing beside it; the folders above are made empty and passable."""
    above = [str(parent) for parent in reversed(Path(path).parents)][1:]
    words = [word for parent in above for word in ("--perms", "0755", "--dir", parent)]
    return [*words, "--ro-bind", path, path]


def write_accounts(folder: Path, uids: list[int]) -> None:
    """Names for the user ids, so that programs that ask who they are get an answer."""
    folder.mkdir(parents=True, exist_ok=True)
    users = "".join(f"task:x:{uid}:{uid}::{TASK}/{PRIVATE}:/bin/sh\n" for uid in dict.fromkeys(uids))
    groups = "".join(f"task:x:{uid}:\n" for uid in dict.fromkeys(uids))
    contents = {"passwd": users, "group": groups, "hosts": "127.0.0.1 localhost\n::1 localhost\n"}
    for name, text in contents.items():
        (folder / name).write_text(text)
        os.chmod(folder / name, 0o644)


def filter_descriptor() -> int | None:
    """The seccomp filter in memory; every launch opens it anew, as reading moves the position."""
    program = filter_for()
    if program is None:
        return None
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, program)
    return descriptor


def find_sandbox(folder: Path, seed: str) -> tuple[SandboxExecutor | None, str]:
    """The sandbox that really works here, tried by running `true` in it, or None and why not."""
    if shutil.which("bwrap", path=SEARCH_PATH) is None:
        return None, "bubblewrap (bwrap) is not installed"
    why = ""
    for as_root in (True, False) if os.geteuid() == 0 else (False,):
        executor = SandboxExecutor(folder, seed, as_root)
        why = try_sandbox(executor)
        if not why:
            return executor, "as root, one user per slot" if as_root else "user namespace"
    return None, why


def try_sandbox(executor: SandboxExecutor) -> str:
    """Run a short program in the sandbox; returns what went wrong, or an empty text."""
    from gridfare.agent.model import Lease, Spec

    spec = Spec(id="probe", task="probe", stage="unit", total=1, capability="", trusted=False, run=("true",))
    with tempfile.TemporaryDirectory(prefix="gridfare-") as work:
        os.mkdir(f"{work}/{PRIVATE}")
        job = Job(Lease("probe", 1, spec, 0, None, ()), work, None, None, [], 0, "probe")
        executor.prepare(job)
        return run_probe(executor.launch(job))


def run_probe(launch: Launch) -> str:
    """Run a launch to its end; returns its complaint, or an empty text when it exited 0."""
    try:
        done = subprocess.run(
            launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            pass_fds=launch.pass_fds,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    finally:
        for descriptor in (*launch.pass_fds, launch.status_fd):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
    complaint = done.stderr.decode(errors="replace").strip()
    return "" if done.returncode == 0 else complaint or f"exit {done.returncode}"
