"""A scripted encoder-decoder."""

from __future__ import annotations

from whetstone.models.scripted import ScriptedModel


class EncoderDecoder(ScriptedModel):
    """An encoder-decoder that says what was planned."""

    encoder_decoder = True
