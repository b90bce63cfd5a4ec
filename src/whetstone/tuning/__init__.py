"""Fine-tuning: LoRA and QLoRA through TRL, PEFT and Accelerate, resumable, with what was forgotten measured.

config        the configuration, in the names that axolotl and TRL users know
rows, data    training rows as token ids with what is learned of each
plan          tokens, steps, memory and minutes before anything is trained
train         the run itself; batches, loss and checkpoints are its parts
probe         what the model was able to do before, and whether it still is
export        a revision as a folder, as GGUF, for Ollama, on the hub
"""
