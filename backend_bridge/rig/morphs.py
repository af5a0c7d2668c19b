# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of controls that are written without letters: MikuMikuDance's usual morphs, and Chinese and Korean ones.

A morph that shows a whole expression (喜び, 笑顔, はぅ, ｷﾘｯ), or a vowel that no unit stands for (え), isn't here:
it mixes units, each of them in a share of its own.
"""

from __future__ import annotations

import re
import unicodedata

# By the shape, as in `action_units`.
_BY_SHAPE = {
    "eyeBlink": "まばたき ウィンク ウィンク2 ウインク なごみ 目閉じ 目を閉じる 閉じ目 "
    "眨眼 闭眼 閉眼 闭目 合眼 눈감기 눈깜빡임 윙크",
    "eyeWide": "びっくり 見開き 目見開き 瞪眼 睁眼 睁大眼 睁大眼睛",
    "eyeSquint": "じと目 ジト目 細目 下まぶた上げ 眯眼 眯眼睛",
    "cheekSquint": "笑い 笑い目 頬上げ 抬脸颊",
    "browInnerUp": "困る 困り 困り眉 悲しい 悲しむ",
    "browDown": "怒り 怒り眉 真面目 下 眉下 眉下げ 眉寄せ 皱眉 皺眉 蹙眉 压眉 眉毛下压 眉毛向下",
    "browUp": "上 眉上 眉上げ 挑眉 扬眉 抬眉 眉毛上扬 眉毛抬起 眉毛向上",
    "noseSneer": "鼻しわ 皱鼻 皺鼻",
    "cheekPuff": "頬膨らみ 頬膨らまし 鼓腮 鼓嘴",
    "mouthSmile": "にやり にやり2 にっこり 口角上げ 口笑い 微笑 嘴角上扬 嘴角上翘 嘴角向上 미소",
    "mouthFrown": "口角下げ ∧ 嘴角下拉 嘴角下垂 嘴角向下",
    "mouthStretch": "い 口横広げ 嘴角拉伸",
    "mouthPucker": "う 口横狭め 口すぼめ ちゅー キス 嘟嘴 撅嘴 噘嘴 입오므리기",
    "mouthFunnel": "お",
    "jawOpen": "あ 口開け 口開き 口開く 口を開ける 口を開く 张嘴 張嘴 张口 开口 입벌리기",
    "tongueOut": "ぺろっ 吐舌 吐舌头",
}
_SHAPES = {morph: shape for shape, morphs in _BY_SHAPE.items() for morph in morphs.split()}
_WINKS = frozenset({"ウィンク", "ウィンク2", "ウインク"})  # of the left eye, as the right one's say so
_SIDE = re.compile(r"[\s_.]*(左|右|[LR]|왼쪽|오른쪽)$|^(?:(左|右)眼(?=.)|(左|右|왼쪽|오른쪽))")
_LEFT = frozenset({"左", "L", "왼쪽"})


def read_morph(name: str) -> tuple[str, str] | None:
    """Return the shape of a morph and its side: "l", "r" or "" for both. None for another name.

    Its side stands before it or behind; its width doesn't matter.

    >>> read_morph("左まばたき"), read_morph("ｳｨﾝｸ２右"), read_morph("眉毛抬起_左")
    (('eyeBlink', 'l'), ('eyeBlink', 'r'), ('browUp', 'l'))
    """
    name = unicodedata.normalize("NFKC", name).replace(" ", "")
    if name in _SHAPES:
        return _SHAPES[name], "l" if name in _WINKS else ""
    match = _SIDE.search(name)
    shape = _SHAPES.get(name[: match.start()] + name[match.end() :]) if match is not None else None
    if match is None or shape is None:
        return None
    return shape, "l" if next(filter(None, match.groups())) in _LEFT else "r"
