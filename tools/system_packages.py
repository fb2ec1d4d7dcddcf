"""See to the system libraries that Qt, OpenGL and the virtual screen need on Linux.

Standard library only. Each requirement is looked for by what it provides (a program or a shared library), not by its
package's name, so the check holds on every distribution. What is missing is installed with apt-get where that can be
done without a password (root or passwordless sudo); otherwise one line names the packages and the exit code is 1.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = {"xvfb": "Xvfb", "xauth": "xauth"}
"""Debian package -> program it provides."""

LIBRARIES = {
    "libdbus-1-3": "libdbus-1.so.3",
    "libegl1": "libEGL.so.1",
    "libfontconfig1": "libfontconfig.so.1",
    "libgl1": "libGL.so.1",
    "libglib2.0-0": "libglib-2.0.so.0",
    "libglx-mesa0": "libGLX_mesa.so.0",
    "libopengl0": "libOpenGL.so.0",
    "libx11-xcb1": "libX11-xcb.so.1",
    "libxcb-cursor0": "libxcb-cursor.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-image0": "libxcb-image.so.0",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-randr0": "libxcb-randr.so.0",
    "libxcb-render-util0": "libxcb-render-util.so.0",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxcb-xkb1": "libxcb-xkb.so.1",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
}
"""Debian package -> shared library it provides."""

DRIVERS = {"libgl1-mesa-dri": ("usr/lib/*/dri/swrast_dri.so", "usr/lib*/dri/swrast_dri.so")}
"""Debian package -> places of the software OpenGL driver, one of which must exist."""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing() -> list[str]:
    """Name the Debian packages whose contents are not on this machine, sorted."""
    names = [package for package, program in PROGRAMS.items() if shutil.which(program) is None]
    names += [package for package, library in LIBRARIES.items() if not _loads(library)]
    root = Path("/")
    names += [package for package, places in DRIVERS.items() if not any(any(root.glob(place)) for place in places)]
    return sorted(names)


def _as_root() -> list[str] | None:
    """Command prefix that makes the rest run as root, or None where that needs a password."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def install(packages: list[str]) -> None:
    """Install `packages` with apt-get where that can be done without asking; otherwise do nothing."""
    prefix = _as_root()
    if prefix is None or shutil.which("apt-get") is None:
        return
    print(f"installing system packages: {' '.join(packages)}", flush=True)
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*apt, "update"], stdout=subprocess.DEVNULL, check=False)
    subprocess.run(
        [*apt, "install", "-y", "--no-install-recommends", *packages], stdout=subprocess.DEVNULL, check=False
    )


def main() -> int:
    """Install what is missing, or say it in one line."""
    if not sys.platform.startswith("linux"):
        return 0
    packages = missing()
    if packages:
        install(packages)
        packages = missing()
    if packages:
        print(f"missing system packages, needed by the tests: {' '.join(packages)} (install them, e.g. with apt-get)")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
