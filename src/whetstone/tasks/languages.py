"""Languages by name: what a person may call one, and what a prompt calls it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

from whetstone.registry import unknown_name


@dataclass(frozen=True, slots=True)
class Language:
    """A language.

    Attributes:
        code: of ISO 639-1, with a region or script where two written forms differ ("pt-br", "zh-hant").
        name: in English, as prompts say it.
        own: its name in itself.
        formality: whether it has a polite and a familiar way to address somebody, which a translation must choose.
    """

    code: str
    name: str
    own: str
    formality: bool = False


# code, English name, own name; a "+" marks languages whose forms of address differ by formality.
_TABLE = """
en English English
ko Korean 한국어 +
es Spanish Español +
de German Deutsch +
fr French Français +
ar Arabic العربية
zh Chinese 中文
zh-hans Simplified_Chinese 简体中文
zh-hant Traditional_Chinese 繁體中文
ja Japanese 日本語 +
pt Portuguese Português +
pt-br Brazilian_Portuguese Português_do_Brasil +
it Italian Italiano +
nl Dutch Nederlands +
ru Russian Русский +
uk Ukrainian Українська +
pl Polish Polski +
cs Czech Čeština +
sk Slovak Slovenčina +
sl Slovenian Slovenščina +
hr Croatian Hrvatski +
sr Serbian Српски +
bs Bosnian Bosanski +
mk Macedonian Македонски +
bg Bulgarian Български +
ro Romanian Română +
hu Hungarian Magyar +
fi Finnish Suomi +
et Estonian Eesti +
lv Latvian Latviešu +
lt Lithuanian Lietuvių +
sv Swedish Svenska
da Danish Dansk
no Norwegian Norsk
nb Norwegian_Bokmål Norsk_bokmål
nn Norwegian_Nynorsk Norsk_nynorsk
is Icelandic Íslenska
fo Faroese Føroyskt
ga Irish Gaeilge
gd Scottish_Gaelic Gàidhlig
cy Welsh Cymraeg +
br Breton Brezhoneg
eu Basque Euskara
ca Catalan Català +
gl Galician Galego +
oc Occitan Occitan
lb Luxembourgish Lëtzebuergesch
af Afrikaans Afrikaans
el Greek Ελληνικά +
sq Albanian Shqip
mt Maltese Malti
tr Turkish Türkçe +
az Azerbaijani Azərbaycanca +
kk Kazakh Қазақша +
ky Kyrgyz Кыргызча +
uz Uzbek Oʻzbekcha +
tk Turkmen Türkmençe
tg Tajik Тоҷикӣ
mn Mongolian Монгол
hy Armenian Հայերեն
ka Georgian ქართული
he Hebrew עברית
yi Yiddish ייִדיש
fa Persian فارسی +
ps Pashto پښتو
ku Kurdish Kurdî
ur Urdu اردو +
hi Hindi हिन्दी +
bn Bengali বাংলা +
pa Punjabi ਪੰਜਾਬੀ +
gu Gujarati ગુજરાતી +
mr Marathi मराठी +
ne Nepali नेपाली +
si Sinhala සිංහල
ta Tamil தமிழ் +
te Telugu తెలుగు +
kn Kannada ಕನ್ನಡ +
ml Malayalam മലയാളം
or Odia ଓଡ଼ିଆ
as Assamese অসমীয়া
sa Sanskrit संस्कृतम्
th Thai ไทย +
lo Lao ລາວ
my Burmese မြန်မာ
km Khmer ខ្មែរ
vi Vietnamese Tiếng_Việt +
id Indonesian Bahasa_Indonesia +
ms Malay Bahasa_Melayu
jv Javanese Basa_Jawa +
su Sundanese Basa_Sunda
tl Tagalog Tagalog +
mg Malagasy Malagasy
haw Hawaiian ʻŌlelo_Hawaiʻi
mi Maori Te_reo_Māori
sm Samoan Gagana_Samoa
sw Swahili Kiswahili
am Amharic አማርኛ
ti Tigrinya ትግርኛ
so Somali Soomaali
ha Hausa Hausa
yo Yoruba Yorùbá
ig Igbo Igbo
zu Zulu isiZulu
xh Xhosa isiXhosa
st Sotho Sesotho
sn Shona chiShona
rw Kinyarwanda Ikinyarwanda
eo Esperanto Esperanto
la Latin Latina
be Belarusian Беларуская +
"""


def _parse(line: str) -> Language:
    code, name, own, *more = line.split()
    return Language(code, name.replace("_", " "), own.replace("_", " "), more == ["+"])


LANGUAGES: tuple[Language, ...] = tuple(_parse(line) for line in _TABLE.strip().splitlines())


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold().replace("_", "-")
    return " ".join(plain.split())


@cache
def _by_name() -> dict[str, Language]:
    names: dict[str, Language] = {}
    for language in LANGUAGES:
        for name in (language.code, language.name, language.own):
            names.setdefault(_folded(name), language)
    return names


def find_language(said: str) -> Language:
    """The language that somebody named: by code ("de", "pt-BR"), in English ("German") or in itself ("Deutsch").

    A region that makes no written form of its own is passed over: "de-AT" is German.

    Raises:
        UnknownNameError: there is none; near matches are offered.
    """
    key = _folded(said)
    names = _by_name()
    if key in names:
        return names[key]
    code, dash, _ = key.partition("-")
    if dash and code in names and len(code) <= 3:
        return names[code]
    raise unknown_name("language", said[:60], [language.name for language in LANGUAGES])
