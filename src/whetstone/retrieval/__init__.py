"""Retrieval: a folder of documents in, a knowledge base out that stays true, and passages found in it."""
