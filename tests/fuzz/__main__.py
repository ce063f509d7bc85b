"""Coverage-guided fuzzing with atheris: `scripts/fuzz [target] [seconds]`.

Without a target all of them, one after the other. New inputs are kept in `.fuzz/<target>/`, failing ones too; a
failing one ends the run with its name.
"""

import subprocess
import sys
from pathlib import Path

_CORPUS = Path(".fuzz")


def _run_one(name: str, seconds: int) -> None:
    """This process becomes libFuzzer; it ends by itself."""
    import atheris  # type: ignore[import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["gldnode", "payments", "api"]):
        from tests.fuzz.targets import TARGETS

        TARGETS[name].run(TARGETS[name].seeds()[0])  # what it imports late

    corpus = _CORPUS / name.replace(" ", "-")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    flags = [f"-max_total_time={seconds}", f"-artifact_prefix={corpus}/failed-", "-timeout=20", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], TARGETS[name].run)
    atheris.Fuzz()


def main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["--one"]:
        _run_one(words[1], int(words[2]))
        return 0
    from tests.fuzz.targets import TARGETS

    names = [word for word in words if not word.isdigit()] or list(TARGETS)
    seconds = next((int(word) for word in words if word.isdigit()), 60)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        print(f"There is no target {unknown[0]!r}. Targets: {', '.join(TARGETS)}")
        return 2
    failed = []
    for name in names:
        print(f"{name}: {seconds} s", flush=True)
        run = subprocess.run([sys.executable, "-m", "tests.fuzz", "--one", name, str(seconds)], check=False)
        if run.returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "nothing found")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
