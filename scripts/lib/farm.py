"""A farm of real processes on loopback: git remote and model, control, and workers that can be killed."""

import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

REPOSITORY = "history"
MODEL_KEY = "model-key-of-the-run"


class Farm:
    """Everything in one folder, with the product's settings but for some; what it starts ends with `stop`."""

    def __init__(self, binaries, home, bootstrap, settings):
        self.patchfarm = os.path.join(binaries, "patchfarm")
        self.loopback = os.path.join(binaries, "examples", "loopback")
        self.home = home
        self.bootstrap = bootstrap
        self.own_settings = settings
        self.prefix = f"e2e-{os.getpid()}-{int(time.time())}."
        self.group = f"{self.prefix}workers"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.grpc = f"127.0.0.1:{free_port()}"
        self.model = ""
        self.running = {}
        self.sessions = []

    def topic(self, name):
        return self.prefix + name

    def settings(self):
        return {
            "url": self.url,
            "kafka.bootstrap": self.bootstrap,
            "kafka.topic-prefix": self.prefix,
            "kafka.group": self.group,
            "control.store": os.path.join(self.home, "store.db"),
            "control.cache-dir": os.path.join(self.home, "control"),
            "control.http-listen": self.url.removeprefix("http://"),
            "control.grpc-listen": self.grpc,
            "worker.control-url": f"http://{self.grpc}",
            "worker.grace-s": 10,
            "metrics.listen": "127.0.0.1:0",
            "model.name": "scripted",
            "model.base-url": self.model,
            "model.key": MODEL_KEY,
            **self.own_settings,
        }

    def command(self, *verb):
        return [self.patchfarm, *verb, *flags(self.settings())]

    def ask(self, *verb):
        """Runs a verb of people; its exit status and what it says."""
        run = subprocess.run(
            self.command(*verb), cwd=self.home, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return run.returncode, run.stdout.decode(errors="replace").strip()

    def serve(self, repositories, script, latency_ms):
        """Starts the git remote and the scripted model; the remote's URL."""
        argv = [self.loopback, "--repos", repositories, "--script", script, "--latency-ms", str(latency_ms)]
        process = self.start("loopback", argv, stdout=subprocess.PIPE)
        urls = json.loads(process.stdout.readline())
        self.model = urls["model"]
        return urls["git"]

    def start(self, name, argv, stdout=None):
        """Starts a process in a session of its own; a name that had one goes on with the same log."""
        with open(os.path.join(self.home, f"{name}.log"), "ab") as log:
            process = subprocess.Popen(
                argv,
                cwd=self.home,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout or log,
                stderr=log,
                start_new_session=True,
            )
        self.running[name] = process
        self.sessions.append(process.pid)
        return process

    def start_control(self):
        self.start("control", self.command("control"))
        until(60, "control to answer", lambda: self.running["control"].poll() is not None or self.get("repositories"))

    def start_rag(self):
        """The context service; workers that start after it ask it, and search by themselves only when it is slow."""
        listen = f"127.0.0.1:{free_port()}"
        self.start("rag", [self.patchfarm, "rag", *flags({"rag.listen": listen, "metrics.listen": "127.0.0.1:0"})])
        until(60, "rag to listen", lambda: self.running["rag"].poll() is not None or listens(listen))
        self.own_settings = {**self.own_settings, "worker.rag-url": f"http://{listen}"}

    def start_worker(self, number):
        name = f"worker-{number}"
        cache = os.path.join(self.home, name)
        self.start(name, self.command("worker") + flags({"worker.name": name, "worker.cache-dir": cache}))

    def get(self, path):
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return None

    def register(self, url, target):
        body = json.dumps({"name": REPOSITORY, "url": url, "target": target}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1/repositories", body, headers)
        try:
            urllib.request.urlopen(request, timeout=120).close()
        except urllib.error.HTTPError as error:
            raise SystemExit(f"e2e: the repository is refused: {error.code} {error.read().decode()}") from error

    def fallen(self):
        """Processes that ended by themselves."""
        return [name for name, process in self.running.items() if process.poll() is not None]

    def kill_one(self, rng: random.Random, n_workers):
        """Kills a worker, and nothing of what it started, and starts it again."""
        number = rng.randrange(n_workers)
        process = self.running[f"worker-{number}"]
        process.kill()
        process.wait()
        self.start_worker(number)

    def stop(self):
        """Workers first, then control, then what they speak to; what outlives that is killed with its session."""
        for name in sorted(self.running, key=lambda name: (not name.startswith("worker"), name != "control")):
            process = self.running[name]
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for session in self.sessions:
            try:
                os.killpg(session, signal.SIGKILL)
            except ProcessLookupError:
                pass


def flags(settings):
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def environment():
    """Nothing of this shell's environment changes what the farm does."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}


def listens(address):
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def free_port():
    """A port of loopback where nobody listens now, below the range from which connections take theirs."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def until(seconds, what, holds):
    """Waits for something; its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline:
            raise SystemExit(f"e2e: waited {seconds} s for {what}")
        time.sleep(0.1)
