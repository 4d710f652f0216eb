"""What a voice says when somebody wants to know how it sounds: one short sentence in the language of its sample.

The languages are those of VoxCPM2. A voice whose language nobody told, or that is not here, speaks English.
"""

from __future__ import annotations

_DEFAULT = "en"
_TEXTS = {
    "ar": "مرحبًا، هكذا يبدو صوتي.",
    "da": "Hej, det er sådan, min stemme lyder.",
    "de": "Hallo, so klingt meine Stimme.",
    "el": "Γεια σας, έτσι ακούγεται η φωνή μου.",
    "en": "Hello, this is how my voice sounds.",
    "es": "Hola, así suena mi voz.",
    "fi": "Hei, tältä ääneni kuulostaa.",
    "fr": "Bonjour, voici comment sonne ma voix.",
    "he": "שלום, כך נשמע הקול שלי.",
    "hi": "नमस्ते, मेरी आवाज़ ऐसी सुनाई देती है।",
    "id": "Halo, seperti inilah suara saya.",
    "it": "Ciao, la mia voce suona così.",
    "ja": "こんにちは、私の声はこんな感じです。",
    "km": "សួស្តី នេះជាសំឡេងរបស់ខ្ញុំ។",
    "ko": "안녕하세요, 제 목소리는 이렇게 들립니다.",
    "lo": "ສະບາຍດີ, ນີ້ແມ່ນສຽງຂອງຂ້ອຍ.",
    "ms": "Helo, beginilah bunyi suara saya.",
    "my": "မင်္ဂလာပါ၊ ဒါက ကျွန်ုပ်ရဲ့ အသံပါ။",
    "nl": "Hallo, zo klinkt mijn stem.",
    "no": "Hei, slik høres stemmen min ut.",
    "pl": "Cześć, tak brzmi mój głos.",
    "pt": "Olá, é assim que a minha voz soa.",
    "ru": "Здравствуйте, так звучит мой голос.",
    "sv": "Hej, så här låter min röst.",
    "sw": "Habari, hivi ndivyo sauti yangu inavyosikika.",
    "th": "สวัสดี นี่คือเสียงของฉัน",
    "tl": "Kumusta, ganito ang tunog ng boses ko.",
    "tr": "Merhaba, sesim böyle duyuluyor.",
    "vi": "Xin chào, giọng của tôi nghe như thế này.",
    "zh": "你好，我的声音听起来是这样的。",
}
_SAME = {"nb": "no", "nn": "no", "fil": "tl", "yue": "zh", "cmn": "zh", "iw": "he", "in": "id"}


def preview_text(language: str) -> str:
    """For a BCP 47 tag in any spelling: `pt-BR`, `ZH_hans`; "" is none."""
    primary = language.strip().lower().replace("_", "-").split("-")[0]
    return _TEXTS.get(_SAME.get(primary, primary), _TEXTS[_DEFAULT])
