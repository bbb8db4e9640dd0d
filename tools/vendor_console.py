# SPDX-License-Identifier: Apache-2.0
"""Fetch the console's two libraries anew, by npm, at the versions named here.

Run by hand when a version is raised: `python tools/vendor_console.py`. The files are committed, so
neither a build nor a running edge needs npm. One edit is made: a browser resolves no bare names,
so `from "preact"` becomes `from "./preact.js"`, and the links to source maps go.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "strangler" / "control" / "console" / "static" / "vendor"
#: package: (version, licence, {file in the package: file here})
PACKAGES = {
    "preact": (
        "11.2.0",
        "MIT",
        {
            "dist/preact.mjs": "preact.js",
            "hooks/dist/hooks.mjs": "hooks.js",
            "LICENSE": "preact.LICENSE",
        },
    ),
    "htm": ("3.1.1", "Apache-2.0", {"dist/htm.mjs": "htm.js", "LICENSE": "htm.LICENSE"}),
}


def main() -> None:
    """Write the files and the README that names them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, (version, licence, files) in PACKAGES.items():
            subprocess.run(
                ["npm", "pack", "--silent", f"{name}@{version}"], cwd=scratch, check=True
            )
            with tarfile.open(Path(scratch) / f"{name}-{version}.tgz") as archive:
                for inside, here in files.items():
                    member = archive.extractfile(f"package/{inside}")
                    assert member is not None, f"{name} has no {inside}"
                    text = member.read().decode()
                    if here.endswith(".js"):
                        text = re.sub(r'from\s*"preact"', 'from"./preact.js"', text)
                        text = re.sub(r"\n?//# sourceMappingURL=.*\n?", "\n", text)
                    (FOLDER / here).write_text(text)
                    digest = hashlib.sha256(text.encode()).hexdigest()
                    rows.append(f"| `{here}` | {name} {version} | {licence} | `{digest}` |")
    lines = [
        "# Other people's code",
        "",
        "Copied by `tools/vendor_console.py` from the npm packages named; a test holds the sums.",
        "",
        "| file | from | licence | SHA-256 |",
        "|---|---|---|---|",
        *rows,
    ]
    (FOLDER / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
