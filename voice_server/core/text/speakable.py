"""Turns a sentence of an LLM's answer into text for the ear: no Markdown, code, emoji, control tokens or bare URLs.

Promises: never raises; gives the same for its own output; returns "" when nothing is left to say. Works per sentence:
marks that span tokens are whole again there. Keeps snake_case, numbers, currency, every script and `[laugh]` tags.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import zip_longest

_FENCE = re.compile(  # a run of marks, and whether it begins its line: after marks of a quote or a list
    r"(?P<indent>^(?:[^\S\n]|>|[-*+•][^\S\n]|\d{1,3}[.)][^\S\n])*)?(?P<run>`{3,}|~{3,})", re.MULTILINE
)
_INFO = re.compile(r"(?:[\w{][^\s`]*)?[^\S\n]*\n")  # the language of the code, or nothing, up to the line's end
_PASSES = 6  # removing marks may bring new ones together; what is still unsettled then is hostile

_CONTROL_TOKEN = re.compile(r"<\|[^|<>]{0,60}\|>|</?(?:s|bos|eos|pad|unk|mask|br|br /|br/)>", re.IGNORECASE)
_SIGNS = "\u2139\u231a\u231b\u23cf\u23e9-\u23fa\u25b6\u25c0\u25fb-\u25fe"  # clocks and buttons; ⌘ and the like are read
_EMOJI_RANGES = f"{_SIGNS}\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\U000e0020-\U000e007f"
_EMOJI = re.compile(rf"[{_EMOJI_RANGES}][{_EMOJI_RANGES}\u200d\ufe0f]*|[\ufe0e\ufe0f\u20e3]")
_IMAGE_OR_LINK = re.compile(  # a link target may hold one pair of brackets and a title
    r"!?\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)?(?:\s+[\"'][^\"']*[\"'])?\)"
)
_FOOTNOTE = re.compile(r"\[\^[^\[\]]*\]:?")
_AUTOLINK = re.compile(r"<((?:https?|ftp)://[^<>\s]*|mailto:[^<>\s]*|[^<>\s@]{1,64}@[^<>\s@]{1,255})>", re.IGNORECASE)
_URL = re.compile(r"(?<![a-z0-9])(?:(?:https?|ftp)://|www\.)[!-~]*", re.IGNORECASE)
_URL_HOST = re.compile(r"(?:[a-z]+://)?(?:[^/?#@]*@)?(?:www\.)?([\w.-]*)", re.IGNORECASE)
_EMAIL = re.compile(r"(?:\bmailto:)?\b([\w.+-]{1,64})@([\w-]{1,63}(?:\.[\w-]{1,63})+)", re.IGNORECASE)
_AFTER_URL = ".,;:!?)]}>'\"*_~|`\\"

_RULE = re.compile(r"([-*_=])(?:\s*\1){2,}")
_TABLE_RULE = re.compile(r"(?=[^|]*\|)[\s|:-]*")
_LINE_MARK = re.compile(r"\s*(?:#{1,6}(?=\s|$)|>|[-*+•‣◦▪](?=\s|$)(?:\s+\[[ xX]\](?=\s))?)")
_CLOSING_HASHES = re.compile(r"\s#+\s*$")

_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|~<>-])")
_STARS = re.compile(r"\*+")
_UNDERSCORES = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")  # those of snake_case stand between letters
_TILDES = re.compile(r"~{2,}")
_ANY_MARK = re.compile(r"[`*_~|<>#@:/\\\[\]()!•‣◦▪=+-]")

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        "―": "—",
        "…": "...",
    }
)


class Speakable:
    """Speakable sentences of one answer: remembers whether a code fence is open. Fenced code is not spoken."""

    def __init__(self) -> None:
        self._fence = ""  # the run that opened the code; "" outside of code
        self._begins_line = True

    def __call__(self, sentence: str) -> str:
        """The text to speak for the answer's next sentence; "" when there is none."""
        return _settled(self._without_code(sentence))

    def _without_code(self, sentence: str) -> str:
        spoken: list[str] = []
        begin = 0
        fences = list(_FENCE.finditer(sentence))
        for fence, following in zip_longest(fences, fences[1:]):
            run = fence["run"]
            if self._fence and run.startswith(self._fence):
                self._fence, begin = "", fence.end()
            elif not self._fence and self._opens(fence, following):
                spoken.append(sentence[begin : fence.start("run")])
                self._fence = run
        if not self._fence:
            spoken.append(sentence[begin:])
        self._begins_line = sentence.endswith("\n")
        return "\n".join(spoken)

    def _opens(self, fence: re.Match[str], following: re.Match[str] | None) -> bool:
        """Whether code begins at a run of marks: one that is only spoken about must not silence the answer."""
        begins_line = fence["indent"] is not None and (fence.start() > 0 or self._begins_line)
        has_info = _INFO.match(fence.string, fence.end()) is not None
        if fence["run"].startswith("~"):  # in the middle of a line they are a flourish
            return begins_line and has_info
        return begins_line or has_info or (following is not None and _is_pair(fence, following))


