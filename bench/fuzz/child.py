"""One target under atheris, in the environment that has it. `python -m bench.fuzz.child TARGET LIBFUZZER_FLAGS...`."""

import sys

import atheris

with atheris.instrument_imports(include=["understudy.gateway.policy", "understudy.guard", "bench.fuzz"]):
    from bench.fuzz.targets import TARGETS

if __name__ == "__main__":
    _, name, *flags = sys.argv
    # To merge, libFuzzer starts itself anew, by a shell and this name.
    atheris.Setup([f"{sys.executable} -m bench.fuzz.child {name}", *flags], TARGETS[name])
    atheris.Fuzz()
