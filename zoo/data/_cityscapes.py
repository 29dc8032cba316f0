"""Cityscapes' classes: the 19 that are trained and scored, their colours, and the raw label ids.

A train id is 0 to 18; 255 marks what is neither trained nor scored (Cordts et al. 2016, §3.2).
"""

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
VOID_COLOR = (0, 0, 0)  # of everything unlabelled in a coloured label map

# In the order of train ids: name, id in *_labelIds.png, colour in *_color.png.
CLASSES: tuple[tuple[str, int, tuple[int, int, int]], ...] = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
NAMES = tuple(name for name, _, _ in CLASSES)
PALETTE: NDArray[np.uint8] = np.array([color for _, _, color in CLASSES], np.uint8)
TRAIN_ID = {name: train_id for train_id, name in enumerate(NAMES)}


def _train_ids() -> NDArray[np.uint8]:
    table = np.full(256, IGNORE, np.uint8)
    for train_id, (_, label_id, _) in enumerate(CLASSES):
        table[label_id] = train_id
    return table


TRAIN_ID_OF_LABEL_ID = _train_ids()  # a table of 256; -1, the licence plate, is 255 in a file


def colored(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask of train ids, H W, in Cityscapes' colours, H W 3; what is ignored is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(PALETTE)] = PALETTE
    return table[mask]
