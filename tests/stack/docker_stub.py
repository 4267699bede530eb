"""A stub of `docker`: a container is the folder `$STACK/SERVICE`, where each call is executed and recorded.

`FAIL` is the beginning of a call that shall fail. Without `DRIFTBELL`, `driftbell backup` copies the folder,
which takes a tenth of the time.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

STACK = Path(os.environ.get("STACK", "."))  # read by doctest too, where there is none
ARGS = sys.argv[1:]
VOLUMES = {
    "ml_service": "data/reports",
    "prometheus": "prometheus",
    "loki": "loki",
    "grafana": "var/lib/grafana",
}


def inside(service: str, path: str) -> str:
    return str(STACK / service / path.lstrip("/")) if path.startswith("/") else path


def run(service: str, *command: str) -> int:
    words = [inside(service, word) for word in command]
    if words[:2] == ["driftbell", "backup"] and not os.environ.get("DRIFTBELL"):
        shutil.copytree(inside(service, "/data"), words[2])
        return 0
    if words[0] == "driftbell":
        words = [sys.executable, "-m", *words, "--data-dir", inside(service, "/data")]
    return subprocess.run(words).returncode


def copy(source: str, target: str) -> int:
    service, _, path = (source if target == "-" else target).partition(":")
    place = Path(inside(service, path.removesuffix("/.")))
    if target != "-":
        return subprocess.run(["tar", "-C", place, "-xf", "-"]).returncode
    folder, name = (place, ".") if path.endswith("/.") else (place.parent, place.name)
    return subprocess.run(["tar", "-C", folder, "-cf", "-", name]).returncode


def create(services: list[str]) -> int:
    for service in services:
        (STACK / service / VOLUMES[service]).mkdir(parents=True)
    return 0


def answer() -> int:
    match ARGS:
        case ["compose", "exec", "-T", service, *command]:
            return run(service, *command)
        case ["compose", "run", "--rm", "--no-deps", "-T", "--entrypoint", program, service, *command]:
            return run(service, program, *command)
        case ["compose", "run", "--rm", "--no-deps", "-T", service, *command]:
            return run(service, "driftbell", *command)
        case ["compose", "cp", source, target]:
            return copy(source, target)
        case ["compose", "create", *services]:
            return create(services)
        case ["compose", "port", "prometheus", "9090"]:
            print(os.environ["PROMETHEUS"])
        case ["compose", "config"]:
            print("name: driftbell\nservices: {}")
        case ["compose", "ps", "--status", "running", "--quiet", service]:
            print("c0ffee" if (STACK / f"{service}.running").exists() else "", end="")
        case ["compose", "stop", service]:
            (STACK / f"{service}.running").unlink()
        case ["compose", "start", service]:
            (STACK / f"{service}.running").touch()
        case ["volume", "ls", "--quiet", "--filter", "label=com.docker.compose.project=driftbell"]:
            print(*[s for s in VOLUMES if (STACK / s).exists()], sep="\n", end="")
        case _:
            print("the stub does not know", ARGS, file=sys.stderr)
            return 64
    return 0


def main() -> int:
    call = " ".join(ARGS).removeprefix("compose ")
    with (STACK / "calls").open("a") as calls:
        calls.write(call + "\n")
    if os.environ.get("FAIL") and call.startswith(os.environ["FAIL"]):
        return 1
    return answer()


if __name__ == "__main__":
    assert shutil.which("tar")
    sys.exit(main())
