"""Writes empty stand-ins for the GPU libraries that libtorch is linked to, so that it loads where none of them is.

The index offers PyTorch only built for CUDA. On a CPU none of those libraries' functions is ever called, yet the loader
wants every library and every symbol: 2.7 GB of them. A stand-in holds the symbols that libtorch asks for, under the
versions it asks for; each returns 1, which every one of these interfaces reads as an error.

Usage: stand_ins.py SITE_PACKAGES
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = ("libtorch_cuda.so", "libtorch_nvshmem.so", "libtorch_python.so", "libtorch_cpu.so", "libc10_cuda.so")
SYSTEM = re.compile(r"lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|gomp)\.so|ld-linux")


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def needed(library: Path) -> set[str]:
    """The libraries that a library is linked to."""
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "-d", library)))


def versions(library: Path) -> dict[str, str]:
    """Which library offers each symbol version that a library asks for."""
    found: dict[str, str] = {}
    for source, names in re.findall(r"File: (\S+) .*\n((?:.*Name: .*\n)+)", output("readelf", "-V", "-W", library)):
        found.update(dict.fromkeys(re.findall(r"Name: (\S+)", names), source))
    return found


def symbols(library: Path, kind: str) -> set[str]:
    """Dynamic symbols of a library, `--undefined-only` or `--defined-only`, with `@version` where they have one."""
    lines = output("nm", "-D", "--with-symbol-versions", kind, library).splitlines()
    return {line.split()[-1] for line in lines if line.split()[-2] not in "wv"}


def write(folder: Path, name: str, unversioned: set[str], versioned: dict[str, set[str]]) -> None:
    """Compile one stand-in."""
    names = unversioned.union(*versioned.values())
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch, "stand_in.c"), Path(scratch, "versions")
        source.write_text("".join(f"int {symbol}(void) {{ return 1; }}\n" for symbol in sorted(names)))
        script.write_text(
            "".join(f"{version} {{ global: {'; '.join(sorted(held))}; }};\n" for version, held in versioned.items())
        )
        options = [f"-Wl,--version-script={script}"] if versioned else []
        command = ["gcc", "-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{name}", *options, source]
        output(*command, "-o", folder / name)


def main(site: Path) -> None:
    """Write a stand-in for every library that libtorch is linked to and that is neither here nor the system's."""
    folder = site / "torch" / "lib"
    libraries = [folder / name for name in LIBRARIES]
    here = {path.name: path for path in [*folder.glob("*.so*"), *(site / "nvidia").glob("*/lib/*.so*")]}
    missing = {name for library in libraries for name in needed(library) if name not in here and not SYSTEM.match(name)}
    wanted = set().union(*(symbols(library, "--undefined-only") for library in libraries))
    offered = {version: name for library in libraries for version, name in versions(library).items()}
    # Names that begin with Py are the interpreter's own.
    plain = {symbol for symbol in wanted if "@" not in symbol and not symbol.startswith(("_", "Py"))}
    for path in here.values():
        plain -= {symbol.split("@")[0] for symbol in symbols(path, "--defined-only")}
    for name in sorted(missing):
        versioned = {
            version: {symbol.split("@")[0] for symbol in wanted if symbol.partition("@")[2].strip("@") == version}
            for version, source in offered.items()
            if source == name
        }
        # An unversioned symbol may be found in any library: the first stand-in without versions could hold them all.
        write(folder, name, set() if versioned else plain, versioned)
        print(f"{name}: {sum(map(len, versioned.values())) or len(plain)} symbols")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
