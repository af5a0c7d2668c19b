# SPDX-License-Identifier: GPL-3.0-or-later
"""What plain words in the names of controls mean in other languages, as the English words that `plain_names` reads.

Words are lower case and without accents. A word may stand for several ("mundwinkel" is the mouth's corner); one that
says nothing is empty. The letters of a language's sides count only among words of that language.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

_SPELT = str.maketrans({"ß": "ss", "œ": "oe", "æ": "ae", "ø": "o", "ł": "l"})

_GERMAN = """
brow: augenbraue augenbrauen braue brauen
in: innen innere inneren innerer
out: aussen aussere ausseren ausserer
up: hoch rauf heben gehoben anheben angehoben hochziehen hochgezogen
down: runter herunter senken gesenkt runterziehen runtergezogen herunterziehen heruntergezogen
eye: auge augen
lid: augenlid augenlider lider
upper lid: oberlid
lower lid: unterlid
close: zu geschlossen schliessen
open: auf offen geoffnet offnen
wide: weit aufgerissen aufreissen breit
narrow: schmal
squint: zusammenkneifen zusammengekniffen kneifen gekniffen
eye close: blinzeln zwinkern lidschlag
nose: nase
nose wrinkle: naserumpfen
wrinkle: rumpfen gerumpft
cheek: wange wangen backe backen
puff: aufblasen aufgeblasen pusten
mouth: mund
mouth corner: mundwinkel
lip: lippe lippen
upper lip: oberlippe
lower lip: unterlippe
smile: lacheln
grin: grinsen
kiss: kuss kussmund
pout: schmollmund schmollen
pucker: spitzen gespitzt
press: pressen gepresst zusammenpressen
jaw: kiefer unterkiefer
chin: kinn
brow frown: stirnrunzeln
l: links linke linkes linker
r: rechts rechte rechtes rechter
: beide die das der und
"""
_FRENCH = """
brow: sourcil sourcils
in: interieur interieurs interne internes
out: exterieur exterieurs externe externes
up: haut hauts leve leves levee lever releve releves monte montes
down: bas baisse baisses baissee baisser
frown: fronce fronces froncer
brow frown: froncement
eye: oeil yeux
lid: paupiere paupieres
upper: superieur superieure superieures
lower: inferieur inferieure inferieures
close: ferme fermes fermee fermees fermer
open: ouvert ouverte ouverts ouvertes ouvrir
wide: ecarquille ecarquilles
squint: plisse plisses
eye close: clignement cligner
nose: nez
cheek: joue joues
puff: gonfle gonflee gonflees gonfler
mouth: bouche
corner: coin coins
mouth corner: commissure commissures
lip: levre levres
smile: sourire
kiss: bisou baiser
pout: moue
press: pince pincees serrees
jaw: machoire
chin: menton
l: gauche g
r: droite droit d
: de du des la le les
"""
_SPANISH = """
brow: ceja cejas
in: interior interiores interna interno
out: exterior exteriores externa externo
up: arriba levantada levantadas levantar subir
down: abajo bajada bajadas bajar
frown: fruncida fruncidas fruncido fruncir
brow: ceno
eye: ojo ojos
lid: parpado parpados
upper: superior
lower: inferior
close: cerrado cerrados cerrada cerrar
open: abierto abiertos abierta abrir
squint: entrecerrado entrecerrados
eye close: parpadeo parpadear guino
nose: nariz
wrinkle: arrugada arrugar
cheek: mejilla mejillas
puff: inflada infladas hinchadas inflar
mouth: boca
mouth corner: comisura comisuras
lip: labio labios
smile: sonrisa sonreir
kiss: beso
pout: puchero
jaw: mandibula
chin: barbilla menton
l: izq izquierda izquierdo i
r: der derecha derecho d
: de del la el los las
"""
_ITALIAN = """
brow: sopracciglio sopracciglia
in: interno interni interna
out: esterno esterni esterna
up: su alzato alzate alza sollevato sollevate
down: giu abbassato abbassate abbassa
frown: aggrottato aggrottate corrugate
eye: occhio occhi
lid: palpebra palpebre
upper: superiore superiori
lower: inferiore inferiori
close: chiuso chiusi chiusa
open: aperto aperti aperta
wide: spalancato spalancati
eye close: ammiccamento occhiolino
nose: naso
wrinkle: arricciato arriccia
cheek: guancia guance
puff: gonfia gonfie
mouth: bocca
corner: angolo angoli
lip: labbro labbra
smile: sorriso
kiss: bacio
pout: broncio
jaw: mascella mandibola
chin: mento
l: sx sinistra sinistro
r: dx destra destro
: di del della la le il
"""
_PORTUGUESE = """
brow: sobrancelha sobrancelhas
in: interna interno
out: externa externo
up: cima levantada levantadas erguida erguidas
down: baixo abaixada abaixadas
frown: franzida franzidas
eye: olho olhos
lid: palpebra palpebras
upper: superior
lower: inferior
close: fechado fechados fechada
open: aberto abertos aberta
wide: arregalado arregalados
squint: semicerrado semicerrados
eye close: piscar piscada piscadela
nose: nariz
wrinkle: enrugado
cheek: bochecha bochechas
puff: inflada infladas cheias
mouth: boca
corner: canto cantos
lip: labio labios
smile: sorriso
kiss: beijo
pout: bico
jaw: mandibula maxilar
chin: queixo
l: esq esquerda esquerdo e
r: dir direita direito d
: de do da dos das para
"""
_RUSSIAN = """
brow: бровь брови
in: внутренняя внутренние
out: внешняя внешние
up: вверх поднять поднята подняты
down: вниз опустить опущена опущены
frown: нахмурить нахмурены
eye: глаз глаза
lid: веко веки
close: закрыт закрыты закрыть закрытые
open: открыт открыты открыть
eye close: моргание моргать подмигивание
eye squint: прищур
nose: нос
wrinkle: сморщить сморщен
cheek: щека щеки
puff: надуть надуты
mouth: рот
corner: уголок уголки
lip: губа губы губ
smile: улыбка
kiss: поцелуи
jaw: челюсть
chin: подбородок
l: левая левыи левое слева л
r: правая правыи правое справа п
"""


def _table(lines: str) -> dict[str, list[str]]:
    meanings = (line.split(":") for line in lines.strip().splitlines())
    return {word: english.split() for english, words in meanings for word in words.split()}


_LANGUAGES: tuple[Mapping[str, list[str]], ...] = tuple(
    map(_table, (_GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _RUSSIAN))
)


def without_accents(text: str) -> str:
    """Return a text with plain letters.

    >>> without_accents("Lächeln, sourcil levé, außen")
    'Lacheln, sourcil leve, aussen'
    """
    parts = unicodedata.normalize("NFKD", text.translate(_SPELT))
    return "".join(part for part in parts if not unicodedata.combining(part))


def in_english(words: Sequence[str]) -> list[list[str]]:
    """Return what words may mean: a list of English words for every language that has some of them.

    words: in lower case, without accents. Those that a language doesn't have stay as they are.

    >>> in_english(["mundwinkel", "hoch", "l"])
    [['mouth', 'corner', 'up', 'l']]
    """
    found = []
    for language in _LANGUAGES:
        known = [_known(language, word) for word in words]
        if any(known):
            pairs = zip(words, known, strict=True)
            found.append([each for word, meant in pairs for each in ([word] if meant is None else meant)])
    return found


def _known(language: Mapping[str, list[str]], word: str) -> list[str] | None:
    """Return the meaning of a word, also of a German one whose umlauts are written "ae", "oe" and "ue"."""
    if word in language:
        return language[word]
    return language.get(word.replace("ae", "a").replace("oe", "o").replace("ue", "u"))
