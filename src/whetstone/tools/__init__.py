"""Tools that a model may call: typed functions, built-in ones, those of MCP servers, and the loop that runs them."""
