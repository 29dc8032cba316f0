"""The wheel works away from the source tree: recipes, weights and both packages are inside."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_carries_everything(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("translation_zoo-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def zoo(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "zoo", *words]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        return result.stdout

    assert str(site) in zoo("show", "generator", "resnet")
    recipes = zoo("list", "recipes", "--json")
    assert '"demo"' in recipes
    assert '"selfie2anime/ugatit"' in recipes
    photos = tmp_path / "photos"
    zoo("data", "demo", "--out", str(photos), "--num-images", "1")
    result = tmp_path / "webtoon.png"
    zoo("translate", "toonfaces-ugatit", str(photos / "testA/00000.png"), str(result),
        "--direction", "a2b")  # fmt: skip
    assert result.read_bytes().startswith(b"\x89PNG")
