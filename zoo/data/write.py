"""A data set's images as folders of PNG files."""

from pathlib import Path

from zoo.images import resize, write_image
from zoo.protocols import DataSet, Domain
from zoo.registry import UserError


def write_folders(dataset: DataSet, size: int, out: Path, num_images: int = 0) -> dict[str, int]:
    """Write trainA, trainB, testA, testB and, where it is known, the truth of the test images.

    Args:
        dataset: what to write.
        size: side of the images in pixels.
        out: folder, made by this call.
        num_images: images per folder at most; 0: all.

    Returns:
        The number of images by folder.

    Raises:
        UserError: `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists; choose another folder")
    domains = {
        f"{split}{side.upper()}": dataset.domain(split, side)
        for split in ("train", "test")
        for side in ("a", "b")
    }
    for side in ("a", "b"):
        truth = dataset.truth(side)
        if truth is not None:
            domains[f"truth{side.upper()}"] = truth
    return {name: _write(domain, size, out / name, num_images) for name, domain in domains.items()}


def _write(domain: Domain, size: int, folder: Path, num_images: int) -> int:
    count = min(num_images, len(domain)) if num_images else len(domain)
    for index in range(count):
        name = Path(domain.names[index]).stem
        write_image(folder / f"{name}.png", resize(domain[index], size))
    return count
