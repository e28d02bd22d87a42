"""CUDA libraries of nothing, so that PyTorch's wheel from PyPI loads where only its processor half is asked for.

That wheel is linked against 2 GB of NVIDIA's libraries. A process that never touches a graphics card calls nothing in
them, but the loader wants each file, and each name and version in it, before the first line runs. So: one library a
missing file, every name in it a function that fails.

    python cuda_stubs.py        in the environment that has PyTorch; needs readelf and gcc
"""

import re
import subprocess
import sysconfig
from pathlib import Path

packages = Path(sysconfig.get_path("purelib"))
torch, stubs = packages / "torch/lib", packages / "nvidia/cu13/lib"  # where torch looks for them
parts = ["torch", "torch_cpu", "torch_cuda", "torch_nvshmem", "torch_python", "c10_cuda"]
loaded = [file for part in parts if (file := torch / f"lib{part}.so").exists()]


def readelf(*options):
    return subprocess.run(["readelf", "--wide", *options, *loaded], check=True, capture_output=True, text=True).stdout


files = set(re.findall(r"NEEDED.*\[(lib(?:cu|nv|nccl).*)\]", readelf("--dynamic")))
names = set(re.findall(r" UND ((?:cu|nv|nccl)\w+)", readelf("--dyn-syms")))
versions = {}  # what the names of a file are versioned as
for file, block in re.findall(r"File: (\S+) .*\n((?:.*Name: .*\n)*)", readelf("--version-info")):
    versions.setdefault(file, set()).update(re.findall(r"Name: (\S+)", block))

stubs.mkdir(parents=True, exist_ok=True)
code = "".join(f"int {name}(void) {{ return 1; }}\n" for name in sorted(names))
for file in sorted(files):
    if (stubs / file).exists():
        continue
    script = stubs / "versions.map"
    script.write_text("".join(f"{version} {{ *; }};\n" for version in sorted(versions.get(file, []))) or "{ *; };\n")
    options = ["-w", "-shared", "-fPIC", f"-Wl,-soname,{file}", f"-Wl,--version-script={script}"]
    subprocess.run(["gcc", "-x", "c", "-", *options, "-o", stubs / file], input=code, text=True, check=True)
