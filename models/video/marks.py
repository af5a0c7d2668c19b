# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks in pictures and videos of how they came to be, as people, platforms and the law require.

The mark is an XMP packet (ISO 16684-1) with IPTC's digital source type, in a PNG as an `iTXt` chunk and in an MP4 as a
`uuid` box, which is where XMP's specification (part 3) puts it. It depends on its content alone.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import StrEnum
from xml.sax.saxutils import quoteattr

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33  # of PNG's signature and IHDR
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_TEMPLATE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 Iptc4xmpExt:DigitalSourceType={source} dc:identifier={identity} xmp:CreatorTool={tool}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


class SourceType(StrEnum):
    """IPTC's digital source types (NewsCodes) of what MagPlus leaves."""

    COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
    DIAGRAM = "http://cv.iptc.org/newscodes/digitalsourcetype/dataDrivenMedia"


@dataclass(frozen=True)
class Mark:
    """How a picture came to be. identity: of the job that made it, as its report has it. tool: what made it."""

    source: SourceType
    identity: str
    tool: str

    def xmp(self) -> bytes:
        """Return the XMP packet."""
        values = {"source": self.source.value, "identity": self.identity, "tool": self.tool}
        return _TEMPLATE.format(**{name: quoteattr(value) for name, value in values.items()}).encode()


def marked_png(png: bytes, mark: Mark) -> bytes:
    """Return a PNG with the mark. Raises `ValueError` for what is no PNG."""
    if not png.startswith(_PNG_SIGNATURE):
        raise ValueError("not a PNG")
    content = b"iTXt" + b"XML:com.adobe.xmp\0\0\0\0\0" + mark.xmp()
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:_HEADER_END] + chunk + png[_HEADER_END:]


def marked_mp4(mp4: bytes, mark: Mark) -> bytes:
    """Return an MP4 with the mark behind its last box. Raises `ValueError` for what is no MP4."""
    if mp4[4:8] != b"ftyp":
        raise ValueError("not an MP4")
    content = b"uuid" + _XMP_BOX + mark.xmp()
    return mp4 + struct.pack(">I", len(content) + 4) + content
