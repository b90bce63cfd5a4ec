"""Conversations with a model: kept, budgeted, branched, streamed."""
