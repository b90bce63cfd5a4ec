"""What stands around a number: currencies, magnitudes, percent signs, measures, dates.

English first, with what is common in German, French, Korean, Japanese and Chinese prices. Every pattern is anchored at
one place and looks a bounded way, so that reading stays linear in the length of a reply.
"""

from __future__ import annotations

import re

_SYMBOL = r"[$£¤¥֏؋৲৳฿៛\u20a0-\u20cf]"
_NATIONAL = rf"(?:US|CA|C|AU|A|NZ|HK|S|R|MX|NT)?{_SYMBOL}"
_CODES = (
    "USD|EUR|GBP|JPY|CNY|RMB|KRW|INR|CHF|CAD|AUD|NZD|HKD|SGD|TWD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BRL|MXN|CLP|COP|TRY|RUB"
    "|UAH|ZAR|THB|VND|IDR|MYR|PHP|ILS|AED|SAR|usd|eur|gbp|krw|inr|chf"
)
_WORDS = (
    r"(?i:dollars?|bucks|euros?|cents?|pence|rupees?|yen|yuan|pesos?|francs?|franken|kronor|kroner|zlotys?)|won"
    r"|kr\.?|Kč|zł|Ft|Rs\.?|lei|TL|원|유로|달러|엔|위안|円|元|ドル|ユーロ"
)
CURRENCY = re.compile(rf"{_NATIONAL}|{_CODES}|{_WORDS}|¢")
CURRENCY_BEFORE = re.compile(rf"(?<![A-Za-z])({_NATIONAL}|{_CODES}|R[sp]\.?|rs\.?|kr\.?|Fr\.)[ \u00a0]?$")
# "45,-" and "500/-" are prices too, in German and in Indian writing. A sign before a digit belongs to that digit.
CURRENCY_AFTER = re.compile(
    rf"(?:[.,][-–—]|/-)?[ \u00a0]?((?:{_SYMBOL}|¢)(?!\d)|(?:{_CODES}|{_WORDS})(?![A-Za-z]))|(?:[.,][-–—]|/-)(?!\d)"
)
CENTS = re.compile(r"(?i:cents?|pence|¢)")

_POWERS = {
    2: "hundred", 3: "thousand thousands tausend mille grand mil", 5: "lakh lakhs lac",
    6: "million millions millionen mio. mio millones", 7: "crore crores", 9: "billion billions milliarden mrd. mrd",
    12: "trillion trillions",
}  # fmt: skip
MAGNITUDES = {word: power for power, words in _POWERS.items() for word in words.split()}
_LONGEST_FIRST = sorted(map(re.escape, MAGNITUDES), key=len, reverse=True)
MAGNITUDE_WORD = re.compile(rf"[ \u00a0-]?({'|'.join(_LONGEST_FIRST)})(?![A-Za-z])", re.IGNORECASE)
MAGNITUDE_LETTER = re.compile(r"(k|K|mm|MM|mn|m|M|bn|b|B)(?![A-Za-z\d])")  # all but k only with a currency before
LETTER_POWERS = {"k": 3, "m": 6, "mm": 6, "mn": 6, "b": 9, "bn": 9}
EAST_ASIAN = re.compile(r"[ ]?([백천百千]?[만억조万萬億亿兆]|[백천百千])")
EAST_ASIAN_POWERS = {
    c: p for cs, p in (("백百", 2), ("천千", 3), ("만万萬", 4), ("억億亿", 8), ("조兆", 12)) for c in cs
}
EAST_ASIAN_REST = re.compile(
    r"[ ]?(\d[\d,]{0,12})(?=[ ]?(?:[백천百千만억万萬億亿]|원|円|元|엔))"
)  # the 5천 of "3만 5천원"
EXPONENT = re.compile(
    r"[eE]([+-]?\d{1,3})(?![A-Za-z\d])"
    r"|\s?(?:×|x|\*|·|\\times|\\cdot)\s?10(?:\s?\^\s?\{?(-?\d{1,3})\}?|([⁻⁰¹²³⁴-⁹]{1,4}))"
)
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")

PERCENT = re.compile(r"\s?(?:%|percent\b|per cent\b|퍼센트)")
# A count or a measure, so no price.
MEASURE = re.compile(
    r"[\s-]?(?:(?i:oz|ounces?|fl|lbs?|pounds?|kgs?|g|grams?|mg|ml|l|liters?|litres?|cm|mm|m|meters?|inch(?:es)?|ft|feet"
    r"|yards?|gb|tb|mb|mah|watts?|w|volts?|v|hz|mhz|ghz|mp|packs?|pcs?|pieces?|pairs?|sets?|count|ct|cans?|bottles?|items?|units?"
    r"|stars?|reviews?|people|times|years?|months?|weeks?|days?|hours?|minutes?|mins?|seconds?|secs?|miles?|km|degrees?"
    r"|models?|edition|version|generation|options|reasons|steps|factors)(?![A-Za-z])|개|명|년|월|일|인치|시간|분)"
)
# What says before a number that it is a name, a count or a date.
NAMED_BEFORE = re.compile(
    r"(?:\b(?:pack|set|box|case|bundle|lot) of"
    r"|\b(?:size|model|no\.?|step|item|version|part|page|top|level|chapter|option)"
    r"|\b(?:in|since|year|during|until|before|after|circa|©"
    r"|jan\w*|feb\w*|mar(?:ch)?|apr\w*|may|june?|july?|aug\w*|sep\w*|oct\w*|nov\w*|dec\w*)\.?) ?$",
    re.IGNORECASE,
)
LIST_NUMBER = re.compile(r"[.)]\s+\S")
DATE = re.compile(r"\d{1,4}([-/])\d{1,2}\1\d{1,4}(?!\d)")
