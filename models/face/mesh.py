# SPDX-License-Identifier: GPL-3.0-or-later
"""Which landmarks of MediaPipe's 478-point face mesh make up what.

"Right" is the person's right, on the left of the picture.
"""

from __future__ import annotations

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
RIGHT_EYE_INNER, LEFT_EYE_INNER = 133, 362
RIGHT_IRIS, LEFT_IRIS = 468, 473  # their middles
LOWER_LIP, CHIN_TIP = 14, 152
UPPER_LIP, NOSE_BASE = 0, 2  # the middle of the lip's upper edge, and where the nose meets it

# fmt: off
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYEBROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_EYEBROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
JAW = (
    127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356,
)

LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)

# Each region is the union of the convex hulls of these groups.
RIGHT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 68, 104, 69, 108, 156, 9, 8)
LEFT_BROW = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336, 298, 333, 299, 337, 383, 9, 8)
RIGHT_LIDS = (226, 31, 228, 229, 230, 231, 232, 233, 244, 189, 221, 222, 223, 224, 225, 113)
LEFT_LIDS = (446, 261, 448, 449, 450, 451, 452, 453, 464, 413, 441, 442, 443, 444, 445, 342)
NOSE = (193, 417, 188, 412, 217, 437, 198, 420, 129, 358, 98, 327, 97, 326, 2, 64, 294, 48, 278, 49, 279, 102, 331)
MOUTH = (
    164, 167, 393, 165, 391, 92, 322, 186, 410, 57, 287, 61, 291, 43, 273, 106, 335, 182, 406, 83, 313, 18,
)
CHIN = (18, 83, 313, 182, 406, 204, 424, 211, 431, 170, 395, 140, 369, 171, 396, 148, 377, 152, 176, 400)
RIGHT_CHEEK = (117, 118, 119, 120, 47, 126, 142, 129, 203, 206, 216, 212, 214, 192, 147, 123, 116)
LEFT_CHEEK = (346, 347, 348, 349, 277, 355, 371, 358, 423, 426, 436, 432, 434, 416, 376, 352, 345)

# Parts that move with the skull rather than with an expression: upper forehead, bridge of the nose, temples.
FOREHEAD = (54, 103, 67, 109, 10, 338, 297, 332, 284, 298, 333, 299, 337, 151, 108, 69, 104, 68)
NOSE_BRIDGE = (193, 417, 168, 122, 351, 188, 412, 174, 399, 196, 419, 197, 195, 6)
RIGHT_TEMPLE = (54, 21, 162, 127, 234, 227, 34, 139, 71)
LEFT_TEMPLE = (284, 251, 389, 356, 454, 447, 264, 368, 301)
# fmt: on

REGION_GROUPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "brows": (RIGHT_BROW, LEFT_BROW),
    "lids": (RIGHT_LIDS, LEFT_LIDS),
    "nose": (NOSE,),
    "cheeks": (RIGHT_CHEEK, LEFT_CHEEK),
    "mouth": (MOUTH,),
    "chin": (CHIN,),
}
RIGID_LANDMARKS = tuple(sorted({*FOREHEAD, *NOSE_BRIDGE, *RIGHT_TEMPLE, *LEFT_TEMPLE}))
