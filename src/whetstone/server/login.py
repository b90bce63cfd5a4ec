"""The page where a browser is given the token. No script, nothing loaded from elsewhere."""

from __future__ import annotations

import html
from string import Template

from starlette.responses import HTMLResponse

LOGIN_PATH = "/login"

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Whetstone</title>
<style>
:root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif }
body { margin: 0; min-height: 100vh; display: grid; place-items: center }
main { width: min(22rem, 90vw) }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit }
input, button { margin-top: .5rem; padding: .6rem }
p { color: light-dark(#b00020, #ff8a80) }
</style>
</head>
<body>
<main>
<h1>Whetstone</h1>
$problem<form method="post" action="$action">
<input type="hidden" name="next" value="$target">
<label for="token">Token that the server was started with</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Enter</button>
</form>
</main>
</body>
</html>
""")


def login_page(target: str, wrong: bool = False) -> HTMLResponse:
    """The form.

    Args:
        target: the path to go on to.
        wrong: whether a wrong token was given.
    """
    problem = '<p role="alert">That is not the token.</p>\n' if wrong else ""
    page = _PAGE.substitute(problem=problem, action=LOGIN_PATH, target=html.escape(target, quote=True))
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'",
        # Under "no-referrer" browsers send the form with the origin "null", which is refused.
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(page, 401 if wrong else 200, headers)
