"""An adapter for Cityscapes as it is published: leftImg8bit/SPLIT/CITY and gtFine/SPLIT/CITY."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from eval.tasks.data import TASK_DATA, TaskData, TaskDataConfig
from eval.tasks.files import MaskFolders
from zoo.images import printable
from zoo.registry import UserError

_IMAGES, _MASKS = "leftImg8bit", "gtFine"
_LABEL_IDS, _TRAIN_IDS = "_gtFine_labelIds", "_gtFine_labelTrainIds"


@TASK_DATA.register("cityscapes")
class Cityscapes:
    """Cityscapes: `CITY_SEQ_FRAME_leftImg8bit.png` beside its map of label ids, or of train ids."""

    @dataclass(kw_only=True)
    class Config(TaskDataConfig):
        """Where it is and which part of it."""

        root: Annotated[str, "folder that holds leftImg8bit and gtFine"] = ""
        split: Annotated[
            Literal["train", "val"], "its part; the labels of `test` are not published"
        ] = "train"

    def __init__(self, config: Config):
        self.config = config

    def load(self) -> TaskData:
        """Match photos with label maps; masks have their original size unless `size` is set.

        Raises:
            UserError: folders are missing, or a photo has no label map.
        """
        config = self.config
        root = Path(config.root).expanduser()
        for name in (_IMAGES, _MASKS):
            folder = root / name / config.split
            if not config.root or not folder.is_dir():
                there = sorted(path.name for path in root.glob("*")) if root.is_dir() else []
                raise UserError(
                    f"root {printable(root)}: looked for {name}/{config.split}; there is: "
                    f"{', '.join(map(printable, there[:8])) or 'nothing'}"
                )
        masks = root / _MASKS / config.split
        label_ids = any(masks.rglob(f"*{_LABEL_IDS}.png"))
        folders = MaskFolders.Config(
            images=str(root / _IMAGES / config.split),
            masks=str(masks),
            image_suffix=f"_{_IMAGES}",
            mask_suffix=_LABEL_IDS if label_ids else _TRAIN_IDS,
            classes="cityscapes",
            encoding="cityscapes_ids" if label_ids else "index",
            size=config.size,
            part=config.part,
            part_seed=config.part_seed,
            limit=config.limit,
            shuffle_labels=config.shuffle_labels,
        )
        return MaskFolders(folders).load()