def _is_pair(fence: re.Match[str], following: re.Match[str]) -> bool:
    """Both ends of code within a line."""
    is_one_line = fence.string.find("\n", fence.end(), following.start("run")) < 0
    return is_one_line and following["run"].startswith(fence["run"])


def speakable(sentence: str) -> str:
    """The text to speak for a sentence that stands alone."""
    return Speakable()(sentence)


def _settled(text: str) -> str:
    for _ in range(_PASSES):
        before, text = text, _one_pass(text)
        if text == before:
            return text
    return _one_pass(_one_pass(_ANY_MARK.sub(" ", text)))


def _one_pass(text: str) -> str:
    text = _CONTROL_TOKEN.sub(" ", _without_controls(text))
    text = _EMOJI.sub("", text).translate(_TYPOGRAPHY)
    text = _AUTOLINK.sub(r"\1", _IMAGE_OR_LINK.sub(r"\1", _FOOTNOTE.sub("", text)))
    text = _EMAIL.sub(_say_email, _URL.sub(_say_url, text))  # a URL may hold a password and an @
    text = " ".join(_plain_line(line) for line in text.splitlines())
    text = _ESCAPED.sub(r"\1", text).replace("`", "")
    text = _TILDES.sub("", _UNDERSCORES.sub("", _STARS.sub(_keep_times_sign, text)))
    text = " ".join(text.split())
    return text if any(map(str.isalnum, text)) else ""


def _without_controls(text: str) -> str:
    return "".join(character for character in text if not _is_control(character))


def _is_control(character: str) -> bool:
    """Controls, lone surrogates (no encoder takes them), private use, invisible marks; not the joiners within words."""
    if character.isprintable() or character.isspace() or character in "\u200c\u200d":
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")


def _plain_line(line: str) -> str:
    line = line.strip()
    if _RULE.fullmatch(line) or _TABLE_RULE.fullmatch(line):
        return ""
    start = 0
    while mark := _LINE_MARK.match(line, start):
        start = mark.end()
    line = _CLOSING_HASHES.sub("", line[start:].lstrip())
    is_table_row = line.startswith("|") or line.count("|") > 1
    return ", ".join(cell.strip() for cell in line.split("|") if cell.strip()) if is_table_row else line


def _say_url(match: re.Match[str]) -> str:
    url = match[0].rstrip(_AFTER_URL)
    host = _URL_HOST.match(url)
    return (_say_dots(host[1]) if host else "") + match[0][len(url) :]


def _say_email(match: re.Match[str]) -> str:
    return f"{_say_dots(match[1])} at {_say_dots(match[2])}"


def _say_dots(name: str) -> str:
    return " dot ".join(part for part in name.split(".") if part)


def _keep_times_sign(match: re.Match[str]) -> str:
    """Stars are multiplication between spaces or between digits: 2 * 3, 2*3, 2**3."""
    before = match.string[max(0, match.start() - 1) : match.start()]
    after = match.string[match.end() : match.end() + 1]
    is_product = (before.isspace() and after.isspace()) or (before.isdigit() and after.isdigit())
    return match[0] if is_product else ""
