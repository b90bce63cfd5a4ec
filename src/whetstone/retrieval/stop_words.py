"""Words of a question that say nothing of what it is about. Keyword search leaves them out."""

from __future__ import annotations

_ENGLISH = """
a about after all also am an and any are as at be because been before being both but by can could did do does doing don
for from get had has have having he her here hers him his how i if in into is it its itself just let ll may me might
more most must my no nor not of off on once only or other our ours out over please re s same shall she should so some
such t tell than that the their theirs them then there these they this those through to too under until up us ve very
was we were what when where whether which while who whom whose why will with would you your yours
"""

_KOREAN = """
및 그리고 또는 또 그 이 저 것 수 등 대한 대해 대하여 관한 관해 있는 있나요 있습니까 있어 있어요
인가요 입니까 되나요 됩니까 하나요 합니까 할까요 해줘 해주세요 알려줘 알려주세요 주세요
은 는 가 을 를 의 에 와 과 도 로
"""

ENGLISH = frozenset(_ENGLISH.split())
KOREAN = frozenset(_KOREAN.split())

KOREAN_ASKING = ("무엇", "누구", "언제", "어디", "어떻", "어떤", "어느", "얼마", "무슨")
"""What Korean question words begin with; what follows depends on the sentence."""
