"""Checks of what is deployed that no standard tool makes; scripts/check-artefacts runs it.

    artefacts.py manifests            Kubernetes manifests against the schemas of a release, strictly, and our own for the rest
    artefacts.py references           names in one file that another one must have: metrics, settings, alerts, versions
    artefacts.py expressions FILE     writes the dashboard's expressions to FILE as rules, for promtool to read
    artefacts.py exposition FILE...   metrics as a role served them: each is documented

Faults are printed one a line; the exit status is 1 if there is one.
"""

import json
import pathlib
import re
import sys
from collections.abc import Iterator

import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = "1.36"
OWN_SCHEMAS = {"ScaledObject": "scaledobject.schema.json", "Kustomization": "kustomization.schema.json"}


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def shown(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


# Manifests.


def manifests() -> Iterator[str]:
    files = sorted((ROOT / "deploy/k8s").rglob("*.yaml"))
    if not files:
        yield "deploy/k8s: there is no manifest"
    for file in files:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            for fault in manifest(file, document):
                yield f"{shown(file)}: {document.get('kind')}: {fault}"


def manifest(file: pathlib.Path, document: dict) -> Iterator[str]:
    kind = document.get("kind")
    if kind in OWN_SCHEMAS:
        schema = json.loads(text(f"deploy/check/{OWN_SCHEMAS[kind]}"))
        for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
            yield f"{error.json_path}: {error.message}"
    else:
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
            yield f"{'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"Kubernetes {KUBERNETES} has no {document.get('apiVersion')} {kind}"
    if "namespace" in document.get("metadata", {}):
        yield "names a namespace; that is for whoever applies it"
    if kind == "Kustomization":
        yield from kustomization(file, document)


def kustomization(file: pathlib.Path, document: dict) -> Iterator[str]:
    listed = set(document.get("resources", []))
    beside = {other.name for other in file.parent.glob("*.yaml")} - {file.name}
    yield from (f"{name} is not listed" for name in sorted(beside - listed))
    yield from (f"{name} does not exist" for name in sorted(listed) if not (file.parent / name).exists())


# References.


def references() -> Iterator[str]:
    yield from metrics()
    yield from dashboard()
    yield from alerts()
    yield from settings()
    yield from promises()


def registered_metrics() -> set[str]:
    """What the code registers; a metric's name is a string of its own there."""
    sources = [*ROOT.glob("crates/*/src/metrics.rs"), ROOT / "crates/patchfarm/src/roles.rs"]
    found = (re.findall(r'"((?:patchfarm|ca|gen_ai)_[a-z0-9_]+)"', source.read_text()) for source in sources)
    return {name for names in found for name in names if not is_label(name)}


def is_label(name: str) -> bool:
    return name in {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"}


def used_metrics(expression: str) -> set[str]:
    """The metrics of a PromQL expression: its words but labels, functions and numbers."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"\b(?:patchfarm|ca|gen_ai|process)_[a-z0-9_]+", bare))


def is_known(name: str, known: set[str]) -> bool:
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    return name in known or plain in known or name.startswith("process_")


def panels() -> list[dict]:
    return json.loads(text("deploy/grafana/patchfarm.json"))["panels"]


def dashboard_expressions() -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", [])]


def rules() -> list[dict]:
    groups = yaml.safe_load(text("deploy/prometheus/rules.yml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metrics() -> Iterator[str]:
    known = registered_metrics()
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", text("docs/metrics.md"), re.M))
    yield from (f"docs/metrics.md: {name} is missing" for name in sorted(known - documented))
    yield from (f"docs/metrics.md: no code registers {name}" for name in sorted(documented - known))
    scaler = yaml.safe_load(text("deploy/k8s/keda/scaledobject.yaml"))["spec"]["triggers"]
    expressions = [("the dashboard's " + title, expression) for title, expression in dashboard_expressions()]
    expressions += [("the alert " + rule["alert"], rule["expr"]) for rule in rules()]
    expressions += [("the ScaledObject", trigger["metadata"]["query"]) for trigger in scaler]
    for place, expression in expressions:
        used = used_metrics(expression)
        if not used:
            yield f"{place}: {expression!r} names no metric"
        yield from (f"{place}: no code registers {name}" for name in sorted(used) if not is_known(name, known))


def dashboard() -> Iterator[str]:
    place = "deploy/grafana/patchfarm.json"
    if json.loads(text(place)).get("uid") != "patchfarm":
        yield f"{place}: the uid must stay patchfarm, links go by it"
    ids = [panel["id"] for panel in panels()]
    if len(ids) != len(set(ids)):
        yield f"{place}: two panels have one id"
    for panel in panels():
        sources = [panel.get("datasource"), *(target.get("datasource") for target in panel.get("targets", []))]
        if panel["type"] != "row" and any(source != {"type": "prometheus", "uid": "${datasource}"} for source in sources):
            yield f"{place}: {panel['title']}: the data source must be the variable"


def alerts() -> Iterator[str]:
    sections = re.findall(r"^## (.+)$", text("docs/runbook.md"), re.M)
    tested = [
        test["alertname"]
        for case in yaml.safe_load(text("deploy/prometheus/rules_test.yml"))["tests"]
        for test in case["alert_rule_test"]
        if test["exp_alerts"]
    ]
    names = [rule["alert"] for rule in rules()]
    for rule in rules():
        name = rule["alert"]
        if name not in sections:
            yield f"docs/runbook.md: there is no section {name}"
        if rule["annotations"].get("runbook_url") != f"docs/runbook.md#{name.lower()}":
            yield f"the alert {name}: its runbook_url must be docs/runbook.md#{name.lower()}"
        if name not in tested:
            yield f"deploy/prometheus/rules_test.yml: no test lets {name} fire"
    yield from (f"docs/runbook.md: no alert is called {name}" for name in sections if name not in names)


def settings() -> Iterator[str]:
    """Every variable of the farm that a container is given must be one that the program reads."""
    keys = re.findall(r'\bkey\(\s*"([a-z.-]+)"', text("crates/patchfarm/src/settings.rs"))
    known = {"PATCHFARM_" + re.sub("[.-]", "_", key).upper() for key in keys}
    files = ["Dockerfile", "docker-compose.yml", *(shown(path) for path in (ROOT / "deploy/k8s").rglob("*.yaml"))]
    for file in files:
        used = set(re.findall(r"\bPATCHFARM_[A-Z_]+\b", text(file)))
        yield from (f"{file}: there is no setting for {name}" for name in sorted(used - known))


def promises() -> Iterator[str]:
    """What docker-compose.yml says in words must hold."""
    services = yaml.safe_load(text("docker-compose.yml"))["services"]
    for key in ("container_name", "ports"):
        if key in services["worker"]:
            yield f"docker-compose.yml: worker has {key}, so that there can be only one"
    for key in ("environment", "env_file", "secrets"):
        if key in services["rag"]:
            yield f"docker-compose.yml: rag has {key}; it must be given no credential"
    pom = re.search(r"<kafka.version>(.+)</kafka.version>", text("deploy/kafka-test/pom.xml")).group(1)
    if services["kafka"]["image"] != f"apache/kafka:{pom}":
        yield f"docker-compose.yml: kafka must be the version {pom} of deploy/kafka-test/pom.xml"
    rust = re.search(r'^rust-version = "(\d+)\.(\d+)', text("Cargo.toml"), re.M).groups()
    image = re.search(r"^FROM rust:(\d+)\.(\d+)", text("Dockerfile"), re.M).groups()
    if tuple(map(int, image)) < tuple(map(int, rust)):
        yield f"Dockerfile: Rust {'.'.join(image)} is older than Cargo.toml's rust-version {'.'.join(rust)}"
    for option in services["worker"]["security_opt"]:
        if option.startswith("seccomp=") and option != "seccomp=unconfined":
            yield from seccomp(option.removeprefix("seccomp="))


def seccomp(path: str) -> Iterator[str]:
    profile = json.loads(text(path))
    refused = {name for rule in profile["syscalls"] for name in rule["names"]}
    needed = {"clone", "clone3", "mount", "pivot_root", "setns", "umount2", "unshare"}
    if profile["defaultAction"] != "SCMP_ACT_ALLOW" or refused & needed:
        yield f"{path}: bubblewrap needs {', '.join(sorted(needed))}"


# For promtool.


def expressions(file: str) -> Iterator[str]:
    found = [expression.replace("$__rate_interval", "5m") for _, expression in dashboard_expressions()]
    recorded = [{"record": f"panel:expression:{n}", "expr": expression} for n, expression in enumerate(found)]
    pathlib.Path(file).write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    if not found:
        yield "deploy/grafana/patchfarm.json: there is no expression"


def exposition(*files: str) -> Iterator[str]:
    known = registered_metrics()
    for file in files:
        served = re.findall(r"^# TYPE (\S+) ", pathlib.Path(file).read_text(encoding="utf-8"), re.M)
        if not served:
            yield f"{file}: there is no metric"
        yield from (f"{file}: docs/metrics.md does not know {name}" for name in served if not is_known(name, known))


def main() -> int:
    check, *arguments = sys.argv[1:]
    checks = {"manifests": manifests, "references": references, "expressions": expressions, "exposition": exposition}
    faults = list(checks[check](*arguments))
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
