"""The routes, by topic. Each module has one function that builds its router for one app."""
