"""What every OpenAI-compatible endpoint needs, whichever of its routes is asked: connections, keys, failures, retries.

Chat models (`models`) and embedders (`embeddings`) are both built on it.
"""
