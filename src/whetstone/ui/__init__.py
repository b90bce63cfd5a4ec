"""The web workbench: Gradio Blocks, one module per tab."""
