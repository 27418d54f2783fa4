"""What a script needs before it can begin: a Kafka, a Python with a client for it, and binaries of the farm."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(SCRIPTS)


def me():
    """The running script, as its own words name it."""
    return os.path.basename(sys.argv[0]).removesuffix(".py")


def with_kafka():
    if "KAFKA_BOOTSTRAP" not in os.environ:
        kafka = os.path.join(SCRIPTS, "kafka")
        os.execv(kafka, [kafka, "run", sys.executable, *sys.argv])


def with_python():
    """Goes on with a Python that has the Kafka client; made once."""
    required = os.path.join(SCRIPTS, "lib", "requirements.txt")
    with open(required, "rb") as file:
        digest = hashlib.sha256(file.read() + sys.version.encode()).hexdigest()[:16]
    cache = os.environ.get("PATCHFARM_CACHE") or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = os.path.join(cache, "patchfarm", f"python-{digest}")
    if sys.prefix == place:
        return
    if not os.path.isdir(place):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        making = tempfile.mkdtemp(prefix="python-", dir=os.path.dirname(place))
        if subprocess.run([sys.executable, "-m", "venv", making]).returncode:
            raise SystemExit(f"{me()}: Python cannot make an environment; on Debian: apt-get install python3-venv")
        pip = [os.path.join(making, "bin", "python"), "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
        subprocess.run([*pip, "--disable-pip-version-check", "-r", required], check=True, stdout=sys.stderr)
        try:
            os.rename(making, place)
        except OSError:
            # Another run was faster.
            shutil.rmtree(making)
    python = os.path.join(place, "bin", "python")
    os.execv(python, [python, *sys.argv])


def build(profile):
    """Builds the farm and the servers that it is tried with; the folder they are in. The tests' features, so that
    nothing is built twice."""
    argv = ["cargo", "build", "--locked", "--bin", "patchfarm", "--example", "loopback"]
    subprocess.run([*argv, *(["--release"] if profile == "release" else [])], cwd=ROOT, check=True, stdout=sys.stderr)
    return os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), profile)
