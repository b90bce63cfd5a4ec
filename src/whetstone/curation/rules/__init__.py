"""Rules for one row, each a function over a frame of listings; `whetstone.curation.rules.order` has them in order."""
