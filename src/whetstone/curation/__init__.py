"""Product catalogues curated into data sets for price prediction: rules as code, every refused row with its reason.

job            the front door: curate
locate, push   files, folders and the hub in; the hub out
blocks         chunks of source files; behind it parsing, layouts (Amazon, Best Buy, mapped columns), listing
rules          rules for one row, in `rules.order`; words counts tokens and finds part numbers by distinct word
cleaning       one chunk through the rules; tally counts what they did
engines        threads of this machine, or Ray (ray_engine); work keeps the journal and finished chunks
grouping       duplicates and product groups, by minhash and pairs; leaks compares two sets
assemble       rows compared, split, weighted (balance) and written with prompts
report         what was done; html and card show it
"""
