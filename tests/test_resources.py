"""Shipped files are found from a checkout and from a built wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from localmem import resources

ROOT = Path(__file__).resolve().parents[1]


def test_found_in_the_checkout() -> None:
    assert resources.models_file().is_file()
    assert any(resources.grammars().iterdir())


def test_found_in_a_built_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = "from localmem import resources as r; print(r.models_file()); print(*r.grammars().iterdir())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path / "site", capture_output=True, text=True, check=True
    )
    models, grammars = done.stdout.splitlines()
    assert Path(models) == tmp_path / "site/localmem/_data/models.toml"
    assert Path(models).read_bytes() == resources.models_file().read_bytes()
    assert sorted(Path(name).name for name in grammars.split()) == sorted(
        path.name for path in resources.grammars().iterdir()
    )
