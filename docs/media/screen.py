"""A terminal without a window: what a program writes on it becomes pictures.

It knows the escape sequences that rich's live views emit, and no others: it is for recordings of this project only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

BACKGROUND, TEXT, DIM = (16, 20, 28), (214, 220, 230), (124, 134, 150)
COLOURS = [(90, 98, 112), (240, 113, 120), (126, 211, 133), (240, 200, 110)]  # black, red, green, yellow
COLOURS += [(110, 168, 254), (200, 150, 240), (100, 205, 215), TEXT]  # blue, magenta, cyan, white
FONT_PX, MARGIN_PX, LEADING = 15, 14, 1.28
_STEPS = 7  # of smoothing
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"

_PIECE = re.compile(r"\x1b\[(?P<numbers>[\d;]*)(?P<letter>[A-Za-z])|\x1b\[\?\d+[hl]|(?P<char>[^\x1b])")
_HALF = re.compile(r"\x1b(\[[\d;?]*)?$")  # of a sequence whose end has not been read yet


@dataclass(frozen=True, slots=True)
class Style:
    colour: tuple[int, int, int] = TEXT
    bold: bool = False
    dim: bool = False

    @property
    def ink(self) -> tuple[int, int, int]:
        return DIM if self.dim else self.colour


Cell = tuple[str, Style]
BLANK: Cell = (" ", Style())


class Screen:
    """`feed` what the program wrote; `rows` is what one sees then."""

    def __init__(self, columns: int, height: int) -> None:
        self.columns = columns
        self.height = height
        self.rows: list[list[Cell]] = [[]]
        self._row = self._column = 0
        self._style = Style()
        self._half = ""
        self._moves: dict[str, Callable[[str], None]] = {
            "A": lambda numbers: self._go(self._row - int(numbers or 1)),
            "B": lambda numbers: self._go(self._row + int(numbers or 1)),
            "K": lambda numbers: self._erase(whole=numbers == "2"),
            "m": self._dress,
        }

    def feed(self, text: str) -> None:
        text = self._half + text
        half = _HALF.search(text)
        self._half = half[0] if half else ""
        for piece in _PIECE.finditer(text.removesuffix(self._half)):
            if piece["letter"] in self._moves:
                self._moves[piece["letter"]](piece["numbers"])
            elif piece["char"]:
                self._put(piece["char"])

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._go(self._row + 1)
        elif char.isprintable():
            self._write(char)

    def _write(self, char: str) -> None:
        if self._column == self.columns:
            self._go(self._row + 1)
            self._column = 0
        row = self.rows[self._row]
        row.extend([BLANK] * (self._column + 1 - len(row)))
        row[self._column] = (char, self._style)
        self._column += 1

    def _go(self, row: int) -> None:
        self._row = max(0, row)
        while self._row >= len(self.rows):
            self.rows.append([])
        scrolled = len(self.rows) - self.height
        if scrolled > 0:
            del self.rows[:scrolled]
            self._row -= scrolled

    def _erase(self, *, whole: bool) -> None:
        del self.rows[self._row][0 if whole else self._column :]

    def _dress(self, numbers: str) -> None:
        for number in map(int, (numbers or "0").split(";")):
            if number == 0:
                self._style = Style()
            elif number in (1, 2):
                self._style = replace(self._style, bold=number == 1, dim=number == 2)
            elif number in range(30, 38) or number in range(90, 98):
                self._style = replace(self._style, colour=COLOURS[number % 10])


class Painter:
    """Draws screens, each as high as the highest of them."""

    def __init__(self, columns: int, rows: int) -> None:
        self._fonts = {bold: _font("DejaVuSansMono-Bold" if bold else "DejaVuSansMono") for bold in (False, True)}
        self._spare = _font("DejaVuSans")  # for what the other has no shape of: the spinner
        self._cell = (round(self._fonts[False].getlength("m")), round(FONT_PX * LEADING))
        self._size = (columns * self._cell[0] + 2 * MARGIN_PX, rows * self._cell[1] + 2 * MARGIN_PX)
        self._nothing = self._shape("\uffff")

    def paint(self, rows: list[list[Cell]]) -> Image.Image:
        image = Image.new("RGB", self._size, BACKGROUND)
        draw = ImageDraw.Draw(image)
        for number, row in enumerate(rows):
            for column, (char, style) in enumerate(row):
                if char != " ":
                    place = (MARGIN_PX + column * self._cell[0], MARGIN_PX + number * self._cell[1])
                    draw.text(place, char, style.ink, self._font_of(char, style))
        return image

    def _font_of(self, char: str, style: Style) -> ImageFont.FreeTypeFont:
        return self._spare if self._shape(char) == self._nothing else self._fonts[style.bold]

    def _shape(self, char: str) -> bytes:
        return bytes(self._fonts[False].getmask(char))


def palette() -> Image.Image:
    """The inks, and their steps towards the background, which is where letters end."""
    inks = [TEXT, DIM, *COLOURS[:-1]]
    mixed = [_mix(ink, step / _STEPS) for ink in inks for step in range(1, _STEPS + 1)]
    image = Image.new("P", (1, 1))
    image.putpalette([part for colour in [BACKGROUND, *mixed] for part in colour])
    return image


def _mix(ink: tuple[int, int, int], share: float) -> tuple[int, ...]:
    return tuple(round(back + (front - back) * share) for back, front in zip(BACKGROUND, ink, strict=True))


def _font(name: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / f"{name}.ttf"), FONT_PX)
