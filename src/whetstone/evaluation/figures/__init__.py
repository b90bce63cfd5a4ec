"""The report's figures, as JSON-ready values that plotly.js draws.

No colour is fixed: each names a variable of the style sheet ("var(--good)"), which the page fills in for light or dark.
Whatever a model or a data file wrote is escaped, because plotly reads a little HTML in hover texts and labels.
"""
