# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial-animation backends, found through one registry: adding one is one module and one line here."""

from .base import Animated, Backend, DrivingBatch, FaceImage
from .emoportraits import EmoPortraits
from .flow_transfer import FlowTransfer
from .fomm import Fomm
from .framing import Framing
from .fsrt import Fsrt
from .liveportrait import LivePortrait, LivePortraitAnimals
from .metaportrait import MetaPortrait, MetaPortraitSR

registry: dict[str, type[Backend]] = {
    FlowTransfer.info.name: FlowTransfer,
    Fomm.info.name: Fomm,
    Fsrt.info.name: Fsrt,
    MetaPortrait.info.name: MetaPortrait,
    MetaPortraitSR.info.name: MetaPortraitSR,
    EmoPortraits.info.name: EmoPortraits,
    LivePortrait.info.name: LivePortrait,
    LivePortraitAnimals.info.name: LivePortraitAnimals,
}

__all__ = ["Animated", "Backend", "DrivingBatch", "FaceImage", "Framing", "registry"]
